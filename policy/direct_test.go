package policy

import (
	"fmt"
	"slices"
	"testing"

	"beffroi/matrix"
	"pgregory.net/rapid"
)

func TestDirectRoomsAndTokens(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	const carol = "@c:sante.example"
	pending := func(r *room) { r.set(typeThirdParty, "tok", alice, `{"display_name":"x"}`) }
	byToken := `{"membership":"invite","third_party_invite":{"signed":{"token":"tok"}}}`
	for name, tc := range map[string]struct {
		try
		want string
	}{
		"second token":            {try{room: pending, typ: typeThirdParty, key: "tok2", sender: alice, content: `{"display_name":"y"}`}, full},
		"the same token again":    {try{room: pending, typ: typeThirdParty, key: "tok", sender: alice, content: `{"display_name":"y"}`}, ok},
		"revocation":              {try{room: pending, typ: typeThirdParty, key: "tok", sender: alice, content: `{}`}, ok},
		"invitation past a token": {try{room: pending, typ: typeMember, key: carol, sender: alice, content: `{"membership":"invite"}`}, full},
		"invitation by the token": {try{room: pending, typ: typeMember, key: carol, sender: alice, content: byToken}, ok},
		"invitation by another":   {try{room: pending, typ: typeMember, key: carol, sender: alice, content: `{"membership":"invite","third_party_invite":{"signed":{"token":"tik"}}}`}, full},
		"creator renames himself": {try{room: pending, typ: typeMember, key: string(alice), sender: alice, content: `{"displayname":"A","membership":"join"}`}, ok},
		"after revocation": {try{room: func(r *room) { pending(r); r.set(typeThirdParty, "tok", alice, `{}`) },
			typ: typeMember, key: carol, sender: alice, content: `{"membership":"invite"}`}, ok},
		"the spent token is no seat": {try{room: func(r *room) { pending(r); r.member(carol, "join").member(carol, "leave") },
			typ: typeMember, key: carol, sender: alice, content: `{"membership":"invite"}`}, ok},
		"a token after a departure": {try{room: func(r *room) { r.member(carol, "leave"); pending(r) },
			typ: typeMember, key: string(bob), sender: alice, content: `{"membership":"invite"}`}, full},
		"first of two invited joins": {try{room: func(r *room) { r.member(bob, "invite").member(carol, "invite") },
			typ: typeMember, key: carol, sender: carol, content: `{"membership":"join"}`}, ok},
		"second of two invited joins": {try{room: func(r *room) { r.member(bob, "join").member(carol, "invite") },
			typ: typeMember, key: carol, sender: carol, content: `{"membership":"join"}`}, full},
		"many tokens": {try{room: func(r *room) {
			for i := range 3 * maxTokens {
				r.set(typeThirdParty, fmt.Sprint(i), alice, `{"display_name":"x"}`)
			}
		}, typ: typeMember, key: carol, sender: alice, content: `{"membership":"invite"}`}, full},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.run(t, s, newRoom(t, Direct, "private", false), tc.want)
		})
	}
}

// TestStateOfAJoinIsJudgedOnItself holds that every event of a room that was
// made by the rules is admitted when a server first sees it as a whole.
func TestStateOfAJoinIsJudgedOnItself(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	for _, rule := range []AccessRule{Restricted, Unrestricted, Direct} {
		r := newRoom(t, rule, "private", false).set(typeThirdParty, "tok", alice, `{"display_name":"x"}`)
		second := bob
		if rule != Restricted {
			second = partner
		}
		r.member(second, "join")
		for _, e := range r.state {
			if d := s.AdmitEvent(&EventRequest{Event: e, State: r, Create: r.create, Source: SourceFederation, Now: noon}); !d.Allow {
				t.Errorf("%s: %s: %+v", rule, e.Type(), d)
			}
		}
	}
}

// TestDirectRoomsNeverHoldThree plays random histories in which every event is
// judged on the state before it: never do three people sit in a direct room.
func TestDirectRoomsNeverHoldThree(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, testDocument, "interieur.example")
	users := []matrix.UserID{alice, bob, "@c:sante.example", "@d:interieur.example", partner}
	rapid.Check(t, func(rt *rapid.T) {
		r := newRoom(t, Direct, "private", false)
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			user := rapid.SampledFrom(users).Draw(rt, "user")
			sender := user
			membership := rapid.SampledFrom([]string{"invite", "join", "leave", "ban", "knock", "token"}).Draw(rt, "membership")
			typ, key, content := typeMember, string(user), `{"membership":"`+membership+`"}`
			switch membership {
			case "invite", "ban":
				sender = alice
			case "token":
				typ, key, sender, content = typeThirdParty, rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "token"), alice,
					rapid.SampledFrom([]string{`{}`, `{"display_name":"x"}`}).Draw(rt, "content")
			}
			e := r.event(typ, key, sender, content)
			if s.AdmitEvent(&EventRequest{Event: e, State: r, Create: r.create, Now: noon}).Allow {
				r.state[e.StateTuple()] = e
			}
			var inside []matrix.UserID
			for _, u := range users {
				if m := r.Event(typeMember, string(u)); m != nil && m.Membership() == "join" {
					inside = append(inside, u)
				}
			}
			if slices.Sort(inside); len(inside) > directSeats {
				rt.Fatalf("%v sit in a direct room", inside)
			}
		}
	})
}
