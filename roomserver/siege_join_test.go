package roomserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/policystore"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// bait is a room of the hostile server that a user of ours would join.
type bait struct{ *siege }

func lay(t *testing.T, version matrix.RoomVersion) *bait {
	t.Helper()
	net := newNetwork()
	g := &siege{t: t, net: net, one: net.start(t, "sqlite", "one.example"), evil: net.start(t, "sqlite", "evil.example")}
	g.room = createRoom(t, g.evil, mallory, version, "public_chat")
	var err error
	g.rules, err = version.Rules()
	must(t, err)
	return &bait{g}
}

func (b *bait) join(user matrix.UserID) error {
	return b.one.Join(b.t.Context(), roomserver.JoinRequest{User: user, Room: b.room, Via: []matrix.ServerName{"evil.example"}})
}

// answer returns what the hostile server would truly say to a join.
func (b *bait) answer(pdu []byte) (*roomserver.JoinAnswer, error) {
	e, err := event.ParseUntrusted(pdu, b.rules)
	if err != nil {
		return nil, err
	}
	join, err := b.evil.SendMembership(b.t.Context(), "one.example", b.room, e.ID(), "join", pdu)
	if err != nil {
		return nil, err
	}
	state, err := b.evil.StateForJoin(b.t.Context(), join)
	return &roomserver.JoinAnswer{State: jsons(state.State), AuthChain: jsons(state.AuthChain), Event: join.JSON()}, err
}

func TestAnswersToAJoinThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(b *bait, a *roomserver.JoinAnswer){
		"nothing": func(_ *bait, a *roomserver.JoinAnswer) { a.State, a.AuthChain = nil, nil },
		"no create event": func(b *bait, a *roomserver.JoinAnswer) {
			a.State, a.AuthChain = b.no("m.room.create", a.State), b.no("m.room.create", a.AuthChain)
		},
		"a state of another room": func(b *bait, a *roomserver.JoinAnswer) {
			other := createRoom(b.t, b.evil, mallory, b.rules.Version, "public_chat")
			a.State = nil
			for _, id := range state(b.t, b.evil, other) {
				a.State = append(a.State, stored(b.t, b.evil, id).JSON())
			}
			a.AuthChain = nil
		},
		"two events of one key": func(b *bait, a *roomserver.JoinAnswer) {
			first := topic(b.t, b.evil, mallory, b.room, "one")
			second := topic(b.t, b.evil, mallory, b.room, "two")
			a.State = append(a.State, stored(b.t, b.evil, first).JSON(), stored(b.t, b.evil, second).JSON())
		},
		"too much": func(_ *bait, a *roomserver.JoinAnswer) { a.AuthChain = make([][]byte, 200_001) },
		"forged signatures": func(_ *bait, a *roomserver.JoinAnswer) {
			for i, raw := range a.State {
				a.State[i] = []byte(replaceOnce(string(raw), `"ed25519:a1":"`, `"ed25519:a1":"A`))
			}
			a.AuthChain = nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, version := range []matrix.RoomVersion{"10", "12"} {
				b := lay(t, version)
				b.net.lie("evil.example", &lies{sendJoin: func(_ matrix.RoomID, pdu []byte) (*roomserver.JoinAnswer, error) {
					a, err := b.answer(pdu)
					if err == nil {
						spoil(b, a)
					}
					return a, err
				}})
				if err := b.join(alice); err == nil {
					t.Errorf("version %s: the join was believed", version)
				}
				if _, err := b.one.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: b.room, Type: "m.room.message",
					Content: json.RawMessage(`{}`)}); err == nil {
					t.Errorf("version %s: alice speaks in a room that she did not enter", version)
				}
				b.net.lie("evil.example", nil)
				must(t, b.join(alice)) // what was refused is in nobody's way
				verify(t, b.one)
			}
		})
	}
}

// no leaves out the events of a type.
func (b *bait) no(typ string, pdus [][]byte) (rest [][]byte) {
	for _, raw := range pdus {
		if e, err := event.ParseUntrusted(raw, b.rules); err == nil && e.Type() != typ {
			rest = append(rest, raw)
		}
	}
	return rest
}

