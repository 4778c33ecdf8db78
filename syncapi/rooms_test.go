package syncapi_test

import (
	"slices"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/syncapi"
)

// story runs a test on a server on every engine.
func story(t *testing.T, tell func(t *testing.T, s *server)) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) { tell(t, start(t, db)) })
}

func wantBodies(t *testing.T, what string, got *events, want ...string) {
	t.Helper()
	if got == nil {
		t.Errorf("%s is missing, want %q", what, want)
		return
	}
	if have := got.bodies(); !slices.Equal(have, want) {
		t.Errorf("%s: %q, want %q", what, have, want)
	}
}

func TestFirstSyncHasTheRoomsAndTheirState(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room := s.create(alice, "private_chat", bob)
		s.join(bob, room)
		for _, body := range []string{"1", "2", "3"} {
			s.say(alice, room, body)
		}
		got := s.client(bob).with(filtered(`{"room":{"timeline":{"limit":2}}}`)).sync()
		r := got.Rooms.Join[room]
		if r == nil || len(got.Rooms.Join) != 1 {
			t.Fatalf("rooms %v", got.Rooms)
		}
		wantBodies(t, "timeline", &r.Timeline.events, "2", "3")
		if !r.Timeline.Limited || r.Timeline.PrevBatch == "" {
			t.Errorf("timeline %+v", r.Timeline)
		}
		for _, want := range []string{"m.room.create", "m.room.power_levels", "m.room.join_rules"} {
			if r.State.find(want, "") == nil {
				t.Errorf("state lacks %s: %q", want, r.State.bodies())
			}
		}
		for _, user := range []matrix.UserID{alice, bob} {
			if r.State.find("m.room.member", string(user)) == nil {
				t.Errorf("state lacks the membership of %s", user)
			}
		}
		if r.Summary == nil || r.Summary.Joined != 2 || !slices.Equal(r.Summary.Heroes, []matrix.UserID{alice}) {
			t.Errorf("summary %+v", r.Summary)
		}
		if e := r.Timeline.Events[0]; e.ID == "" || e.RoomID != "" || e.Sender != alice || e.Unsigned["age"] == nil {
			t.Errorf("event %+v", e)
		}
		page, err := s.rooms.Messages(t.Context(), roomserver.MessagesRequest{User: bob, Room: room, Backwards: true,
			From: position(t, r.Timeline.PrevBatch), Limit: 1})
		if err != nil || len(page.Chunk) != 1 || parseEvent(t, page.Chunk[0]).body() != "1" {
			t.Errorf("before prev_batch: %s, %v", page.Chunk, err)
		}
		if got.AccountData.Events[0].Type != "m.push_rules" {
			t.Errorf("account data %+v", got.AccountData)
		}
	})
}

func TestNextSyncHasWhatIsNew(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room, other := s.create(alice, "private_chat", bob), s.create(alice, "private_chat", bob)
		s.join(bob, room)
		s.join(bob, other)
		c := s.client(bob)
		c.sync()
		s.say(alice, room, "new")
		again := c.peek()
		got := c.sync()
		for what, a := range map[string]*answer{"answer": got, "the same again": again} {
			r := a.Rooms.Join[room]
			if r == nil || len(a.Rooms.Join) != 1 || a.AccountData.Events != nil {
				t.Fatalf("%s: %+v", what, a)
			}
			wantBodies(t, what, &r.Timeline.events, "new")
			wantBodies(t, what, r.State)
			if r.Timeline.Limited || r.Summary != nil {
				t.Errorf("%s: %+v", what, r)
			}
		}
		if got := c.sync(); len(got.Rooms.Join) != 0 {
			t.Errorf("nothing happened, and got %+v", got.Rooms)
		}
		if next := c.req.Since; c.sync().NextBatch != next {
			t.Error("a token changed with nothing")
		}
	})
}

