package roomserver

import (
	"context"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// RoomState is a state of a room as other servers ask for it.
type RoomState struct {
	State     []*event.Event
	AuthChain []*event.Event // of the state, without the state itself
}

// StateAt answers state and state_ids: the state before an event, for a server
// that is in the room.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid
func (s *Server) StateAt(ctx context.Context, origin matrix.ServerName, room matrix.RoomID, at matrix.EventID) (RoomState, error) {
	if err := s.member(ctx, origin, room); err != nil {
		return RoomState{}, err
	}
	return s.stateAt(ctx, room, at)
}

// StateForJoin returns the state before a join that was just accepted.
func (s *Server) StateForJoin(ctx context.Context, join *event.Event) (RoomState, error) {
	return s.stateAt(ctx, join.RoomID(), join.ID())
}

func (s *Server) stateAt(ctx context.Context, room matrix.RoomID, at matrix.EventID) (out RoomState, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		e, err := rooms.EventIn(ctx, r, room, at)
		if err != nil {
			return err
		}
		if e.Status == rooms.Outlier || e.Pos < 0 {
			return matrix.NotFound("the state at this event is not known")
		}
		state, err := rooms.StateBeforeEvent(ctx, r, e)
		if err != nil {
			return err
		}
		nids := make([]int64, 0, len(state))
		for _, nid := range state {
			nids = append(nids, nid)
		}
		events, err := rooms.EventsByNID(ctx, r, nids)
		if err != nil {
			return err
		}
		for _, e := range events {
			out.State = append(out.State, e.Event)
		}
		out.AuthChain, err = authChain(ctx, r, out.State)
		return err
	})
	return out, err
}

// authChain returns the events that others name among their auth events, and
// those that these name, and so on, without the events themselves.
func authChain(ctx context.Context, r *storage.Reader, events []*event.Event) (chain []*event.Event, err error) {
	seen := make(map[matrix.EventID]bool, len(events))
	for _, e := range events {
		seen[e.ID()] = true
	}
	for level := events; len(level) > 0; {
		var next []matrix.EventID
		for _, e := range level {
			for _, id := range e.AuthEvents() {
				if !seen[id] {
					seen[id] = true
					next = append(next, id)
				}
			}
		}
		found, err := rooms.Events(ctx, r, next)
		if err != nil {
			return nil, err
		}
		level = level[:0:0]
		for _, e := range found {
			level = append(level, e.Event)
		}
		chain = append(chain, level...)
	}
	return chain, nil
}

// EventAuth answers event_auth: the auth chain of an event.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid
func (s *Server) EventAuth(ctx context.Context, origin matrix.ServerName, room matrix.RoomID, id matrix.EventID) (chain []*event.Event, err error) {
	if err := s.member(ctx, origin, room); err != nil {
		return nil, err
	}
	err = s.db.View(ctx, func(r *storage.Reader) error {
		e, err := rooms.EventIn(ctx, r, room, id)
		if err != nil {
			return err
		}
		chain, err = authChain(ctx, r, []*event.Event{e.Event})
		return err
	})
	return chain, err
}

// member refuses servers that have nobody in a room, or that it shuts out.
func (s *Server) member(ctx context.Context, origin matrix.ServerName, room matrix.RoomID) error {
	if err := s.aclAllows(ctx, room, origin); err != nil {
		return err
	}
	return s.db.View(ctx, func(r *storage.Reader) error {
		row, err := rooms.ByID(ctx, r, room)
		if err != nil {
			return err
		}
		joined, err := rooms.ServerJoined(ctx, r, row.NID, origin)
		if err == nil && !joined {
			err = matrix.Forbidden("%s is not in the room", origin)
		}
		return err
	})
}

// EventFor answers event: one event, for a server that may see it.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid
func (s *Server) EventFor(ctx context.Context, origin matrix.ServerName, id matrix.EventID) (*event.Event, error) {
	e, err := s.stored(ctx, id)
	if err != nil {
		return nil, err
	}
	if e == nil || e.Status == rooms.Rejected {
		return nil, matrix.NotFound("no such event")
	}
	if err := s.member(ctx, origin, e.RoomID()); err != nil {
		return nil, err
	}
	switch {
	case e.IsState():
		return e.Event, nil
	case e.Status == rooms.Outlier: // it has no place by which to tell who may see it
		return nil, matrix.NotFound("no such event")
	}
	seen, err := s.seenBy(ctx, origin, []*rooms.Event{e})
	if err != nil {
		return nil, err
	}
	if len(seen) == 0 {
		return nil, matrix.NotFound("no such event")
	}
	return seen[0].Event, nil
}

