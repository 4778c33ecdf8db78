package roomserver

import (
	"context"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// joined returns a room that a user has joined. Every other room is 403
// M_FORBIDDEN, also one that does not exist: who is not in it need not know.
func (s *Server) joined(ctx context.Context, r *storage.Reader, user matrix.UserID, id matrix.RoomID) (rooms.Room, error) {
	room, err := rooms.ByID(ctx, r, id)
	if matrix.IsCode(err, "M_NOT_FOUND") {
		return room, notIn(user)
	}
	if err != nil {
		return room, err
	}
	m, err := rooms.MemberOf(ctx, r, room.NID, user)
	if err == nil && m.Membership != "join" {
		err = notIn(user)
	}
	return room, err
}

func notIn(user matrix.UserID) error { return matrix.Forbidden("%s is not in this room", user) }

// reach is how far a user may read a room.
type reach struct {
	room   rooms.Room
	sights *Sights
	sight  *sight // of the room, full

	// until bounds the state that the user may read: that before this
	// position. 0 is the state now.
	until storage.Position
	// peeking says that the user never joined, and reads because the room is
	// world readable.
	peeking bool
}

// reach says how far a user may read a room: a member all that the rules of
// visibility allow, who was a member what was before the end of that, and
// others a room that is world readable and that the policy would let them into.
// Everybody else is refused with 403 M_FORBIDDEN.
func (s *Server) reach(ctx context.Context, r *storage.Reader, user matrix.UserID, id matrix.RoomID) (*reach, error) {
	room, err := rooms.ByID(ctx, r, id)
	if matrix.IsCode(err, "M_NOT_FOUND") {
		return nil, notIn(user)
	}
	if err != nil {
		return nil, err
	}
	v := NewSights(user, nil)
	if err := v.readMembers(ctx, r, []*rooms.Event{{RoomNID: room.NID}}); err != nil {
		return nil, err
	}
	if err := v.readCourses(ctx, r, []int64{room.NID}); err != nil {
		return nil, err
	}
	a := &reach{room: room, sights: v, sight: v.rooms[room.NID]}
	switch {
	case a.sight.since > 0:
	case a.sight.left != nil:
		a.until = a.sight.left.pos + 1
	case room.Version > 0 && visibilityOr(a.sight.setting.after(lastPosition)) == visWorldReadable:
		a.peeking = true
		return a, s.mayPeek(ctx, r, user, room)
	default:
		return nil, notIn(user)
	}
	return a, nil
}

// mayPeek asks the policy about a stranger who reads a room.
func (s *Server) mayPeek(ctx context.Context, r *storage.Reader, user matrix.UserID, room rooms.Room) error {
	return s.checkRoom(ctx, r, policy.ActionJoin, user, room)
}

// checkRoom asks the policy about something that a user does with a room as it
// is now.
func (s *Server) checkRoom(ctx context.Context, r *storage.Reader, action policy.Action, user matrix.UserID, room rooms.Room) error {
	facts, err := roomFacts(ctx, r, room, user)
	if err != nil {
		return err
	}
	return s.gate.Check(ctx, &policy.Request{
		Action: action, Actor: user, Room: facts, Source: policy.SourceClient, Now: s.now()})
}

// mayFind asks the policy whether a user, or somebody of another server where
// user is "", may be told of a room that they could join.
func (s *Server) mayFind(ctx context.Context, user matrix.UserID, server matrix.ServerName, facts policy.RoomFacts) error {
	req := policy.Request{Action: policy.ActionJoin, Actor: user, Room: &facts, Source: policy.SourceClient, Now: s.now()}
	if server != "" { // what holds for all accounts of it holds for one that nobody has
		req.Actor, req.Server, req.Source = matrix.UserID("@:"+string(server)), server, policy.SourceFederation
	}
	return s.gate.Check(ctx, &req)
}

// checkLister asks the policy whether a user, or another server where user is
// "", may see the directory.
func (s *Server) checkLister(ctx context.Context, user matrix.UserID, server matrix.ServerName) error {
	req := policy.Request{Action: policy.ActionListPublicRooms, Actor: user, Server: server, Now: s.now()}
	if user == "" {
		req.Source = policy.SourceFederation
	}
	return s.gate.Check(ctx, &req)
}

// factTypes are the events that the policy reads of a room.
var factTypes = []string{policy.TypeAccessRules, "m.room.join_rules", "m.room.encryption", "m.room.create"}

// roomFacts reads what the policy needs to know of a room as it is now.
func roomFacts(ctx context.Context, r *storage.Reader, room rooms.Room, subject matrix.UserID) (*policy.RoomFacts, error) {
	found, err := rooms.StateEventsNow(ctx, r, room.NID, factTypes)
	if err != nil {
		return nil, err
	}
	state := make(stateEvents, len(found))
	for _, e := range found {
		state[e.StateTuple()] = e.Event
	}
	m, err := rooms.MemberOf(ctx, r, room.NID, subject)
	if err != nil {
		return nil, err
	}
	facts := policy.Facts(state, state.Event("m.room.create", ""), "")
	facts.ID, facts.SubjectMembership = room.ID, m.Membership
	return &facts, nil
}

// stateEvents is a part of the state of a room.
type stateEvents map[event.StateTuple]*event.Event

// Event returns the event of a key, or nil.
func (s stateEvents) Event(typ, key string) *event.Event {
	return s[event.StateTuple{Type: typ, StateKey: key}]
}

// Each calls fn with every event of a type, until fn returns false.
func (s stateEvents) Each(typ string, fn func(*event.Event) bool) {
	for t, e := range s {
		if t.Type == typ && !fn(e) {
			return
		}
	}
}

// state returns the events of the state that the user may read.
func (a *reach) state(ctx context.Context, r *storage.Reader) ([]*rooms.Event, error) {
	if a.until == 0 {
		return rooms.StateEvents(ctx, r, a.room.NID)
	}
	return rooms.StateEventsBefore(ctx, r, a.room.NID, a.until)
}

// bound returns a position no later than the user may read the state of.
func (a *reach) bound(before storage.Position) storage.Position {
	if a.until > 0 {
		return min(before, a.until)
	}
	return before
}