func TestAGapIsTold(t *testing.T) {
	for name, after := range map[string]bool{"state": false, "state after": true} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, s *server) {
				room := s.create(alice, "private_chat", bob)
				s.join(bob, room)
				c := s.client(bob).with(filtered(`{"room":{"timeline":{"limit":3}}}`))
				c.req.UseStateAfter, c.req.UseUnstableStateAfter = after, after
				c.sync()
				s.set(alice, room, "m.room.topic", "", `{"topic":"first"}`)
				topic := s.set(alice, room, "m.room.topic", "", `{"topic":"second"}`)
				first := s.set(alice, room, "m.room.name", "", `{"name":"before"}`)
				s.say(alice, room, "1")
				second := s.set(alice, room, "m.room.name", "", `{"name":"after"}`)
				s.say(alice, room, "2")
				r := c.sync().Rooms.Join[room]
				wantBodies(t, "timeline", &r.Timeline.events, "1", "m.room.name", "2")
				state, want := r.State, first
				if after {
					state, want = r.StateAfter, second
					if r.State != nil || r.UnstableStateAfter == nil || len(r.UnstableStateAfter.Events) != 2 {
						t.Errorf("state %v, unstable %v", r.State, r.UnstableStateAfter)
					}
				} else if r.StateAfter != nil {
					t.Error("state_after was not asked for")
				}
				if len(state.Events) != 2 || state.find("m.room.topic", "").ID != topic || state.find("m.room.name", "").ID != want {
					t.Errorf("state %+v", state)
				}
				if !r.Timeline.Limited {
					t.Error("not limited")
				}
				if s.set(alice, room, "m.room.topic", "", `{"topic":"third"}`); after {
					r := c.sync().Rooms.Join[room]
					wantBodies(t, "timeline", &r.Timeline.events, "m.room.topic")
					wantBodies(t, "state after", r.StateAfter, "m.room.topic")
				}
			})
		})
	}
}

func TestFullStateIsToldAgain(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room := s.create(alice, "private_chat", bob)
		s.join(bob, room)
		c := s.client(bob)
		c.sync()
		c.req.FullState = true
		r := c.sync().Rooms.Join[room]
		if r == nil || r.State.find("m.room.create", "") == nil || r.State.find("m.room.member", string(bob)) == nil {
			t.Fatalf("full state: %+v", r)
		}
		wantBodies(t, "timeline", &r.Timeline.events)
		s.say(alice, room, "new")
		r = c.sync().Rooms.Join[room]
		wantBodies(t, "timeline", &r.Timeline.events, "new")
	})
}

func TestANewMemberGetsTheRoom(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		open, closed := s.create(alice, "private_chat"), s.create(alice, "private_chat")
		s.set(alice, closed, "m.room.history_visibility", "", `{"history_visibility":"joined"}`)
		c := s.client(bob)
		c.sync()
		for _, room := range []matrix.RoomID{open, closed} {
			s.say(alice, room, "before")
			s.invite(alice, bob, room)
			s.join(bob, room)
			s.say(alice, room, "after")
		}
		got := c.sync()
		for room, want := range map[matrix.RoomID][]string{
			open: {"before", "invite @bob:here", "join @bob:here", "after"}, closed: {"invite @bob:here", "join @bob:here", "after"}} {
			r := got.Rooms.Join[room]
			if r == nil {
				t.Fatalf("rooms %+v", got.Rooms)
			}
			bodies := r.Timeline.bodies()
			if have := bodies[max(0, len(bodies)-len(want)):]; !slices.Equal(have, want) {
				t.Errorf("timeline %q, want to end with %q", bodies, want)
			}
			if room == closed && slices.Contains(bodies, "before") {
				t.Error("a new member sees what was said before, in a room that hides it")
			}
			all := append(r.State.bodies(), bodies...)
			for _, typ := range []string{"m.room.create", "m.room.power_levels", "join @alice:here"} {
				if !slices.Contains(all, typ) {
					t.Errorf("the new room lacks %s: %q", typ, all)
				}
			}
			if !r.Timeline.Limited || r.Summary == nil || r.Summary.Joined != 2 {
				t.Errorf("room %+v", r)
			}
		}
		if len(got.Rooms.Invite) != 0 {
			t.Errorf("an invitation that was accepted: %+v", got.Rooms.Invite)
		}
	})
}