func replaceOnce(s, old, by string) string {
	for i := 0; i+len(old) <= len(s); i++ {
		if s[i:i+len(old)] == old {
			return s[:i] + by + s[i+len(old):]
		}
	}
	return s
}

func TestARestrictedJoinNeedsTheSignatureOfWhoLetsIn(t *testing.T) {
	t.Parallel()
	b := lay(t, "11")
	space := createRoom(t, b.evil, mallory, "11", "public_chat")
	enter := func(user matrix.UserID) {
		must(t, b.one.Join(t.Context(), roomserver.JoinRequest{User: user, Room: space, Via: []matrix.ServerName{"evil.example"}}))
		forward(t, b.one, b.evil, space, state(t, b.one, space)["m.room.member|"+string(user)])
	}
	_, err := b.evil.Send(t.Context(), roomserver.SendRequest{Sender: mallory, Room: b.room, Type: "m.room.join_rules", StateKey: new(string),
		Content: json.RawMessage(`{"join_rule":"restricted","allow":[{"type":"m.room_membership","room_id":"` + string(space) + `"}]}`)})
	must(t, err)
	for name, event := range map[string]func(a *roomserver.JoinAnswer) []byte{
		"none":    func(*roomserver.JoinAnswer) []byte { return nil },
		"another": func(*roomserver.JoinAnswer) []byte { return stored(t, b.evil, tips(t, b.evil, space)[0]).JSON() },
		"unsigned": func(a *roomserver.JoinAnswer) []byte {
			return []byte(replaceOnce(string(a.Event), `"evil.example":{`, `"else.example":{`))
		},
		"forged": func(a *roomserver.JoinAnswer) []byte {
			return []byte(replaceOnce(string(a.Event), `"evil.example":{"ed25519:a1":"`, `"evil.example":{"ed25519:a1":"A`))
		},
	} {
		b.net.lie("evil.example", nil)
		user := matrix.UserID("@" + name + ":one.example") // whom the other side believes to be in now
		enter(user)
		b.net.lie("evil.example", &lies{sendJoin: func(_ matrix.RoomID, pdu []byte) (*roomserver.JoinAnswer, error) {
			a, err := b.answer(pdu)
			if err == nil {
				a.Event = event(a)
			}
			return a, err
		}})
		if err := b.join(user); err == nil {
			t.Errorf("%s: a join was believed that no other server would", name)
		}
	}
	b.net.lie("evil.example", nil)
	enter(alice)
	must(t, b.join(alice))
	same(t, b.one, b.evil, b.room)
}

func TestAWrongRoomVersionDoesNotStick(t *testing.T) {
	t.Parallel()
	b := lay(t, "11")
	key := string(bob)
	p := event.Proto{RoomID: b.room, Sender: mallory, Type: "m.room.member", StateKey: &key, Content: json.RawMessage(`{"membership":"invite"}`),
		PrevEvents: tips(t, b.evil, b.room), AuthEvents: tips(t, b.evil, b.room), Depth: 9, OriginServerTS: 1}
	wrong, err := matrix.RoomVersion("10").Rules()
	must(t, err)
	invite, err := p.Build(wrong, b.evil.key)
	must(t, err)
	_, err = b.one.ReceiveInvite(t.Context(), "evil.example", b.room, invite.ID(), "10", invite.JSON(), nil)
	must(t, err)
	must(t, b.join(alice))
	say(t, b.one, alice, b.room, "in the room as it is")
	verify(t, b.one)
	b.one.restart()
	if _, err := b.one.ReceiveInvite(t.Context(), "evil.example", b.room, invite.ID(), "10", invite.JSON(), nil); err == nil {
		t.Error("an invitation of another version was taken into a room that is known")
	}
	say(t, b.one, alice, b.room, "read again")
}

