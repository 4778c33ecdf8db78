package syncapi_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	matrixevent "beffroi/matrix/event"
	"beffroi/matrix/signing"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	there matrix.ServerName = "there"
	dora  matrix.UserID     = "@dora:there"
	erik  matrix.UserID     = "@erik:there"
)

// far is another server, asked by function calls. The transport is tested with
// federation/client.
type far struct {
	roomserver.Remote // what no test here asks for
	rooms             *roomserver.Server
	db                *storage.DB
}

// settle gives the server a neighbour.
func (s *server) settle() *roomserver.Server {
	s.t.Helper()
	db := testkit.OpenDB(s.t, "sqlite")
	gate, err := policystore.Open(s.t.Context(), policystore.Options{DB: db, Self: there, Development: true})
	s.do(err)
	key, err := signing.NewKey(there, "b1")
	s.do(err)
	s.peers[there] = key
	s.far.db = db
	s.far.rooms = roomserver.New(roomserver.Options{DB: db, Key: key, Gate: gate, Keys: s})
	return s.far.rooms
}

func (f *far) MakeMembership(ctx context.Context, call string, _ matrix.ServerName, room matrix.RoomID, user matrix.UserID,
	versions []matrix.RoomVersion) (matrix.RoomVersion, json.RawMessage, error) {
	return f.rooms.MakeMembership(ctx, self, room, user, call[len("make_"):], versions)
}

func (f *far) SendJoin(ctx context.Context, _ matrix.ServerName, room matrix.RoomID, id matrix.EventID, pdu []byte) (*roomserver.JoinAnswer, error) {
	join, err := f.rooms.SendMembership(ctx, self, room, id, "join", pdu)
	if err != nil {
		return nil, err
	}
	state, err := f.rooms.StateForJoin(ctx, join)
	return &roomserver.JoinAnswer{State: pdus(state.State), AuthChain: pdus(state.AuthChain), Event: join.JSON()}, err
}

func (f *far) Backfill(ctx context.Context, _ matrix.ServerName, room matrix.RoomID, before []matrix.EventID, limit int) ([][]byte, error) {
	list, err := f.rooms.BackfillFor(ctx, self, room, before, limit)
	return pdus(list), err
}

func pdus(list []*matrixevent.Event) (out [][]byte) {
	for _, e := range list {
		out = append(out, e.JSON())
	}
	return out
}

// tell sends an event there and brings it here.
func (s *server) tell(sender matrix.UserID, room matrix.RoomID, typ string, key *string, content string) {
	s.t.Helper()
	id, err := s.far.rooms.Send(s.t.Context(), roomserver.SendRequest{Sender: sender, Room: room, Type: typ, StateKey: key, Content: json.RawMessage(content)})
	s.do(err)
	var found map[matrix.EventID]*rooms.Event
	s.do(s.far.db.View(s.t.Context(), func(r *storage.Reader) (err error) {
		found, err = rooms.Events(s.t.Context(), r, []matrix.EventID{id})
		return err
	}))
	s.do(s.rooms.ReceivePDU(s.t.Context(), there, room, found[id].JSON()))
}

func TestRoomsOfOtherServersAreTold(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		neighbour := s.settle()
		room, err := neighbour.CreateRoom(t.Context(), roomserver.CreateRequest{CreateRequest: policy.CreateRequest{
			Creator: dora, Preset: "public_chat"}})
		s.do(err)
		s.do(neighbour.Join(t.Context(), roomserver.JoinRequest{User: erik, Room: room}))
		_, err = neighbour.Send(t.Context(), roomserver.SendRequest{Sender: dora, Room: room, Type: "m.room.message", Content: json.RawMessage(`{"body":"long ago"}`)})
		s.do(err)
		c := s.client(bob)
		c.sync()
		s.do(s.rooms.Join(t.Context(), roomserver.JoinRequest{User: bob, Room: room, Via: []matrix.ServerName{there}}))
		s.tell(dora, room, "m.room.message", nil, `{"body":"welcome"}`)
		got := c.sync()
		r := got.Rooms.Join[room]
		if r == nil {
			t.Fatalf("rooms %+v", got.Rooms)
		}
		wantBodies(t, "timeline", &r.Timeline.events, "join @bob:here", "welcome")
		for _, want := range []string{"m.room.create", "join @dora:there", "join @erik:there", "m.room.power_levels"} {
			if !slices.Contains(r.State.bodies(), want) {
				t.Errorf("state lacks %s: %q", want, r.State.bodies())
			}
		}
		if want := []matrix.UserID{dora, erik}; !slices.Equal(got.DeviceLists.Changed, want) || r.Summary.Joined != 3 {
			t.Errorf("device lists %+v, summary %+v", got.DeviceLists, r.Summary)
		}
		page, err := s.rooms.Messages(t.Context(), roomserver.MessagesRequest{User: bob, Room: room, Backwards: true,
			From: position(t, r.Timeline.PrevBatch), Limit: 1})
		if err != nil || len(page.Chunk) != 1 || parseEvent(t, page.Chunk[0]).body() != "long ago" {
			t.Errorf("before prev_batch: %s, %v", page.Chunk, err)
		}
		first := s.client(bob).sync().Rooms.Join[room]
		if bodies := first.Timeline.bodies(); !slices.Contains(bodies, "long ago") || first.State.find("m.room.create", "") == nil && first.Timeline.find("m.room.create", "") == nil {
			t.Errorf("a new client: %q and %q", first.State.bodies(), bodies)
		}
		s.tell(dora, room, "m.room.topic", new(""), `{"topic":"t"}`)
		wantBodies(t, "timeline", &c.sync().Rooms.Join[room].Timeline.events, "m.room.topic")
		s.tell(dora, room, "m.room.member", new(string(bob)), `{"membership":"leave","reason":"out"}`)
		got = c.sync()
		if left := got.Rooms.Leave[room]; left == nil || !slices.Equal(left.Timeline.bodies(), []string{"leave @bob:here"}) {
			t.Errorf("kicked: %+v", got.Rooms)
		}
		if want := []matrix.UserID{dora, erik}; !slices.Equal(got.DeviceLists.Left, want) {
			t.Errorf("device lists %+v", got.DeviceLists)
		}
	})
}

// A fork can end with a state in which a member never was one. There is no event
// then that says so.
func TestWhoIsResetOutHearsNothing(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room := s.create(alice, "private_chat", bob)
		s.join(bob, room)
		c := s.client(bob)
		c.sync()
		s.append(func(ctx context.Context, tx *storage.Tx) error {
			row, err := rooms.ByID(ctx, &tx.Reader, room)
			if err != nil {
				return err
			}
			return rooms.RemoveMember(ctx, tx, row.NID, bob)
		})
		s.say(alice, room, "secret")
		got := c.sync()
		if r := got.Rooms.Leave[room]; r == nil || len(r.Timeline.Events)+len(r.State.Events)+len(got.Rooms.Join) != 0 {
			t.Errorf("rooms %+v", got.Rooms)
		}
		s.say(alice, room, "secret too")
		if got := c.sync(); len(got.Rooms.Leave)+len(got.Rooms.Join) != 0 {
			t.Errorf("the room goes on: %+v", got.Rooms)
		}
	})
}
