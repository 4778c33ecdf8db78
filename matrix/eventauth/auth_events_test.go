package eventauth_test

import (
	"encoding/json"
	"slices"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
)

// tuples writes a selection as the tables do.
func tuples(list []event.StateTuple) []string {
	var out []string
	for _, t := range list {
		out = append(out, t.Type[len("m.room."):]+"/"+t.StateKey)
	}
	return out
}

func TestNeededFor(t *testing.T) {
	t.Parallel()
	type c struct {
		version string
		event   ev
		want    []string
	}
	thirdParty := state("m.room.member", eve, mod, `{"membership":"invite","third_party_invite":{"signed":{"token":"tok"}}}`)
	for name, c := range map[string]c{
		"create":                   {"11", createEvent("11"), nil},
		"message":                  {"11", ev{typ: "m.room.message", sender: bob, content: `{}`}, []string{"create/", "power_levels/", "member/" + bob}},
		"message, v12":             {"12", ev{typ: "m.room.message", sender: bob, content: `{}`}, []string{"power_levels/", "member/" + bob}},
		"member without key":       {"11", ev{typ: "m.room.member", sender: bob, content: `{"membership":"join"}`}, []string{"create/", "power_levels/", "member/" + bob}},
		"join":                     {"11", member(bob, bob, "join"), []string{"create/", "power_levels/", "member/" + bob, "join_rules/"}},
		"invite":                   {"11", member(mod, bob, "invite"), []string{"create/", "power_levels/", "member/" + mod, "member/" + bob, "join_rules/"}},
		"knock":                    {"11", member(bob, bob, "knock"), []string{"create/", "power_levels/", "member/" + bob, "join_rules/"}},
		"kick":                     {"11", member(mod, bob, "leave"), []string{"create/", "power_levels/", "member/" + mod, "member/" + bob}},
		"ban":                      {"12", member(mod, bob, "ban"), []string{"power_levels/", "member/" + mod, "member/" + bob}},
		"third-party invite":       {"11", thirdParty, []string{"create/", "power_levels/", "member/" + mod, "member/" + eve, "join_rules/", "third_party_invite/tok"}},
		"restricted, before v8":    {"7", authorised(eve, mod), []string{"create/", "power_levels/", "member/" + eve, "join_rules/"}},
		"restricted":               {"8", authorised(eve, mod), []string{"create/", "power_levels/", "member/" + eve, "join_rules/", "member/" + mod}},
		"restricted, by themself":  {"8", authorised(eve, eve), []string{"create/", "power_levels/", "member/" + eve, "join_rules/"}},
		"restricted, by no string": {"8", state("m.room.member", eve, eve, `{"join_authorised_via_users_server":1,"membership":"join"}`), []string{"create/", "power_levels/", "member/" + eve, "join_rules/"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := rulesOf(t, c.version)
			got := tuples(eventauth.NeededFor(eventauth.SubjectOf(build(t, c.version, c.event)), rules))
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			proto := &event.Proto{Type: c.event.typ, StateKey: c.event.key, Sender: matrix.UserID(c.event.sender), Content: json.RawMessage(c.event.content)}
			if again := tuples(eventauth.NeededFor(eventauth.SubjectOfProto(proto), rules)); !slices.Equal(again, got) {
				t.Errorf("the same event before it is built needs %v", again)
			}
		})
	}
}

