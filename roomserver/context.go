package roomserver

import (
	"context"
	"encoding/json"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// ContextRequest is an event with what is around it.
type ContextRequest struct {
	User   matrix.UserID
	Device matrix.DeviceID
	Room   matrix.RoomID
	Event  matrix.EventID
	Limit  *int // how many events before and after together; nil is 10
	Filter Filter
}

// Surroundings is the answer of context.
type Surroundings struct {
	Event  json.RawMessage   `json:"event"`
	Before []json.RawMessage `json:"events_before"` // newest first
	After  []json.RawMessage `json:"events_after"`  // oldest first
	State  []json.RawMessage `json:"state"`         // at the last event
	Start  string            `json:"start"`
	End    string            `json:"end"`
}

// Context returns an event with what is around it, as a user may see it. One
// that the user may not see is 404 M_NOT_FOUND, as one that does not exist.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid
func (s *Server) Context(ctx context.Context, req ContextRequest) (out Surroundings, err error) {
	limit := defaultPage
	if req.Limit != nil {
		limit = *req.Limit
	}
	if limit < 0 {
		return out, matrix.InvalidParam("the limit is negative")
	}
	limit = min(limit, maxPage)
	err = s.db.View(ctx, func(r *storage.Reader) error {
		a, err := s.reach(ctx, r, req.User, req.Room)
		if err != nil {
			return err
		}
		e, err := rooms.EventIn(ctx, r, req.Room, req.Event)
		if err != nil {
			return err
		}
		if !a.sights.Sees(e) {
			return matrix.NotFound("no such event in this room")
		}
		out, err = s.surroundings(ctx, r, a, e, limit, req)
		return err
	})
	return out, err
}

func (s *Server) surroundings(ctx context.Context, r *storage.Reader, a *reach, e *rooms.Event, limit int,
	req ContextRequest) (out Surroundings, err error) {
	before, after := a.walk(limit/2, &req.Filter), a.walk(limit-limit/2, &req.Filter)
	if err := before.back(ctx, r, e.Pos-1, nil); err != nil {
		return out, err
	}
	if err := after.forth(ctx, r, e.Pos, nil); err != nil {
		return out, err
	}
	oldest, newest := e.Pos, e.Pos
	if n := len(before.events); n > 0 {
		oldest = before.events[n-1].Pos
	}
	if n := len(after.events); n > 0 {
		newest = after.events[n-1].Pos
	}
	all := append(append([]*rooms.Event{e}, before.events...), after.events...)
	how := Rendering{Sights: a.sights, Device: req.Device}
	rendered, err := s.RenderEvents(ctx, r, all, how)
	if err != nil {
		return out, err
	}
	n := 1 + len(before.events)
	out = Surroundings{Event: rendered[0], Before: rendered[1:n], After: rendered[n:], Start: Token(oldest - 1), End: Token(newest)}
	state, err := stateAround(ctx, r, a, newest+1, all, &req.Filter)
	if err != nil {
		return out, err
	}
	how.Plain = true
	out.State, err = s.RenderEvents(ctx, r, state, how)
	return out, err
}

// stateAround returns the state before a position, of the members only those
// who sent the events where the filter says so.
func stateAround(ctx context.Context, r *storage.Reader, a *reach, pos storage.Position, events []*rooms.Event,
	filter *Filter) ([]*rooms.Event, error) {
	state, err := rooms.StateBefore(ctx, r, a.room.NID, a.bound(pos))
	if err != nil {
		return nil, err
	}
	senders := make(map[string]bool)
	for _, e := range events {
		senders[string(e.Sender())] = true
	}
	for t := range state {
		if filter.LazyLoadMembers && t.Type == "m.room.member" && !senders[t.StateKey] {
			delete(state, t)
		}
	}
	list, err := rooms.EventsOf(ctx, r, state)
	if err != nil {
		return nil, err
	}
	kept := list[:0]
	for _, e := range list {
		if filter.Wants(e) {
			kept = append(kept, e)
		}
	}
	return kept, nil
}
