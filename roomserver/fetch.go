package roomserver

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// fetchDepth is how often a gap is filled by asking for the events in it
	// before the state behind it is asked for.
	fetchDepth = 1
	// missingLimit is how many events of a gap are asked for.
	missingLimit = 20
	// maxFetched bounds the events of one state, with its auth chain.
	maxFetched = 200_000
	// fetchOneByOne is up to how many events of a state are asked for one by
	// one; beyond it the whole state is cheaper.
	fetchOneByOne = 50
	// fetchWorkers bounds the requests to one server for one state.
	fetchWorkers = 8
)

// fetchPredecessors makes sure that the predecessors of an event are stored.
// For those that cannot be had it returns the state after them, as the other
// server tells it.
//
// https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
func (s *Server) fetchPredecessors(ctx context.Context, origin matrix.ServerName, e *event.Event, depth int) (map[matrix.EventID]stateMap, error) {
	unknown, err := s.unplaced(ctx, e.PrevEvents())
	if err != nil || len(unknown) == 0 {
		return nil, err
	}
	if depth > 0 {
		s.fillGap(ctx, origin, e, depth-1)
		if unknown, err = s.unplaced(ctx, e.PrevEvents()); err != nil || len(unknown) == 0 {
			return nil, err
		}
	}
	missing := make(map[matrix.EventID]stateMap, len(unknown))
	for _, id := range unknown {
		if missing[id], err = s.stateAfterTheirs(ctx, origin, e.RoomID(), id); err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// unplaced returns those of the events that are not stored, or only as
// outliers.
func (s *Server) unplaced(ctx context.Context, ids []matrix.EventID) (unknown []matrix.EventID, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		known, err := rooms.Known(ctx, r, ids)
		for _, id := range ids {
			if ref, ok := known[id]; !ok || ref.Status == rooms.Outlier {
				unknown = append(unknown, id)
			}
		}
		return err
	})
	return unknown, err
}

// fillGap asks for the events between the tips of the room and an event, and
// receives them. What fails leaves a gap, which its caller sees.
func (s *Server) fillGap(ctx context.Context, origin matrix.ServerName, e *event.Event, depth int) {
	rm, err := s.lock(ctx, e.RoomID())
	if err != nil {
		return
	}
	tips, rules := slices.Clone(rm.tips), rm.rules
	rm.mu.Unlock()
	pdus, err := s.remote.MissingEvents(ctx, origin, e.RoomID(), tips, []matrix.EventID{e.ID()}, missingLimit, 0)
	if err != nil {
		s.log.InfoContext(ctx, "gap not filled", "room_id", e.RoomID(), "origin", origin, "error", err)
		return
	}
	events := s.parseTheirs(ctx, e.RoomID(), rules, pdus[:min(len(pdus), missingLimit)])
	slices.SortFunc(events, func(a, b *event.Event) int { return cmp.Compare(a.Depth(), b.Depth()) })
	for _, got := range events {
		if got.ID() == e.ID() {
			continue
		}
		if err := s.receive(ctx, origin, got, depth, false); err != nil {
			s.log.InfoContext(ctx, "event of a gap refused", "event_id", got.ID(), "origin", origin, "error", err)
			return
		}
	}
}

// authEvents returns the auth events of an event, and asks origin for those
// that are not stored.
func (s *Server) authEvents(ctx context.Context, origin matrix.ServerName, e *event.Event) ([]*rooms.Event, error) {
	list, missing, err := s.storedList(ctx, e.AuthEvents())
	if err != nil || len(missing) == 0 {
		return list, err
	}
	pdus, err := s.remote.EventAuth(ctx, origin, e.RoomID(), e.ID())
	if err != nil {
		return nil, err
	}
	if len(pdus) > maxFetched {
		return nil, matrix.TooLarge("an auth chain of %d events", len(pdus))
	}
	if err := s.storeOutliers(ctx, e.RoomID(), s.parseTheirs(ctx, e.RoomID(), e.Rules(), pdus)); err != nil {
		return nil, err
	}
	if list, missing, err = s.storedList(ctx, e.AuthEvents()); err == nil && len(missing) > 0 {
		err = matrix.Forbidden("auth event %s cannot be had", missing[0])
	}
	return list, err
}

