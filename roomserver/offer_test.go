package roomserver_test

import (
	"testing"

	"beffroi/matrix"
	"beffroi/roomserver"
)

func TestAnInvitationBackIntoARoomThatWasLeft(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, engine string, version matrix.RoomVersion) {
		net := newNetwork()
		one, two := net.start(t, engine, "one.example"), net.start(t, engine, "two.example")
		room := createRoom(t, one, alice, version, "private_chat", carol)
		must(t, two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room}))
		must(t, two.Leave(t.Context(), roomserver.MembershipRequest{Sender: carol, Room: room}))
		forward(t, two, one, room, state(t, two, room)["m.room.member|"+string(carol)])
		must(t, one.Invite(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: carol, Room: room}))
		must(t, one.Invite(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: "@dave:two.example", Room: room}))
		verify(t, two) // the invitations beside a state of before
		must(t, two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room}))
		verify(t, two)
		same(t, one, two, room)
		must(t, two.Leave(t.Context(), roomserver.MembershipRequest{Sender: "@dave:two.example", Room: room}))
		verify(t, two)
	})
}

// TestAnInvitationThatTheRoomDoesNotKnowEnds invites two users by events of
// which the room has only one: the other is not in the state that comes with
// the join.
func TestAnInvitationThatTheRoomDoesNotKnowEnds(t *testing.T) {
	t.Parallel()
	b := lay(t, "11")
	key := string(bob)
	p := membership(bob, "invite")
	p.Sender, p.StateKey, p.RoomID, p.PrevEvents, p.Depth, p.OriginServerTS = mallory, &key, b.room, tips(t, b.evil, b.room), 9, 1
	offer, err := p.Build(b.rules, b.evil.key)
	must(t, err)
	_, err = b.one.ReceiveInvite(t.Context(), "evil.example", b.room, offer.ID(), "11", offer.JSON(), nil)
	must(t, err)
	must(t, b.join(alice))
	verify(t, b.one)
	must(t, b.one.Leave(t.Context(), roomserver.MembershipRequest{Sender: bob, Room: b.room})) // there is nothing left to decline
	must(t, b.one.Join(t.Context(), roomserver.JoinRequest{User: bob, Room: b.room}))
	verify(t, b.one)
}
