package roomserver

import (
	"context"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/policy"
)

// admit is the gate of policy for events, whichever way they came. It judges
// an event on the state before it.
func (s *Server) admit(ctx context.Context, e *event.Event, before *view, source policy.Source, creating bool) error {
	return s.ask(ctx, before, &policy.EventRequest{Event: e, Source: source, Creating: creating, Now: s.now()})
}

// admitTold is the gate for an event of a state that another server told, or
// of history: what it is judged on is not the state before it, so its own auth
// events say how its account came in. find returns one of them, or nil.
func (s *Server) admitTold(ctx context.Context, e *event.Event, state *view, find func(matrix.EventID) *event.Event) error {
	return s.ask(ctx, state, &policy.EventRequest{Event: e, Source: policy.SourceFederation, Now: s.now(),
		Entry: func() (*event.Event, string) { return entry(e, find) }})
}

// maxRenames bounds the changes of a profile between a join and the membership
// it began with. Who has more counts as one who was not invited.
const maxRenames = 1000

// entry follows the auth events of a join to the one by which the account came
// into the room, and returns what its membership was before that.
func entry(join *event.Event, find func(matrix.EventID) *event.Event) (*event.Event, string) {
	for range maxRenames {
		var before *event.Event
		for _, id := range join.AuthEvents() {
			if e := find(id); e != nil && e.IsState() && e.StateTuple() == join.StateTuple() && e.RoomID() == join.RoomID() {
				before = e
			}
		}
		switch {
		case before == nil:
			return join, ""
		case before.Membership() != "join":
			return join, before.Membership()
		}
		join = before
	}
	return join, ""
}

// ask gives a request to the gate with the state that it is judged on.
func (s *Server) ask(ctx context.Context, before *view, req *policy.EventRequest) error {
	e := req.Event
	if before != nil && e.Type() != "m.room.create" {
		req.State, req.Create = before, before.createEvent()
		if before.err != nil {
			return before.err // fail closed: what cannot be read is not allowed
		}
	}
	err := s.gate.AdmitEvent(ctx, req)
	if before != nil && before.err != nil {
		return before.err
	}
	return err
}

// admitStripped is the gate for an invitation to a room whose state we do not
// have, or a knock on one: what the other server tells of it stands for the
// state.
func (s *Server) admitStripped(ctx context.Context, e *event.Event, facts policy.RoomFacts, source policy.Source) error {
	return s.gate.AdmitEvent(ctx, &policy.EventRequest{Event: e, Facts: &facts, Source: source, Now: s.now()})
}