func TestInvitationsThatAreNotWhatTheySeem(t *testing.T) {
	t.Parallel()
	for _, version := range []matrix.RoomVersion{"11", "12"} {
		b := lay(t, version)
		create := stored(t, b.evil, state(t, b.evil, b.room)["m.room.create|"]).JSON()
		build := func(target matrix.UserID, membership string) *event.Event {
			key := string(target)
			p := event.Proto{RoomID: b.room, Sender: mallory, Type: "m.room.member", StateKey: &key,
				Content: json.RawMessage(`{"membership":"` + membership + `"}`), PrevEvents: tips(t, b.evil, b.room), Depth: 9, OriginServerTS: 1}
			e, err := p.Build(b.rules, b.evil.key)
			must(t, err)
			return e
		}
		invite := build(alice, "invite")
		told := []json.RawMessage{create}
		receive := func(origin matrix.ServerName, room matrix.RoomID, id matrix.EventID, e *event.Event, told []json.RawMessage) error {
			_, err := b.one.ReceiveInvite(t.Context(), origin, room, id, version, e.JSON(), told)
			return err
		}
		many := make([]json.RawMessage, 101)
		for i := range many {
			many[i] = create
		}
		for name, err := range map[string]error{
			"another room in the path":  receive("evil.example", "!other:evil.example", invite.ID(), invite, told),
			"another event in the path": receive("evil.example", b.room, "$other", invite, told),
			"another server":            receive("else.example", b.room, invite.ID(), invite, told),
			"no user of ours":           receive("evil.example", b.room, build("@x:two.example", "invite").ID(), build("@x:two.example", "invite"), told),
			"a ban":                     receive("evil.example", b.room, build(alice, "ban").ID(), build(alice, "ban"), told),
			"too much told":             receive("evil.example", b.room, invite.ID(), invite, many),
			"null told":                 receive("evil.example", b.room, invite.ID(), invite, []json.RawMessage{create, json.RawMessage("null")}),
		} {
			if err == nil {
				t.Errorf("version %s: %s: the invitation was taken", version, name)
			}
		}
		if err := receive("evil.example", b.room, invite.ID(), invite, nil); version == "12" && !matrix.IsCode(err, "M_MISSING_PARAM") {
			t.Errorf("version 12 without the create event: %v", err)
		}
		must(t, receive("evil.example", b.room, invite.ID(), invite, told))
	}
}

func TestHistoryIsOnlyWhatOurEventsFollow(t *testing.T) {
	t.Parallel()
	b := lay(t, "11")
	first := say(t, b.evil, mallory, b.room, "before")
	must(t, b.join(alice))
	p := event.Proto{RoomID: b.room, Sender: mallory, Type: "m.room.message", Content: json.RawMessage(`{"body":"slipped in"}`),
		PrevEvents: []matrix.EventID{first}, AuthEvents: stored(t, b.evil, first).AuthEvents(), Depth: 3, OriginServerTS: 1}
	slipped, err := p.Build(b.rules, b.evil.key)
	must(t, err)
	b.net.lie("evil.example", &lies{backfill: func([]matrix.EventID) ([][]byte, error) {
		return [][]byte{slipped.JSON(), stored(t, b.evil, first).JSON()}, nil
	}})
	_, err = b.one.Messages(t.Context(), roomserver.MessagesRequest{User: alice, Room: b.room, Backwards: true, Limit: 50})
	must(t, err)
	b.want(slipped, 0)
	if b.known(first) == nil {
		t.Error("the true history was not taken")
	}
	verify(t, b.one)
}

func TestTwoUsersEnterARoomAtATime(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			for range 5 {
				net := newNetwork()
				one, two := net.start(t, engine, "one.example"), net.start(t, engine, "two.example")
				room := createRoom(t, two, carol, "12", "public_chat")
				users := []matrix.UserID{alice, bob, "@c:one.example", "@d:one.example"}
				var group sync.WaitGroup
				for _, user := range users {
					group.Go(func() {
						if err := one.Join(context.Background(), roomserver.JoinRequest{User: user, Room: room, Via: []matrix.ServerName{"two.example"}}); err != nil {
							t.Error(err)
						}
					})
				}
				group.Wait()
				for _, user := range users {
					say(t, one, user, room, "here")
				}
				verify(t, one)
				if t.Failed() {
					return
				}
			}
		})
	}
}

