package policy

import (
	"fmt"
	"strings"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

func TestAccessRuleChanges(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	const oneWay, invalid, vis, force = "access_rule_one_way", "access_rule_invalid", "access_rule_visibility", "access_rule_encryption"
	for name, tc := range map[string]try{
		"restricted":          {content: `{"rule":"restricted"}`, want: [5]string{ok, oneWay, oneWay, vis, force}, withoutRules: ok},
		"unrestricted":        {content: `{"rule":"unrestricted"}`, want: [5]string{ok, ok, oneWay, vis, force}, withoutRules: ok},
		"direct":              {content: `{"rule":"direct"}`, want: [5]string{oneWay, oneWay, ok, vis, force}, withoutRules: ok},
		"direct of three":     {room: func(r *room) { r.member(bob, "join").member("@c:sante.example", "invite") }, content: `{"rule":"direct"}`, want: [5]string{oneWay, oneWay, ok, vis, force}, withoutRules: "direct_room_members"},
		"public restricted":   {content: `{"rule":"restricted","visibility":"public"}`, want: [5]string{vis, vis, vis, ok, vis}, withoutRules: "access_rule_at_creation"},
		"public unrestricted": {content: `{"rule":"unrestricted","visibility":"public"}`, want: [5]string{vis, vis, vis, "access_rule_public_room", vis}, withoutRules: "access_rule_at_creation"},
		"unencrypted":         {content: `{"force_unencrypted_at_creation":true,"rule":"restricted"}`, want: [5]string{force, force, force, vis, ok}, withoutRules: "access_rule_at_creation"},
		"unencrypted, opened": {content: `{"force_unencrypted_at_creation":true,"rule":"unrestricted","visibility":"private"}`, want: [5]string{force, force, force, vis, ok}, withoutRules: "access_rule_at_creation"},
		"no rule":             {content: `{"visibility":"private"}`, all: invalid},
		"empty":               {content: `{}`, all: invalid},
		"another word":        {content: `{"rule":"open"}`, all: invalid},
		"another case":        {content: `{"Rule":"unrestricted","rule":"restricted"}`, want: [5]string{ok, oneWay, oneWay, vis, force}, withoutRules: ok},
		"a number":            {content: `{"rule":1}`, all: invalid},
		"visibility a number": {content: `{"rule":"restricted","visibility":1}`, all: invalid},
		"visibility secret":   {content: `{"rule":"restricted","visibility":"secret"}`, all: invalid},
		"flag a word":         {content: `{"force_unencrypted_at_creation":"true","rule":"restricted"}`, all: invalid},
		"another key":         {key: "x", content: `{"rule":"open"}`, all: ok},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.typ, tc.sender = TypeAccessRules, alice
			for i, kind := range []struct {
				rule       AccessRule
				visibility string
				force      bool
			}{{Restricted, "private", false}, {Unrestricted, "private", false}, {Direct, "private", false}, {Restricted, "public", false}, {Restricted, "private", true}, {"", "private", false}} {
				want := tc.all
				if want == "" && i < 5 {
					want = tc.want[i]
				} else if want == "" {
					want = tc.withoutRules
				}
				tc.run(t, s, newRoom(t, kind.rule, kind.visibility, kind.force), want)
			}
		})
	}
}

func TestFirstAccessRule(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	bare := func(t *testing.T, encrypted bool, join string) *room {
		r := newRoom(t, "", "public", false)
		r.set(typeJoinRules, "", alice, `{"join_rule":"`+join+`"}`)
		if encrypted {
			r.set(typeEncryption, "", alice, `{"algorithm":"m.megolm.v1.aes-sha2"}`)
		}
		return r
	}
	for name, tc := range map[string]struct {
		content   string
		join      string
		encrypted bool
		want      string
	}{
		"public":                 {`{"rule":"restricted","visibility":"public"}`, "public", false, ok},
		"public and encrypted":   {`{"rule":"restricted","visibility":"public"}`, "public", true, "encryption_in_public_room"},
		"public and open":        {`{"rule":"unrestricted","visibility":"public"}`, "public", false, "access_rule_public_room"},
		"unencrypted":            {`{"force_unencrypted_at_creation":true,"rule":"restricted"}`, "invite", false, ok},
		"unencrypted, encrypted": {`{"force_unencrypted_at_creation":true,"rule":"restricted"}`, "invite", true, "encryption_refused_at_creation"},
		"direct and public":      {`{"rule":"direct"}`, "public", true, "direct_room_public"},
		"direct":                 {`{"rule":"direct"}`, "invite", true, ok},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := try{typ: TypeAccessRules, sender: alice, content: tc.content, creating: true}
			c.run(t, s, bare(t, tc.encrypted, tc.join), tc.want)
			c.creating, c.source, c.sender = false, SourceFederation, bob
			c.run(t, s, bare(t, tc.encrypted, tc.join), tc.want)
		})
	}
}

