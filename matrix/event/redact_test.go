package event_test

import (
	"encoding/json"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

// versionSets are the versions whose redaction differs.
var versionSets = map[string][]matrix.RoomVersion{
	"R1": {"1", "2", "3", "4", "5"}, "R6": {"6", "7"}, "R8": {"8"}, "R9": {"9", "10"}, "R11": {"11", "12"},
}

// TestRedactedContent checks which keys of the content are kept.
//
// https://spec.matrix.org/v1.19/rooms/v12/#redactions
func TestRedactedContent(t *testing.T) {
	t.Parallel()
	const (
		member = `{"avatar_url":"a","displayname":"d","join_authorised_via_users_server":"@a:b","membership":"join",` +
			`"third_party_invite":{"display_name":"x","signed":{"mxid":"@a:b","token":"t"}}}`
		create = `{"additional_creators":[],"creator":"@a:b","m.federate":true,"predecessor":{},"room_version":"1","x":1}`
		rules  = `{"allow":[{"type":"m.room_membership"}],"join_rule":"restricted","x":1}`
		levels = `{"ban":1,"events":{"a":1},"events_default":2,"historical":3,"invite":4,"kick":5,"notifications":{"room":6},` +
			`"redact":7,"state_default":8,"users":{"@a:b":9},"users_default":10}`
		levelsKept = `{"ban":1,"events":{"a":1},"events_default":2,"kick":5,"redact":7,"state_default":8,"users":{"@a:b":9},"users_default":10}`
		levelsV11  = `{"ban":1,"events":{"a":1},"events_default":2,"invite":4,"kick":5,"redact":7,"state_default":8,"users":{"@a:b":9},"users_default":10}`
	)
	tests := map[string]struct {
		typ, content string
		want         map[string]string // by version set; {} where absent
	}{
		"member": {"m.room.member", member, map[string]string{
			"R1": `{"membership":"join"}`, "R6": `{"membership":"join"}`, "R8": `{"membership":"join"}`,
			"R9":  `{"join_authorised_via_users_server":"@a:b","membership":"join"}`,
			"R11": `{"join_authorised_via_users_server":"@a:b","membership":"join","third_party_invite":{"signed":{"mxid":"@a:b","token":"t"}}}`,
		}},
		"third party invite without signed": {"m.room.member", `{"membership":"invite","third_party_invite":{"display_name":"x"}}`, map[string]string{
			"R1": `{"membership":"invite"}`, "R6": `{"membership":"invite"}`, "R8": `{"membership":"invite"}`, "R9": `{"membership":"invite"}`,
			"R11": `{"membership":"invite","third_party_invite":{}}`,
		}},
		"third party invite that is no object": {"m.room.member", `{"membership":"invite","third_party_invite":"signed"}`, map[string]string{
			"R1": `{"membership":"invite"}`, "R6": `{"membership":"invite"}`, "R8": `{"membership":"invite"}`, "R9": `{"membership":"invite"}`,
			"R11": `{"membership":"invite"}`,
		}},
		"create": {"m.room.create", create, map[string]string{
			"R1": `{"creator":"@a:b"}`, "R6": `{"creator":"@a:b"}`, "R8": `{"creator":"@a:b"}`, "R9": `{"creator":"@a:b"}`, "R11": create,
		}},
		"join rules": {"m.room.join_rules", rules, map[string]string{
			"R1": `{"join_rule":"restricted"}`, "R6": `{"join_rule":"restricted"}`,
			"R8":  `{"allow":[{"type":"m.room_membership"}],"join_rule":"restricted"}`,
			"R9":  `{"allow":[{"type":"m.room_membership"}],"join_rule":"restricted"}`,
			"R11": `{"allow":[{"type":"m.room_membership"}],"join_rule":"restricted"}`,
		}},
		"power levels": {"m.room.power_levels", levels, map[string]string{
			"R1": levelsKept, "R6": levelsKept, "R8": levelsKept, "R9": levelsKept, "R11": levelsV11,
		}},
		"aliases": {"m.room.aliases", `{"aliases":["#a:b"],"x":1}`, map[string]string{"R1": `{"aliases":["#a:b"]}`}},
		"history visibility": {"m.room.history_visibility", `{"history_visibility":"shared","x":1}`, map[string]string{
			"R1": `{"history_visibility":"shared"}`, "R6": `{"history_visibility":"shared"}`, "R8": `{"history_visibility":"shared"}`,
			"R9": `{"history_visibility":"shared"}`, "R11": `{"history_visibility":"shared"}`,
		}},
		"redaction": {"m.room.redaction", `{"reason":"x","redacts":"$x"}`, map[string]string{"R11": `{"redacts":"$x"}`}},
		"message":   {"m.room.message", `{"body":"x","membership":"join","msgtype":"m.text"}`, nil},
		"topic":     {"m.room.topic", `{"topic":"x"}`, nil},
	}
	for name, test := range tests {
		for set, versions := range versionSets {
			for _, version := range versions {
				t.Run(name+", v"+string(version), func(t *testing.T) {
					t.Parallel()
					want := test.want[set]
					if want == "" {
						want = "{}"
					}
					p := baseProto()
					p.Type, p.Content, p.StateKey = test.typ, json.RawMessage(test.content), new("@a:b")
					checkRedaction(t, p.build(t, version), want)
				})
			}
		}
	}
}

// checkRedaction checks what must hold of every redacted event.
func checkRedaction(t *testing.T, e *event.Event, content string) {
	t.Helper()
	redacted, err := e.Redact()
	if err != nil {
		t.Fatal(err)
	}
	if got := string(redacted.Content()); got != content {
		t.Errorf("content %s, want %s", got, content)
	}
	if redacted.ID() != e.ID() || redacted.ReferenceHash() != e.ReferenceHash() || redacted.RoomID() != e.RoomID() {
		t.Error("the redacted event is another event")
	}
	key := specKey(t)
	if err := redacted.VerifySignature("domain", key.ID, key.Public()); err != nil {
		t.Error(err)
	}
	twice, err := redacted.Redact()
	if err != nil || string(twice.JSON()) != string(redacted.JSON()) {
		t.Errorf("redacted twice: %s (%v)", twice.JSON(), err)
	}
	parsed, err := event.ParseUntrusted(redacted.JSON(), e.Rules())
	if err != nil || string(parsed.JSON()) != string(redacted.JSON()) || parsed.ID() != e.ID() {
		t.Errorf("parsed again: %v", err)
	}
}

// TestRedactedTopLevel checks which keys at the top level are kept.
func TestRedactedTopLevel(t *testing.T) {
	t.Parallel()
	const (
		common = `"depth":1,"event_id":"$e:b","hashes":{"sha256":"x"}`
		tail   = `"room_id":"!r:b","sender":"@a:b","signatures":{},"state_key":"","type":"X"}`
		in     = `{"auth_events":[],"content":{"a":1},` + common + `,"membership":"join","origin":"b","origin_server_ts":1,` +
			`"prev_events":[],"prev_state":[],"redacts":"$x","replaces_state":"$y",` + tail
		old = `{"auth_events":[],"content":{},` + common + `,"membership":"join","origin":"b","origin_server_ts":1,"prev_events":[],"prev_state":[],` + tail
		v11 = `{"auth_events":[],"content":{},` + common + `,"origin_server_ts":1,"prev_events":[],` + tail
	)
	for _, version := range matrix.RoomVersions() {
		want := old
		if version == "11" || version == "12" {
			want = v11
		}
		e, err := event.ParseStored([]byte(in), "$e:b", rulesOf(t, version))
		if err != nil {
			t.Fatal(err)
		}
		redacted, err := e.Redact()
		if err != nil || string(redacted.JSON()) != want {
			t.Errorf("version %s: got %s (%v), want %s", version, redacted.JSON(), err, want)
		}
	}
}
