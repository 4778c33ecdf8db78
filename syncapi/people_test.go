package syncapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"beffroi/matrix"
	matrixevent "beffroi/matrix/event"
	"beffroi/matrix/signing"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/keys"
)

func TestInvitationsAreShown(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room := s.create(alice, "private_chat")
		s.set(alice, room, "m.room.name", "", `{"name":"Council"}`)
		c := s.client(bob)
		c.sync()
		s.invite(alice, bob, room)
		for what, got := range map[string]*answer{"next": c.sync(), "first": s.client(bob).sync()} {
			state := got.Rooms.Invite[room].State
			if state.find("m.room.name", "") == nil || state.find("m.room.create", "") == nil ||
				state.find("m.room.member", string(alice)) == nil || state.find("m.room.power_levels", "") != nil {
				t.Errorf("%s: %q", what, state.bodies())
			}
			if e := state.find("m.room.member", string(bob)); e == nil || e.body() != "invite @bob:here" || e.ID != "" {
				t.Errorf("%s: own event %+v", what, e)
			}
			if len(got.Rooms.Join)+len(got.Rooms.Leave) != 0 {
				t.Errorf("%s: %+v", what, got.Rooms)
			}
		}
		if got := c.sync(); len(got.Rooms.Invite) != 0 {
			t.Error("an invitation is told twice")
		}
		s.leave(bob, room)
		r := c.sync().Rooms.Leave[room]
		if r == nil {
			t.Fatal("a declined invitation stays")
		}
		wantBodies(t, "timeline", &r.Timeline.events, "leave @bob:here")
		wantBodies(t, "state", r.State)
	})
}

func TestKnocksAreShown(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room := s.create(alice, "private_chat")
		s.set(alice, room, "m.room.join_rules", "", `{"join_rule":"knock"}`)
		c := s.client(bob)
		c.sync()
		s.do(s.rooms.Knock(t.Context(), roomserver.JoinRequest{User: bob, Room: room}))
		state := c.sync().Rooms.Knock[room].State
		if state.find("m.room.join_rules", "") == nil || state.find("m.room.member", string(bob)) == nil {
			t.Errorf("knock state %q", state.bodies())
		}
	})
}

// remoteInvite lets a server that has no other part in the test invite bob.
func (s *server) remoteInvite(sender matrix.UserID) matrix.RoomID {
	s.t.Helper()
	key, err := signing.NewKey(sender.Server(), "b1")
	s.do(err)
	s.peers[sender.Server()] = key
	room := matrix.RoomID("!far:" + sender.Server())
	rules, err := matrix.RoomVersion("11").Rules()
	s.do(err)
	p := matrixevent.Proto{RoomID: room, Sender: sender, Type: "m.room.member", StateKey: new(string(bob)), Depth: 5,
		OriginServerTS: 1, Content: json.RawMessage(`{"membership":"invite"}`)}
	e, err := p.Build(rules, key)
	s.do(err)
	told := fmt.Sprintf(`{"type":"m.room.name","state_key":"","sender":%q,"content":{"name":"Far"}}`, sender)
	_, err = s.rooms.ReceiveInvite(s.t.Context(), sender.Server(), room, e.ID(), "11", e.JSON(), []json.RawMessage{json.RawMessage(told)})
	s.do(err)
	return room
}

func TestInvitationsFromElsewhereAreShown(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		c := s.client(bob)
		c.sync()
		room := s.remoteInvite("@dora:there")
		state := c.sync().Rooms.Invite[room].State
		if e := state.find("m.room.name", ""); e == nil || state.find("m.room.member", string(bob)) == nil {
			t.Errorf("invite state %q", state.bodies())
		}
	})
}

func TestTheIgnoredAreNotHeard(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room := s.create(alice, "private_chat", bob, carol)
		s.join(bob, room)
		s.join(carol, room)
		c := s.client(bob)
		c.sync()
		s.data(bob, "", "m.ignored_user_list", `{"ignored_users":{"@carol:here":{},"@dora:there":{}}}`)
		s.say(carol, room, "unheard")
		s.say(alice, room, "heard")
		s.do(s.rooms.UpdateProfile(t.Context(), carol, roomserver.Profile{DisplayName: "C."}))
		s.remoteInvite("@dora:there")
		got := c.sync()
		if len(got.Rooms.Invite) != 0 {
			t.Errorf("an invitation by somebody ignored: %+v", got.Rooms.Invite)
		}
		wantBodies(t, "timeline", &got.Rooms.Join[room].Timeline.events, "heard", "join @carol:here")
		s.data(bob, "", "m.ignored_user_list", `{"ignored_users":{}}`)
		s.say(carol, room, "heard again")
		wantBodies(t, "timeline", &c.sync().Rooms.Join[room].Timeline.events, "heard again")
	})
}

