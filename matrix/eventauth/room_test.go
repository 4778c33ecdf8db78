package eventauth_test

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
)

// The people of the room that the tables are about.
const (
	alice = "@alice:a.example" // created it
	adam  = "@adam:a.example"  // in it, level 100
	mod   = "@mod:b.example"   // in it, level 50
	bob   = "@bob:b.example"   // in it, level 0
	carol = "@carol:c.example" // invited
	dave  = "@dave:d.example"  // banned
	kim   = "@kim:k.example"   // knocked
	lea   = "@lea:a.example"   // left
	eve   = "@eve:e.example"   // never heard of
)

// ev is an event of a table. A nil key is no state.
type ev struct {
	typ     string
	key     *string
	sender  string
	content string
	prev    []string
	redacts string
	id      string
	room    string
}

func key(s string) *string { return &s }

func state(typ, k, sender, content string) ev {
	return ev{typ: typ, key: &k, sender: sender, content: content}
}

func member(sender, target, membership string) ev {
	return state("m.room.member", target, sender, `{"membership":"`+membership+`"}`)
}

func rulesOf(t testing.TB, version string) *matrix.VersionRules {
	t.Helper()
	rules, err := matrix.RoomVersion(version).Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func roomID(version string) string {
	if version == "12" {
		return "!create"
	}
	return "!room:a.example"
}

// build makes an event without the checks of those from outside.
func build(t testing.TB, version string, e ev) *event.Event {
	t.Helper()
	rules := rulesOf(t, version)
	pdu := map[string]any{
		"type": e.typ, "sender": e.sender, "content": json.RawMessage(e.content),
		"depth": 5, "origin_server_ts": 1000, "auth_events": []any{}, "prev_events": refs(version, e.prev),
	}
	switch {
	case e.room != "":
		pdu["room_id"] = e.room
	case e.typ != "m.room.create" || version != "12":
		pdu["room_id"] = roomID(version)
	}
	if e.key != nil {
		pdu["state_key"] = *e.key
	}
	if e.redacts != "" {
		pdu["redacts"] = e.redacts
	}
	raw, err := json.Marshal(pdu)
	if err != nil {
		t.Fatal(err)
	}
	// Lenient: the levels of old versions are no canonical numbers.
	if raw, err = canonicaljson.Canonicalise(raw, canonicaljson.Lenient); err != nil {
		t.Fatal(err)
	}
	if e.id == "" {
		e.id = "$" + strings.TrimPrefix(e.typ, "m.room.") + ":" + string(matrix.UserID(e.sender).Server())
	}
	out, err := event.ParseStored(raw, matrix.EventID(e.id), rules)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refs are prev_events or auth_events in the form of the version.
func refs(version string, ids []string) []any {
	out := make([]any, len(ids))
	for i, id := range ids {
		if out[i] = id; version == "1" || version == "2" {
			out[i] = []any{id, map[string]any{"sha256": "x"}}
		}
	}
	return out
}

// roomState is a state of a room, by type and key.
type roomState map[event.StateTuple]*event.Event

func (s roomState) Event(typ, key string) *event.Event {
	return s[event.StateTuple{Type: typ, StateKey: key}]
}

func (s roomState) create() *event.Event { return s.Event("m.room.create", "") }

func (s roomState) put(t testing.TB, version string, e ev) {
	built := build(t, version, e)
	s[built.StateTuple()] = built
}

func createEvent(version string) ev {
	content := `{"creator":"` + alice + `","room_version":"` + version + `"}`
	if version == "12" {
		content = `{"additional_creators":["@cleo:c.example"],"room_version":"12"}`
	}
	e := state("m.room.create", "", alice, content)
	e.id = "$create"
	return e
}

// users are those of the power levels event; from version 12 on the creator
// must not be among them.
func users(version string) string {
	list := `"` + adam + `":100,"` + mod + `":50`
	if version != "12" {
		list += `,"` + alice + `":100`
	}
	return `{` + list + `}`
}

func newRoom(t testing.TB, version string) roomState {
	t.Helper()
	s := make(roomState)
	s.put(t, version, createEvent(version))
	s.put(t, version, state("m.room.power_levels", "", alice,
		`{"users":`+users(version)+`,"events":{"m.room.name":60,"m.custom":70},"invite":10,"notifications":{"room":50}}`))
	s.put(t, version, state("m.room.join_rules", "", alice, `{"join_rule":"invite"}`))
	for user, membership := range map[string]string{
		alice: "join", adam: "join", mod: "join", bob: "join", "@cleo:c.example": "join",
		carol: "invite", dave: "ban", kim: "knock", lea: "leave",
	} {
		s.put(t, version, member(user, user, membership))
	}
	return s
}

// scene is an event in the room, with what is different from newRoom.
type scene struct {
	with    []ev                      // state put into the room
	without []string                  // types taken out of it
	event   ev                        // to be judged
	by      func(version string) ev   // in place of event
	setup   func(version string) []ev // in place of with
	want    string                    // "1-5:5.2.2 6-11:ok": a rule or ok, by version
}

// run judges the event in each version that want names.
func (s scene) run(t *testing.T) {
	t.Helper()
	for version, want := range expand(t, s.want) {
		room := newRoom(t, version)
		for _, typ := range s.without {
			for tuple := range room {
				if tuple.Type == typ {
					delete(room, tuple)
				}
			}
		}
		with := s.with
		if s.setup != nil {
			with = s.setup(version)
		}
		for _, e := range with {
			room.put(t, version, e)
		}
		e := s.event
		if s.by != nil {
			e = s.by(version)
		}
		err := eventauth.Check(build(t, version, e), room, room.create())
		if got := ruleOf(t, err); got != want {
			t.Errorf("version %s: got %s, want %s (%v)", version, got, want, err)
		}
	}
}

// ruleOf returns the rule of a refusal, or ok.
func ruleOf(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return "ok"
	}
	refusal, ok := errors.AsType[*eventauth.NotAllowed](err)
	if !ok {
		t.Fatalf("%v is no *NotAllowed", err)
	}
	note(refusal.Version, refusal.Rule)
	return refusal.Rule
}

// expand reads "1-5:x 6-:y".
func expand(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, s string,
) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, item := range strings.Fields(s) {
		versions, want, ok := strings.Cut(item, ":")
		from, to, isRange := strings.Cut(versions, "-")
		if !isRange {
			to = from
		} else if to == "" {
			to = "12"
		}
		a, errA := strconv.Atoi(from)
		b, errB := strconv.Atoi(to)
		if !ok || errA != nil || errB != nil {
			t.Fatalf("malformed expectation %q", item)
		}
		for v := a; v <= b; v++ {
			out[strconv.Itoa(v)] = want
		}
	}
	return out
}

func runScenes(t *testing.T, scenes map[string]scene) {
	t.Helper()
	for name, s := range scenes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.run(t)
		})
	}
}
