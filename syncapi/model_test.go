package syncapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/roomserver"
)

// view is what a client believes of a room.
type view struct {
	state map[string]matrix.EventID
	seen  map[matrix.EventID]bool
}

// apply does with an answer what the specification tells clients to do.
func (v *view) apply(r *joinedRoom, after bool) {
	put := func(list *events) {
		if list == nil {
			return
		}
		for _, e := range list.Events {
			if e.StateKey != nil {
				v.state[e.Type+"|"+*e.StateKey] = e.ID
			}
		}
	}
	if put(r.State); !after {
		put(&r.Timeline.events)
	}
	put(r.StateAfter)
	for _, e := range r.Timeline.Events {
		v.seen[e.ID] = true
	}
}

// TestClientsSeeTheTruth lets people do anything in some rooms while a client
// syncs now and then, and holds what the client believes against the server.
func TestClientsSeeTheTruth(t *testing.T) {
	t.Parallel()
	s := start(t, testkit.OpenDB(t, "sqlite"))
	walks := 0
	rapid.Check(t, func(rt *rapid.T) {
		walks++
		s.walk(rt, walks, rapid.Bool().Draw(rt, "state after"))
	})
}

// walk does one walk, with people of its own.
func (s *server) walk(rt *rapid.T, number int, after bool) {
	name := func(word string) matrix.UserID { return matrix.UserID(fmt.Sprintf("@%s%d:here", word, number)) }
	alice, bob := name("alice"), name("bob")
	people := []matrix.UserID{alice, bob, name("carol")}
	list := []matrix.RoomID{s.create(alice, "public_chat"), s.create(alice, "private_chat")}
	c := s.client(bob).with(filtered(`{"room":{"timeline":{"limit":3}}}`))
	c.req.UseStateAfter = after
	views := make(map[matrix.RoomID]*view)
	update := func() {
		got := c.sync()
		for id := range got.Rooms.Leave {
			delete(views, id)
		}
		for id := range got.Rooms.Invite { // left, and invited again
			delete(views, id)
		}
		for id, r := range got.Rooms.Join {
			if views[id] == nil {
				views[id] = &view{make(map[string]matrix.EventID), make(map[matrix.EventID]bool)}
			}
			views[id].apply(r, after)
		}
		for _, id := range list {
			s.compare(rt, bob, id, views[id])
		}
	}
	update()
	steps := rapid.IntRange(1, 25).Draw(rt, "steps")
	for range steps {
		room, who := rapid.SampledFrom(list).Draw(rt, "room"), rapid.SampledFrom(people).Draw(rt, "who")
		change := roomserver.MembershipRequest{Sender: alice, Target: who, Room: room}
		// Much of this is refused, which is as good.
		switch rapid.SampledFrom([]string{"say", "topic", "name", "invite", "join", "leave", "kick", "ban", "unban", "sync", "sync"}).Draw(rt, "what") {
		case "say":
			_, _ = s.rooms.Send(s.t.Context(), roomserver.SendRequest{Sender: who, Room: room, Type: "m.room.message", Content: json.RawMessage(`{"body":"x"}`)})
		case "topic":
			_, _ = s.rooms.Send(s.t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.topic", StateKey: new(""),
				Content: json.RawMessage(fmt.Sprintf(`{"topic":"%d"}`, rapid.IntRange(0, 3).Draw(rt, "topic")))})
		case "name":
			_ = s.rooms.UpdateProfile(s.t.Context(), who, roomserver.Profile{DisplayName: fmt.Sprint(rapid.IntRange(0, 3).Draw(rt, "name"))})
		case "invite":
			_ = s.rooms.Invite(s.t.Context(), change)
		case "join":
			_ = s.rooms.Join(s.t.Context(), roomserver.JoinRequest{User: who, Room: room})
		case "leave":
			if who != alice {
				_ = s.rooms.Leave(s.t.Context(), roomserver.MembershipRequest{Sender: who, Room: room})
			}
		case "kick":
			_ = s.rooms.Kick(s.t.Context(), change)
		case "ban":
			if who != alice {
				_ = s.rooms.Ban(s.t.Context(), change)
			}
		case "unban":
			_ = s.rooms.Unban(s.t.Context(), change)
		case "sync":
			update()
		}
	}
	update()
}

// compare holds a view against the state of the room.
func (s *server) compare(rt *rapid.T, bob matrix.UserID, room matrix.RoomID, v *view) {
	now, err := s.rooms.JoinedRooms(s.t.Context(), bob)
	if err != nil {
		rt.Fatal(err)
	}
	if slices.Contains(now, room) != (v != nil) {
		rt.Fatalf("the client believes that it is in the room: %v", v != nil)
	}
	if v == nil {
		return
	}
	state, err := s.rooms.State(s.t.Context(), bob, room)
	if err != nil {
		rt.Fatal(err)
	}
	truth := make(map[string]matrix.EventID)
	for _, raw := range state {
		var e event
		if err := json.Unmarshal(raw, &e); err != nil {
			rt.Fatal(err)
		}
		truth[e.Type+"|"+*e.StateKey] = e.ID
	}
	if !maps.Equal(truth, v.state) {
		for key, id := range truth {
			if v.state[key] != id {
				rt.Errorf("%s: the client has %q, the room %q", key, v.state[key], id)
			}
		}
		rt.Fatalf("%d entries of %d", len(v.state), len(truth))
	}
}
