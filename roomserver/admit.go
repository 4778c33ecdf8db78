package roomserver

import (
	"context"

	"beffroi/matrix/event"
	"beffroi/policy"
)

// admit is the gate of policy for events, whichever way they came. It judges
// an event on the state before it.
func (s *Server) admit(ctx context.Context, e *event.Event, before *view, source policy.Source, creating bool) error {
	req := &policy.EventRequest{Event: e, Source: source, Creating: creating, Now: s.now()}
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
