package roomserver_test

import (
	"encoding/json"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// offerOf returns the membership of a user in a room that the server may not
// be in.
func offerOf(t *testing.T, nd *node, room matrix.RoomID, user matrix.UserID) (m rooms.Member) {
	t.Helper()
	must(t, nd.db.View(t.Context(), func(r *storage.Reader) error {
		row, err := rooms.ByID(t.Context(), r, room)
		if err == nil {
			m, err = rooms.MemberOf(t.Context(), r, row.NID, user)
		}
		return err
	}))
	return m
}

func TestAnInvitationIsTakenBack(t *testing.T) {
	t.Parallel()
	const guest matrix.UserID = "@guest:two.example"
	eachVersion(t, func(t *testing.T, engine string, version matrix.RoomVersion) {
		net := newNetwork()
		one, two, three := net.start(t, engine, "one.example"), net.start(t, engine, "two.example"), net.start(t, engine, "three.example")
		room := createRoom(t, one, alice, version, "private_chat")
		must(t, one.Invite(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: guest, Room: room}))
		if m := offerOf(t, two, room, guest); m.Membership != "invite" {
			t.Fatalf("membership %q", m.Membership)
		}
		invitation := state(t, one, room)["m.room.member|"+string(guest)]
		key := string(guest)
		forged := event.Proto{Sender: "@eve:three.example", Type: "m.room.member", StateKey: &key, RoomID: room, Depth: 9,
			Content: json.RawMessage(`{"membership":"leave"}`), PrevEvents: []matrix.EventID{invitation}, AuthEvents: []matrix.EventID{invitation}}
		rules, err := version.Rules()
		must(t, err)
		if rules.EventFormat != matrix.EventFormatID {
			e, err := forged.Build(rules, three.key)
			must(t, err)
			if err := two.ReceivePDU(t.Context(), "three.example", room, e.JSON()); err == nil {
				t.Error("a stranger takes the invitation back")
			}
			forged.Sender = alice
			e, err = forged.Build(rules, three.key)
			must(t, err)
			if err := two.ReceivePDU(t.Context(), "three.example", room, e.JSON()); err == nil {
				t.Error("a stranger takes the invitation back in the name of its sender")
			}
		}
		if m := offerOf(t, two, room, guest); m.Membership != "invite" {
			t.Fatalf("membership %q after forgeries", m.Membership)
		}
		must(t, one.Kick(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: guest, Room: room}))
		forward(t, one, two, room, state(t, one, room)["m.room.member|"+string(guest)])
		if m := offerOf(t, two, room, guest); m.Membership != "leave" {
			t.Errorf("membership %q after the kick", m.Membership)
		}
		verify(t, two)
	})
}

func TestAKnockIsRefusedAndTakenBack(t *testing.T) {
	t.Parallel()
	const guest matrix.UserID = "@guest:two.example"
	net := newNetwork()
	one, two := net.start(t, "sqlite", "one.example"), net.start(t, "sqlite", "two.example")
	room := createRoom(t, one, alice, "11", "private_chat")
	_, err := one.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.join_rules", StateKey: new(string),
		Content: json.RawMessage(`{"join_rule":"knock"}`)})
	must(t, err)
	knock := roomserver.JoinRequest{User: guest, Room: room, Via: []matrix.ServerName{"one.example"}}
	must(t, two.Knock(t.Context(), knock))
	must(t, one.Kick(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: guest, Room: room}))
	forward(t, one, two, room, state(t, one, room)["m.room.member|"+string(guest)])
	if m := offerOf(t, two, room, guest); m.Membership != "leave" {
		t.Errorf("membership %q after the refusal", m.Membership)
	}
	must(t, two.Knock(t.Context(), knock))
	must(t, two.Leave(t.Context(), roomserver.MembershipRequest{Sender: guest, Target: guest, Room: room}))
	if m := offerOf(t, one, room, guest); m.Membership != "leave" {
		t.Errorf("the other server has membership %q after the knock was taken back", m.Membership)
	}
	verify(t, two)
}
