package roomserver

import (
	"context"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage/rooms"
)

// stateAfterTheirs returns the state after an event that has no place here, as
// another server tells it. The events of it become outliers, and so does the
// event itself: where history can be asked for later.
func (s *Server) stateAfterTheirs(ctx context.Context, er *errand, room matrix.RoomID, at matrix.EventID) (stateMap, error) {
	if err := er.takeState(); err != nil {
		return nil, err
	}
	stateIDs, authIDs, err := s.remote.StateIDs(ctx, er.origin, room, at)
	if err != nil {
		return nil, err
	}
	if err := er.take(len(stateIDs) + len(authIDs)); err != nil {
		return nil, err
	}
	ids := make([]matrix.EventID, 0, len(stateIDs)+len(authIDs)+1)
	ids = append(append(append(ids, at), stateIDs...), authIDs...)
	if err := s.fetchEvents(ctx, er, room, at, ids); err != nil {
		return nil, err
	}
	list, missing, err := s.storedList(ctx, append([]matrix.EventID{at}, stateIDs...))
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		s.log.InfoContext(ctx, "state is incomplete", "room_id", room, "origin", er.origin, "missing", len(missing))
	}
	state, err := stateOf(room, at, list)
	if err != nil {
		return nil, err
	}
	return s.admitState(ctx, room, state, list)
}

// stateOf makes a state of the events that another server told of it, with the
// event that it is the state after.
func stateOf(room matrix.RoomID, at matrix.EventID, list []*rooms.Event) (stateMap, error) {
	state := make(stateMap, len(list))
	var last *rooms.Event
	for _, e := range list {
		switch {
		case !e.IsState() || e.RoomID() != room || e.Status == rooms.Rejected:
			continue
		case e.ID() == at:
			last = e
			continue
		}
		if was := state[e.StateTuple()]; was != nil && was.id != e.ID() {
			return nil, matrix.Forbidden("the other server told two events of one state")
		}
		state[e.StateTuple()] = &ref{id: e.ID(), nid: e.NID}
	}
	if last != nil {
		state[last.StateTuple()] = &ref{id: last.ID(), nid: last.NID}
	}
	if state[event.StateTuple{Type: "m.room.create"}] == nil {
		return nil, matrix.Forbidden("the other server told a state without the create event")
	}
	return state, nil
}

// admitState asks the policy about the members of a state that another server
// told, each on that state, and leaves out those that it denies.
func (s *Server) admitState(ctx context.Context, room matrix.RoomID, state stateMap, events []*rooms.Event) (stateMap, error) {
	for _, e := range events {
		s.events.Set(e.ID(), e.Event) // each is asked for below
	}
	whole, find := s.over(ctx, s.cached(room), state), s.finder(ctx, events)
	for _, e := range events {
		if !present(e.Event) || state[e.StateTuple()] == nil || state[e.StateTuple()].id != e.ID() {
			continue
		}
		if err := s.admitTold(ctx, e.Event, whole, find); err != nil {
			if matrix.Answer(err).Status >= 500 {
				return nil, err
			}
			delete(state, e.StateTuple())
		}
	}
	return state, whole.err
}

// present reports whether an event says that somebody is in a room, or may come.
func present(e *event.Event) bool {
	if e.Type() != "m.room.member" || !e.IsState() {
		return false
	}
	m := e.Membership()
	return m == "join" || m == "invite" || m == "knock"
}

// finder returns what finds an event among some, and else among those that are
// stored. One that cannot be read is not found: who relies on it is denied.
func (s *Server) finder(ctx context.Context, events []*rooms.Event) func(matrix.EventID) *event.Event {
	told := make(map[matrix.EventID]*event.Event, len(events))
	for _, e := range events {
		if e.Status != rooms.Rejected {
			told[e.ID()] = e.Event
		}
	}
	return func(id matrix.EventID) *event.Event {
		if e := told[id]; e != nil {
			return e
		}
		if list, _, err := s.storedList(ctx, []matrix.EventID{id}); err == nil && len(list) == 1 && list[0].Status != rooms.Rejected {
			return list[0].Event
		}
		return nil
	}
}
