package federation_test

import (
	"encoding/json"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// shared lets members of today read what was said before they came.
var shared = policy.StateEvent{Type: "m.room.history_visibility", Content: json.RawMessage(`{"history_visibility":"shared"}`)}

// eachVersion runs fn for the room versions that differ most, on each engine.
func eachVersion(t *testing.T, fn func(t *testing.T, engine string, version matrix.RoomVersion)) {
	t.Helper()
	for _, engine := range testkit.Engines() {
		for _, version := range []matrix.RoomVersion{"10", "11", "12"} {
			t.Run(engine+"/"+string(version), func(t *testing.T) {
				t.Parallel()
				fn(t, engine, version)
			})
		}
	}
}

func TestTwoServersTalk(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, engine string, version matrix.RoomVersion) {
		n := newNetwork(t)
		a, b := n.start(t, engine, one, ministries), n.start(t, engine, two, ministries)
		a.work(t)
		b.work(t)
		b.user(t, bob)
		room := a.room(t, alice, version, "private_chat")
		must(t, a.rooms.Invite(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room}))
		b.join(t, bob, room)
		b.has(t, a.say(t, alice, room, "bonjour"))
		a.has(t, b.say(t, bob, room, "salut"))
		must(t, b.rooms.Leave(t.Context(), roomserver.MembershipRequest{Sender: bob, Target: bob, Room: room}))
		a.until(t, "the leave", func(r *storage.Reader) bool {
			row, err := rooms.ByID(t.Context(), r, room)
			must(t, err)
			m, err := rooms.MemberOf(t.Context(), r, row.NID, bob)
			must(t, err)
			return m.Membership == "leave"
		})
		if a.woken.Load() == 0 || b.woken.Load() == 0 {
			t.Error("nobody was woken by the other's requests")
		}
		a.verify(t)
		b.verify(t)
	})
}

func TestAnInvitationIsDeclined(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.start(t, "sqlite", one, ministries), n.start(t, "sqlite", two, ministries)
	b.user(t, bob)
	room := a.room(t, alice, "", "private_chat")
	must(t, a.rooms.Invite(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room}))
	must(t, b.rooms.Leave(t.Context(), roomserver.MembershipRequest{Sender: bob, Target: bob, Room: room}))
	a.until(t, "the refusal", func(r *storage.Reader) bool {
		row, err := rooms.ByID(t.Context(), r, room)
		must(t, err)
		m, err := rooms.MemberOf(t.Context(), r, row.NID, bob)
		must(t, err)
		return m.Membership == "leave"
	})
}

func TestAKnockIsAnswered(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.start(t, "sqlite", one, ministries), n.start(t, "sqlite", two, ministries)
	a.work(t)
	b.work(t)
	b.user(t, bob)
	room := a.room(t, alice, "", "private_chat")
	_, err := a.rooms.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.join_rules",
		StateKey: new(string), Content: json.RawMessage(`{"join_rule":"knock"}`)})
	must(t, err)
	must(t, b.rooms.Knock(t.Context(), roomserver.JoinRequest{User: bob, Room: room, Via: []matrix.ServerName{one}}))
	must(t, a.rooms.Invite(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room}))
	b.join(t, bob, room)
	a.has(t, b.say(t, bob, room, "merci"))
}