func TestOpening(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	for name, tc := range map[string]struct {
		version matrix.RoomVersion
		create  string
		creator matrix.UserID
		levels  string // "" is no event
		want    string
	}{
		"plain":                    {"11", `{}`, alice, `{"users":{"@alice:interieur.example":100}}`, ok},
		"no power levels":          {"11", `{}`, alice, ``, ok},
		"everybody administrator":  {"11", `{}`, alice, `{"users_default":100}`, "open_room_users_default"},
		"external moderator":       {"11", `{}`, alice, `{"users":{"@pierre:externe.example":50}}`, "open_room_external_power"},
		"external at 0":            {"11", `{}`, alice, `{"users":{"@pierre:externe.example":0}}`, ok},
		"external by default only": {"11", `{}`, partner, `{"users":{"@alice:interieur.example":100}}`, ok},
		"external creator":         {"11", `{}`, partner, ``, "open_room_external_power"},
		"version 12":               {"12", `{"additional_creators":["@bob:sante.example"]}`, alice, `{}`, ok},
		"version 12, external":     {"12", `{"additional_creators":["@pierre:externe.example"]}`, alice, `{}`, "open_room_external_power"},
		"nonsense":                 {"11", `{}`, alice, `{"users":[]}`, "power_levels_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &room{t: t, version: tc.version, state: make(map[event.StateTuple]*event.Event)}
			r.set(typeCreate, "", tc.creator, tc.create).set(TypeAccessRules, "", alice, `{"rule":"restricted"}`)
			if tc.levels != "" {
				r.set(typePowerLevels, "", alice, tc.levels)
			}
			c := try{typ: TypeAccessRules, sender: alice, content: `{"rule":"unrestricted"}`}
			c.run(t, s, r, tc.want)
			r.create = nil
			if d := s.AdmitEvent(&EventRequest{Event: r.event(c.typ, "", alice, c.content), State: r, Now: noon}); d.Allow {
				t.Error("a room without a create event was opened")
			}
		})
	}
}

func TestMaxPowerOfExternals(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument+"externals: {max_power: 10, invite: true, create_rooms: true, publish: true, search_directory: true}\n", "interieur.example")
	for level, want := range map[int]string{-1: "open_room_external_power", 0: ok, 10: ok, 11: "open_room_external_power"} {
		c := try{typ: typePowerLevels, sender: alice, content: fmt.Sprintf(`{"users":{"@pierre:externe.example":%d}}`, level)}
		c.run(t, s, newRoom(t, Unrestricted, "private", false), want)
	}
	for _, a := range []Action{ActionInvite, ActionInvite3PID, ActionCreateRoom, ActionSearchDirectory, ActionListPublicRooms, ActionPublishRoom} {
		if d := s.Decide(&Request{Action: a, Actor: partner, Now: noon}); !d.Allow {
			t.Errorf("%s: %+v", a, d)
		}
	}
}

func TestRedactionOfProtectedState(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	r := newRoom(t, Unrestricted, "private", false)
	for typ, want := range map[string]string{TypeAccessRules: "protected_state", typeEncryption: "protected_state", typeJoinRules: ok} {
		target := r.Event(typ, "").ID()
		c := try{typ: typeRedaction, key: notState, sender: alice, content: `{"redacts":"` + string(target) + `"}`}
		c.run(t, s, r, want)
	}
	c := try{typ: typeRedaction, key: notState, sender: alice, content: `{}`}
	c.run(t, s, r, ok)
}

func TestCreators(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	for name, tc := range map[string]struct {
		version matrix.RoomVersion
		sender  matrix.UserID
		content string
		want    string
	}{
		"a ministry":           {"12", bob, `{}`, ok},
		"external":             {"11", partner, `{}`, "external_cannot_create"},
		"external, version 12": {"12", partner, `{}`, "external_cannot_create"},
		"stranger":             {"10", nobody, `{"creator":"@n:stranger.example"}`, "unknown_server"},
		"additional ministry":  {"12", alice, `{"additional_creators":["@bob:sante.example"]}`, ok},
		"additional external":  {"12", alice, `{"additional_creators":["@pierre:externe.example"]}`, "external_has_no_power"},
		"additional stranger":  {"12", alice, `{"additional_creators":["@n:stranger.example"]}`, "unknown_server"},
		"additional unowned":   {"12", alice, `{"additional_creators":["@n:notary.example"]}`, "no_organisation"},
		"means nothing in 11":  {"11", alice, `{"additional_creators":["@n:stranger.example"]}`, ok},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &room{t: t, version: tc.version}
			e := r.event(typeCreate, "", tc.sender, tc.content)
			checkDecision(t, name, NewEngine(s).AdmitEvent(&EventRequest{Event: e, Now: noon}), tc.want)
		})
	}
}