// storedList returns the stored ones of some events, in their order, and the
// IDs of the others.
func (s *Server) storedList(ctx context.Context, ids []matrix.EventID) (list []*rooms.Event, missing []matrix.EventID, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		found, err := rooms.Events(ctx, r, ids)
		for _, id := range ids {
			if e := found[id]; e != nil {
				list = append(list, e)
			} else {
				missing = append(missing, id)
			}
		}
		return err
	})
	return list, missing, err
}

// stateAfterTheirs returns the state after an event that this server lacks, as
// another server tells it. The events of it become outliers, and so does the
// event itself: where history can be asked for later.
func (s *Server) stateAfterTheirs(ctx context.Context, origin matrix.ServerName, room matrix.RoomID, at matrix.EventID) (stateMap, error) {
	stateIDs, authIDs, err := s.remote.StateIDs(ctx, origin, room, at)
	if err != nil {
		return nil, err
	}
	if len(stateIDs)+len(authIDs) > maxFetched {
		return nil, matrix.TooLarge("a state of %d events", len(stateIDs)+len(authIDs))
	}
	if err := s.fetchEvents(ctx, origin, room, at, append(append([]matrix.EventID{at}, stateIDs...), authIDs...)); err != nil {
		return nil, err
	}
	list, missing, err := s.storedList(ctx, append(stateIDs, at))
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		s.log.InfoContext(ctx, "state is incomplete", "room_id", room, "origin", origin, "missing", len(missing))
	}
	state := make(stateMap, len(list))
	for _, e := range list {
		if e.IsState() && e.RoomID() == room && e.Status != rooms.Rejected {
			state[e.StateTuple()] = &ref{id: e.ID(), nid: e.NID}
		}
	}
	return s.admitState(ctx, room, state, list)
}

// admitState asks the policy about the members of a state that another server
// told, each on that state, and leaves out those that it denies.
func (s *Server) admitState(ctx context.Context, room matrix.RoomID, state stateMap, events []*rooms.Event) (stateMap, error) {
	rm := s.cached(room)
	whole := s.over(ctx, rm, state)
	for _, e := range events {
		if e.Type() != "m.room.member" || state[e.StateTuple()] == nil || state[e.StateTuple()].id != e.ID() {
			continue
		}
		if e.Membership() != "join" && e.Membership() != "invite" && e.Membership() != "knock" {
			continue
		}
		if err := s.admitMember(ctx, e.Event, whole); err != nil {
			if matrix.Answer(err).Status >= 500 {
				return nil, err
			}
			delete(state, e.StateTuple())
		}
	}
	return state, whole.err
}

// fetchEvents makes sure that events of a state are stored, as outliers.
func (s *Server) fetchEvents(ctx context.Context, origin matrix.ServerName, room matrix.RoomID, at matrix.EventID, ids []matrix.EventID) error {
	rules, err := s.rules(ctx, room)
	if err != nil {
		return err
	}
	_, missing, err := s.storedList(ctx, ids)
	if err != nil || len(missing) == 0 {
		return err
	}
	var pdus [][]byte
	if len(missing) <= fetchOneByOne {
		if pdus, err = s.fetchEach(ctx, origin, missing); err != nil {
			return err
		}
	} else {
		state, auth, err := s.remote.State(ctx, origin, room, at)
		if err != nil {
			return err
		}
		pdus = append(state, auth...)
		if pdu, err := s.remote.Event(ctx, origin, at); err == nil {
			pdus = append(pdus, pdu)
		}
	}
	return s.storeOutliers(ctx, room, s.parseTheirs(ctx, room, rules, pdus))
}

// fetchEach asks for events one by one, several at a time. Those that the
// other server does not give are left out.
func (s *Server) fetchEach(ctx context.Context, origin matrix.ServerName, ids []matrix.EventID) (pdus [][]byte, err error) {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fetchWorkers)
	for _, id := range ids {
		group.Go(func() error {
			pdu, err := s.remote.Event(ctx, origin, id)
			if err != nil {
				if matrix.Answer(err).Status >= 500 {
					return fmt.Errorf("fetch %s: %w", id, err)
				}
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			pdus = append(pdus, pdu)
			return nil
		})
	}
	return pdus, group.Wait()
}

// admitMember asks the policy whether an account may be in a room whose state
// another server told: it is judged as one of that state.
func (s *Server) admitMember(ctx context.Context, e *event.Event, state *view) error {
	return s.admit(ctx, e, state, policy.SourceFederation, false)
}