// withAuth is an event that names its auth events.
func withAuth(t *testing.T, version string, e ev, auth []string) *event.Event {
	t.Helper()
	raw, err := canonicaljson.Marshal(map[string]any{
		"type": e.typ, "sender": e.sender, "state_key": *e.key, "content": json.RawMessage(e.content), "depth": 5,
		"origin_server_ts": 1000, "room_id": roomID(version), "prev_events": []any{}, "auth_events": refs(version, auth),
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := event.ParseStored(raw, "$e", rulesOf(t, version))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCheckAuthEvents(t *testing.T) {
	t.Parallel()
	named := func(e ev, id string) ev {
		e.id = id
		return e
	}
	all := func(version string) []*event.Event {
		foreign := named(joinRule("invite")[0], "$foreign")
		foreign.room = "!other:a.example"
		events := []ev{
			createEvent(version), named(state("m.room.power_levels", "", alice, `{}`), "$power"),
			named(state("m.room.power_levels", "", alice, `{"ban":1}`), "$power2"), named(member(bob, bob, "invite"), "$bob"),
			named(member(mod, mod, "join"), "$mod"), named(joinRule("invite")[0], "$rules"), foreign,
			named(ev{typ: "m.room.message", sender: bob, content: `{}`}, "$message"),
			named(ev{typ: "m.room.power_levels", sender: bob, content: `{}`}, "$notstate"),
			named(state("m.room.topic", "", mod, `{}`), "$topic"),
		}
		var out []*event.Event
		for _, e := range events {
			out = append(out, build(t, version, e))
		}
		return out
	}
	for name, c := range map[string]struct {
		auth     []string // $create is left out in version 12
		rejected matrix.EventID
		want     string
	}{
		"all it needs":      {auth: []string{"$create", "$power", "$bob", "$rules"}, want: "1-:ok"},
		"less":              {auth: []string{"$create"}, want: "1-:ok"},
		"twice the same":    {auth: []string{"$create", "$bob", "$bob"}, want: "1-11:2.1 12:3.1"},
		"two power levels":  {auth: []string{"$create", "$power", "$power2"}, want: "1-11:2.1 12:3.1"},
		"not needed":        {auth: []string{"$create", "$mod"}, want: "1-11:2.2 12:3.2"},
		"not a type for it": {auth: []string{"$create", "$topic"}, want: "1-11:2.2 12:3.2"},
		"a message":         {auth: []string{"$create", "$message"}, want: "1-11:2.2 12:3.2"},
		"not state":         {auth: []string{"$create", "$notstate"}, want: "1-11:2.2 12:3.2"},
		"rejected":          {auth: []string{"$create", "$power", "$bob"}, rejected: "$power", want: "1-11:2.3 12:3.3"},
		"create rejected":   {auth: []string{"$create", "$bob"}, rejected: "$create", want: "1-11:2.3 12:2"},
		"other room":        {auth: []string{"$create", "$foreign"}, want: "1-11:2.5 12:3.5"},
		"no create":         {auth: []string{"$power", "$bob"}, want: "1-11:2.4 12:ok"},
		"unknown":           {auth: []string{"$create", "$nothing"}, want: "1-11:2 12:3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for version, want := range expand(t, c.want) {
				auth := c.auth
				if version == "12" {
					auth = slices.DeleteFunc(slices.Clone(auth), func(id string) bool { return id == "$create" })
				}
				e := withAuth(t, version, member(bob, bob, "join"), auth)
				err := eventauth.CheckAuthEvents(e, all(version), func(id matrix.EventID) bool { return id == c.rejected })
				if got := ruleOf(t, err); got != want {
					t.Errorf("version %s: got %s, want %s (%v)", version, got, want, err)
				}
			}
		})
	}
}

func TestCreateEventInAuthEventsOfVersion12(t *testing.T) {
	t.Parallel()
	e := withAuth(t, "12", member(bob, bob, "join"), []string{"$create"})
	err := eventauth.CheckAuthEvents(e, []*event.Event{build(t, "12", createEvent("12"))}, func(matrix.EventID) bool { return false })
	if got := ruleOf(t, err); got != "3.2" {
		t.Errorf("got %s, want 3.2", got)
	}
}

func TestCheckAuthEventsOfCreate(t *testing.T) {
	t.Parallel()
	never := func(matrix.EventID) bool { return false }
	for _, version := range matrix.RoomVersions() {
		if err := eventauth.CheckAuthEvents(build(t, string(version), createEvent(string(version))), nil, never); err != nil {
			t.Errorf("version %s: %v", version, err)
		}
		if err := eventauth.CheckAuthEvents(withAuth(t, string(version), createEvent(string(version)), []string{"$x"}), nil, never); ruleOf(t, err) != "1" {
			t.Errorf("version %s: a create event with auth events: %v", version, err)
		}
	}
}

func TestJudgedByItsAuthEvents(t *testing.T) {
	t.Parallel()
	for _, version := range matrix.RoomVersions() {
		room := newRoom(t, string(version))
		auth := eventauth.AuthEvents{room.create(), room.Event("m.room.power_levels", ""), room.Event("m.room.member", mod)}
		e := build(t, string(version), state("m.room.topic", "", mod, `{}`))
		if err := eventauth.Check(e, auth, room.create()); err != nil {
			t.Errorf("version %s: %v", version, err)
		}
		if got := ruleOf(t, eventauth.Check(e, auth[:2], room.create())); got == "ok" {
			t.Errorf("version %s: allowed without the sender's membership", version)
		}
	}
}