// seenBy returns those of some events of one room that a server may see.
func (s *Server) seenBy(ctx context.Context, origin matrix.ServerName, events []*rooms.Event) (seen []*rooms.Event, err error) {
	if len(events) == 0 {
		return nil, nil
	}
	err = s.db.View(ctx, func(r *storage.Reader) error {
		row, err := rooms.ByID(ctx, r, events[0].RoomID())
		if err != nil {
			return err
		}
		seen, err = s.VisibleToServer(ctx, r, row, origin, events)
		return err
	})
	return seen, err
}

const (
	// maxHistory bounds the events of one answer to another server.
	maxHistory = 100
	// maxMissing bounds the answer to get_missing_events.
	maxMissing = 50
)

// BackfillFor answers backfill: events before others, newest first.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid
func (s *Server) BackfillFor(ctx context.Context, origin matrix.ServerName, room matrix.RoomID, before []matrix.EventID, limit int) ([]*event.Event, error) {
	if err := s.member(ctx, origin, room); err != nil {
		return nil, err
	}
	events, err := s.walkBack(ctx, room, before, nil, min(limit, maxHistory), 0, true)
	if err != nil {
		return nil, err
	}
	return s.plainSeen(ctx, origin, events)
}

// MissingFor answers get_missing_events: events before latest and after
// earliest, oldest first.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid
func (s *Server) MissingFor(ctx context.Context, origin matrix.ServerName, room matrix.RoomID,
	earliest, latest []matrix.EventID, limit int, minDepth int64) ([]*event.Event, error) {
	if err := s.member(ctx, origin, room); err != nil {
		return nil, err
	}
	events, err := s.walkBack(ctx, room, latest, earliest, min(limit, maxMissing), minDepth, false)
	if err != nil {
		return nil, err
	}
	slices.Reverse(events)
	return s.plainSeen(ctx, origin, events)
}

func (s *Server) plainSeen(ctx context.Context, origin matrix.ServerName, events []*rooms.Event) ([]*event.Event, error) {
	seen, err := s.seenBy(ctx, origin, events)
	out := make([]*event.Event, len(seen))
	for i, e := range seen {
		out[i] = e.Event
	}
	return out, err
}

// maxWalked bounds the events that one answer looks at: a long row of refused
// ones must not keep a reader busy.
const maxWalked = 2000

// walkBack follows prev_events from some events, nearest first, and stops at
// others. Rejected events are walked through and not returned, soft-failed ones
// only where another event follows them.
func (s *Server) walkBack(ctx context.Context, room matrix.RoomID, from, stop []matrix.EventID, limit int, minDepth int64,
	include bool) (out []*rooms.Event, err error) {
	seen := make(map[matrix.EventID]bool)
	for _, id := range stop {
		seen[id] = true
	}
	from = slices.Compact(slices.Sorted(slices.Values(from[:min(len(from), maxHistory)])))
	for _, id := range from {
		seen[id] = true
	}
	err = s.db.View(ctx, func(r *storage.Reader) error {
		walked := 0
		for level, first := from, true; len(level) > 0 && len(out) < limit && walked < maxWalked; first = false {
			walked += len(level)
			found, err := rooms.Events(ctx, r, level)
			if err != nil {
				return err
			}
			var next []matrix.EventID
			for _, id := range level {
				e := found[id]
				if e == nil || e.RoomID() != room || e.Depth() < minDepth || e.Status == rooms.Outlier {
					continue
				}
				told := e.Status == rooms.Accepted || e.Status == rooms.SoftFailed && !first
				if told && (include || !first) && len(out) < limit {
					out = append(out, e)
				}
				for _, prev := range e.PrevEvents() {
					if !seen[prev] {
						seen[prev] = true
						next = append(next, prev)
					}
				}
			}
			level = next
		}
		return nil
	})
	return out, err
}