func TestWhoLeftIsNotBroughtBackByAnother(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, engine string, version matrix.RoomVersion) {
		net := newNetwork()
		one, two := net.start(t, engine, "one.example"), net.start(t, engine, "two.example")
		room := createRoom(t, two, carol, version, "public_chat")
		must(t, one.Join(t.Context(), roomserver.JoinRequest{User: alice, Room: room, Via: []matrix.ServerName{"two.example"}}))
		for i := range 12 {
			forward(t, two, one, room, topic(t, two, carol, room, fmt.Sprint(i)))
		}
		must(t, one.Leave(t.Context(), roomserver.MembershipRequest{Sender: alice, Room: room}))
		left := state(t, one, room)["m.room.member|"+string(alice)]
		topic(t, two, carol, room, "while nobody was there") // and the leave has not come yet
		must(t, one.Join(t.Context(), roomserver.JoinRequest{User: bob, Room: room, Via: []matrix.ServerName{"two.example"}}))
		if got := state(t, one, room)["m.room.member|"+string(alice)]; got != left {
			t.Errorf("alice is %s again", stored(t, one, got).Content())
		}
		forward(t, one, two, room, left)
		forward(t, one, two, room, say(t, one, bob, room, "merge"))
		forward(t, two, one, room, say(t, two, carol, room, "merged"))
		same(t, one, two, room)
		verify(t, one)
		verify(t, two)
	})
}

const gatedDocument = `
version: 1
issuer: dinum.example
organisations:
  - {id: own, class: government, homeservers: [{name: one.example}], contact: "mailto:ssi@one.example"}
  - {id: other, class: government, homeservers: [{name: two.example}]}
  - {id: firm, class: external, homeservers: [{name: evil.example}]}
federation: {default: deny}
`

func TestMembersWhomThePolicyDeniesStayOut(t *testing.T) {
	t.Parallel()
	net := newNetwork()
	db := testkit.OpenDB(t, "sqlite")
	file := filepath.Join(t.TempDir(), "policy.yaml")
	must(t, os.WriteFile(file, []byte(gatedDocument), 0o600))
	gate, err := policystore.Open(t.Context(), policystore.Options{DB: db, Self: "one.example", File: file})
	must(t, err)
	one := net.startWith(t, db, "one.example", gate)
	two, evil := net.start(t, "sqlite", "two.example"), net.start(t, "sqlite", "evil.example")
	// The room of another ministry, which lets an external in where our document does not.
	room := createRoom(t, two, carol, "11", "public_chat")
	must(t, one.Join(t.Context(), roomserver.JoinRequest{User: alice, Room: room, Via: []matrix.ServerName{"two.example"}}))
	must(t, evil.Join(t.Context(), roomserver.JoinRequest{User: mallory, Room: room, Via: []matrix.ServerName{"two.example"}}))
	join := state(t, two, room)["m.room.member|"+string(mallory)]
	must(t, one.ReceivePDU(t.Context(), "two.example", room, stored(t, two, join).JSON()))
	if e := stored(t, one, join); e.Status != rooms.Rejected {
		t.Errorf("the join is %s", e.Status)
	}
	// What the external says names the rejected join; what others say after it does not.
	said := say(t, evil, mallory, room, "hello")
	must(t, two.ReceivePDU(t.Context(), "evil.example", room, stored(t, evil, said).JSON()))
	must(t, one.ReceivePDU(t.Context(), "evil.example", room, stored(t, evil, said).JSON()))
	if e := stored(t, one, said); e.Status != rooms.Rejected {
		t.Errorf("the message is %s", e.Status)
	}
	answer := say(t, two, carol, room, "welcome")
	forward(t, two, one, room, answer)
	if e := stored(t, one, answer); e.Status != rooms.Accepted {
		t.Errorf("the answer of a member is %s: %s", e.Status, e.Reason)
	}
	// Nor does a gap bring the external in, with the state that the other ministry tells.
	for i := range 25 {
		topic(t, two, carol, room, fmt.Sprint(i))
	}
	net.lie("two.example", &lies{missing: func([]matrix.EventID) ([][]byte, error) { return nil, nil }})
	forward(t, two, one, room, say(t, two, carol, room, "after a gap"))
	net.lie("two.example", nil)
	if id, in := state(t, one, room)["m.room.member|"+string(mallory)]; in {
		t.Errorf("the external is in the room by %s", stored(t, one, id).Content())
	}
	say(t, one, alice, room, "still here")
	verify(t, one)
	findings, err := storage.VerifyMembers(t.Context(), one.db, func(user, _ string) bool { return user != string(mallory) })
	must(t, err)
	for _, f := range findings {
		t.Error(f)
	}
}