func TestJoinByWayOfASpace(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	for name, tc := range map[string]struct {
		rule     AccessRule
		join, by string
		want     string
	}{
		"opened":                {Unrestricted, "restricted", string(alice), ok},
		"opened, with knocking": {Unrestricted, "knock_restricted", string(bob), ok},
		"restricted":            {Restricted, "restricted", string(alice), "external_in_restricted_room"},
		"vouched by external":   {Unrestricted, "restricted", string(partner), "external_needs_invite"},
		"vouched by stranger":   {Unrestricted, "restricted", string(nobody), "external_needs_invite"},
		"not by a space":        {Unrestricted, "public", string(alice), "external_needs_invite"},
		"vouched by nobody":     {Unrestricted, "restricted", "", "external_needs_invite"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, tc.rule, "private", false).set(typeJoinRules, "", alice, `{"join_rule":"`+tc.join+`"}`)
			c := try{typ: typeMember, key: string(partner), sender: partner,
				content: `{"join_authorised_via_users_server":"` + tc.by + `","membership":"join"}`}
			c.run(t, s, r, tc.want)
		})
	}
}

func TestAccessRulesOff(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, strings.Replace(testDocument, "rooms: {", "rooms: {access_rules: off, ", 1), "interieur.example")
	for name, tc := range eventTable {
		tc.source = SourceFederation
		r := newRoom(t, Restricted, "public", false)
		if tc.room != nil {
			tc.room(r)
		}
		d := s.AdmitEvent(&EventRequest{Event: r.event(tc.typ, tc.key, tc.sender, tc.content), State: r, Create: r.create, Now: noon})
		want := true
		for _, still := range []string{"stranger", "enemy", "denied"} {
			if strings.HasPrefix(name, still) && !strings.HasSuffix(name, "leaves") && !strings.HasSuffix(name, "banned") {
				want = false
			}
		}
		if tc.all == "malformed_event" || tc.all == "external_cannot_invite" || tc.all == noPower {
			want = false
		}
		if d.Allow != want {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestStrippedFacts(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "externe.example")
	r := &room{t: t, version: "11"}
	invite := r.event(typeMember, string(partner), alice, `{"membership":"invite"}`)
	stripped := []StrippedEvent{
		{typeCreate, "", alice, []byte(`{"m.federate":false}`)}, {typeJoinRules, "", alice, []byte(`{"join_rule":"knock"}`)},
		{typeEncryption, "", alice, []byte(`{"algorithm":"x"}`)}, {TypeAccessRules, "x", alice, []byte(`{"rule":"direct"}`)},
		{TypeAccessRules, "", alice, []byte(`{"rule":"unrestricted","visibility":"private"}`)},
	}
	facts := StrippedFacts(stripped)
	if facts.Rule != Unrestricted || facts.JoinRule != "knock" || !facts.Encrypted || !facts.NoFederate || facts.Creator != alice {
		t.Errorf("%+v", facts)
	}
	checkDecision2(t, s.AdmitEvent(&EventRequest{Event: invite, Facts: &facts, Now: noon}), ok)
	closed := StrippedFacts(stripped[:3])
	checkDecision2(t, s.AdmitEvent(&EventRequest{Event: invite, Facts: &closed, Now: noon}), noExt)
	checkDecision2(t, s.AdmitEvent(&EventRequest{Event: invite, Now: noon}), noExt)
}

func checkDecision2(t *testing.T, d Decision, want string) {
	t.Helper()
	if d.Allow != (want == ok) || !d.Allow && string(d.Reason) != want {
		t.Errorf("%+v, want %s", d, want)
	}
}

func TestMemberIsAFinding(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	for user, want := range map[matrix.UserID][2]string{
		alice: {ok, ok}, bob: {ok, ok}, partner: {noExt, ok}, nobody: {"unknown_server", "unknown_server"}, notary: {"no_organisation", "no_organisation"},
	} {
		checkDecision2(t, s.Member(user, RoomFacts{}, noon), want[0])
		checkDecision2(t, s.Member(user, RoomFacts{Rule: Unrestricted}, noon), want[1])
	}
}
