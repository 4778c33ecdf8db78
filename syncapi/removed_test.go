package syncapi_test

import (
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/storage"
)

// TestRemovedRoomIsLeft: a client that polls is told at once that it is out of
// a room that is removed, and so is one that comes when nothing is left of it.
// Who had left before is told nothing, and nobody is told what was in it.
func TestRemovedRoomIsLeft(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := start(t, db)
		room := s.create(alice, "public_chat")
		s.join(bob, room)
		s.say(alice, room, "secret")
		polls, comes, gone := s.client(alice), s.client(bob), s.client(carol)
		s.join(carol, room)
		for _, c := range []*client{polls, comes, gone} {
			c.sync()
		}
		s.leave(carol, room)
		gone.sync()
		polls.sync()
		wait := polls.await()
		if _, err := s.rooms.DeleteRoom(t.Context(), room); err != nil {
			t.Fatal(err)
		}
		checkLeft(t, "who polls", <-wait, room)
		if a := gone.sync(); a.Rooms.Leave[room] != nil || a.Rooms.Join[room] != nil {
			t.Error("who had left is told of the room")
		}
		if err := s.rooms.Work(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkLeft(t, "who comes late", comes.sync(), room)
		for _, user := range []matrix.UserID{alice, bob, carol} {
			all := s.client(user).with(filtered(`{"room":{"include_leave":true}}`)).sync()
			if all.Rooms.Join[room] != nil {
				t.Errorf("%s is in the room", user)
			}
			if left := all.Rooms.Leave[room]; left != nil && len(left.Timeline.Events) > 0 {
				t.Errorf("%s sees %v", user, left.Timeline.bodies())
			}
		}
	})
}

func checkLeft(t *testing.T, who string, a *answer, room matrix.RoomID) {
	t.Helper()
	if a.Rooms.Leave[room] == nil || a.Rooms.Join[room] != nil {
		t.Errorf("%s is not told to have left", who)
		return
	}
	if left := a.Rooms.Leave[room]; len(left.Timeline.Events) > 0 {
		t.Errorf("%s is told %v", who, left.Timeline.bodies())
	}
}