func TestWhoIsOutHearsNothing(t *testing.T) {
	for name, out := range map[string]func(s *server, room matrix.RoomID) error{
		"leave": func(s *server, room matrix.RoomID) error {
			return s.rooms.Leave(s.t.Context(), roomserver.MembershipRequest{Sender: bob, Room: room})
		},
		"kick": func(s *server, room matrix.RoomID) error {
			return s.rooms.Kick(s.t.Context(), roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room})
		},
		"ban": func(s *server, room matrix.RoomID) error {
			return s.rooms.Ban(s.t.Context(), roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room})
		},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, s *server) {
				room := s.create(alice, "private_chat", bob)
				s.join(bob, room)
				c, restarted := s.client(bob), s.client(bob)
				c.sync()
				restarted.req.Since = c.req.Since
				s.say(alice, room, "still in")
				s.do(out(s, room))
				s.say(alice, room, "secret")
				s.set(alice, room, "m.room.topic", "", `{"topic":"secret"}`)
				member := "leave @bob:here"
				if name == "ban" {
					member = "ban @bob:here"
				}
				got := c.sync()
				r := got.Rooms.Leave[room]
				if r == nil || len(got.Rooms.Join) != 0 {
					t.Fatalf("rooms %+v", got.Rooms)
				}
				wantBodies(t, "timeline", &r.Timeline.events, "still in", member)
				wantBodies(t, "state", r.State)
				s.say(alice, room, "secret too")
				if got := c.sync(); len(got.Rooms.Leave)+len(got.Rooms.Join) != 0 {
					t.Errorf("the room goes on: %+v", got.Rooms)
				}
				fresh := s.client(bob)
				if got := fresh.sync(); len(got.Rooms.Leave)+len(got.Rooms.Join) != 0 {
					t.Errorf("a new client gets %+v", got.Rooms)
				}
				left := s.client(bob).with(filtered(`{"room":{"include_leave":true,"timeline":{"limit":2}}}`)).sync().Rooms.Leave[room]
				if left == nil {
					t.Fatal("include_leave has no room")
				}
				wantBodies(t, "timeline", &left.Timeline.events, "still in", member)
				if left.State.find("m.room.topic", "") != nil || left.State.find("m.room.create", "") == nil {
					t.Errorf("state of a room that was left: %q", left.State.bodies())
				}
				if name == "leave" {
					s.forget(bob, room)
					if got := s.client(bob).with(filtered(`{"room":{"include_leave":true}}`)).sync(); len(got.Rooms.Leave) != 0 {
						t.Errorf("forgotten: %+v", got.Rooms)
					}
				}
			})
		})
	}
}

func TestInAndOutBetweenTwoSyncs(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room := s.create(alice, "private_chat")
		s.set(alice, room, "m.room.history_visibility", "", `{"history_visibility":"joined"}`)
		c := s.client(bob)
		c.sync()
		s.invite(alice, bob, room)
		s.join(bob, room)
		s.say(alice, room, "in")
		s.leave(bob, room)
		s.say(alice, room, "out")
		r := c.sync().Rooms.Leave[room]
		if r == nil {
			t.Fatal("no room")
		}
		want := []string{"m.room.history_visibility", "invite @bob:here", "join @bob:here", "in", "leave @bob:here"}
		if got := r.Timeline.bodies(); !slices.Equal(got[len(got)-len(want):], want) {
			t.Errorf("timeline %q", got)
		}
		s.invite(alice, bob, room)
		s.join(bob, room)
		s.say(alice, room, "in again")
		c.sync()
		s.leave(bob, room)
		s.say(alice, room, "out again")
		s.invite(alice, bob, room)
		s.join(bob, room)
		s.say(alice, room, "back")
		back := c.sync().Rooms.Join[room]
		if back == nil || slices.Contains(back.Timeline.bodies(), "out") || slices.Contains(back.Timeline.bodies(), "out again") ||
			!slices.Contains(back.Timeline.bodies(), "back") || !back.Timeline.Limited {
			t.Errorf("back in the room: %+v", back)
		}
	})
}

func TestStateAfterByEachName(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room := s.create(alice, "private_chat")
		for name, tc := range map[string]struct {
			ask   func(*syncapi.Request)
			found func(*joinedRoom) *events
		}{
			"stable":   {func(r *syncapi.Request) { r.UseStateAfter = true }, func(r *joinedRoom) *events { return r.StateAfter }},
			"unstable": {func(r *syncapi.Request) { r.UseUnstableStateAfter = true }, func(r *joinedRoom) *events { return r.UnstableStateAfter }},
		} {
			r := s.client(alice).with(tc.ask).sync().Rooms.Join[room]
			if r.State != nil || tc.found(r).find("m.room.create", "") == nil {
				t.Errorf("%s: %+v", name, r)
			}
		}
	})
}