func TestLazyClientsGetTheMembersTheyNeed(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room := s.create(alice, "private_chat", bob, carol)
		s.join(bob, room)
		s.join(carol, room)
		s.set(alice, room, "m.room.name", "", `{"name":"R"}`)
		s.say(alice, room, "1")
		const lazy = `{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":1}}}`
		c := s.client(bob).with(filtered(lazy))
		r := c.sync().Rooms.Join[room]
		members := func(r *joinedRoom) (out []string) {
			for _, e := range r.State.Events {
				if e.Type == "m.room.member" {
					out = append(out, *e.StateKey)
				}
			}
			slices.Sort(out)
			return out
		}
		check := func(what string, r *joinedRoom, want ...string) {
			t.Helper()
			if got := members(r); !slices.Equal(got, want) {
				t.Errorf("%s: members %q, want %q", what, got, want)
			}
		}
		check("first sync", r, "@alice:here", "@bob:here")
		s.say(carol, room, "2")
		retried := c.peek().Rooms.Join[room]
		check("new sender", c.sync().Rooms.Join[room], "@carol:here")
		check("answer that got lost", retried, "@carol:here")
		s.say(carol, room, "3")
		check("known sender", c.sync().Rooms.Join[room])
		s.say(carol, room, "4")
		check("every time", c.with(filtered(
			`{"room":{"state":{"lazy_load_members":true,"include_redundant_members":true}}}`)).sync().Rooms.Join[room], "@carol:here")
		c.with(filtered(lazy))
		s.do(s.rooms.UpdateProfile(t.Context(), carol, roomserver.Profile{DisplayName: "C."}))
		s.say(alice, room, "5")
		check("a change in a gap", c.sync().Rooms.Join[room], "@carol:here")
		s.set(alice, room, "m.room.name", "", `{"name":""}`)
		s.say(alice, room, "6")
		r = c.sync().Rooms.Join[room]
		if r.Summary == nil || !slices.Equal(r.Summary.Heroes, []matrix.UserID{alice, carol}) {
			t.Errorf("heroes of a room without a name: %+v", r.Summary)
		}
	})
}

func TestDeviceListsFollowTheRooms(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room := s.create(alice, "private_chat", bob)
		s.join(bob, room)
		changed := func(user, only matrix.UserID) {
			t.Helper()
			s.append(func(ctx context.Context, tx *storage.Tx) error {
				if only != "" {
					return keys.ChangedFor(ctx, tx, user, only)
				}
				return keys.Changed(ctx, tx, user, "D")
			})
		}
		c := s.client(bob)
		if got := c.sync(); got.DeviceLists.Changed != nil {
			t.Errorf("first sync: %+v", got.DeviceLists)
		}
		check := func(what string, changed, left []matrix.UserID) {
			t.Helper()
			again := c.peek().DeviceLists
			got := c.sync().DeviceLists
			if !slices.Equal(got.Changed, changed) || !slices.Equal(got.Left, left) {
				t.Errorf("%s: %+v, want %q and %q", what, got, changed, left)
			}
			if !slices.Equal(again.Changed, changed) || !slices.Equal(again.Left, left) {
				t.Errorf("%s, asked before: %+v", what, again)
			}
		}
		changed(alice, "")
		changed(carol, "")
		check("who shares a room", []matrix.UserID{alice}, nil)
		changed(bob, "")
		changed(alice, carol)
		check("one's own, and what another alone sees", []matrix.UserID{bob}, nil)
		s.invite(alice, carol, room)
		check("an invitation", nil, nil)
		s.join(carol, room)
		check("who joins", []matrix.UserID{carol}, nil)
		s.do(s.rooms.UpdateProfile(t.Context(), carol, roomserver.Profile{DisplayName: "C."}))
		check("a new name", nil, nil)
		s.leave(carol, room)
		check("who leaves", nil, []matrix.UserID{carol})
		s.invite(alice, carol, room)
		s.join(carol, room)
		c.sync()
		s.leave(bob, room)
		check("leaving", nil, []matrix.UserID{alice, carol})
		s.invite(alice, bob, room)
		s.join(bob, room)
		check("joining", []matrix.UserID{alice, carol}, nil)
	})
}
