package roomserver

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// maxStates bounds the states that are asked for to place one event of
	// theirs: of each of its predecessors, and of some in a gap.
	maxStates = event.MaxPrevEvents + 4
	// maxFetched bounds the events that are taken for one event of theirs, and
	// those of one state with its auth chain.
	maxFetched = 200_000
	// fetchOneByOne is up to how many events of a state are asked for one by
	// one; beyond it the whole state is cheaper.
	fetchOneByOne = 50
	// fetchWorkers bounds the requests to one server for one state.
	fetchWorkers = 8
)

// errand is what may be asked of a server to place one event that it sent.
type errand struct {
	origin matrix.ServerName
	states int // how many more
	events int // how many more
}

func newErrand(origin matrix.ServerName) *errand {
	return &errand{origin: origin, states: maxStates, events: maxFetched}
}

// takeState counts a state that is to be asked for.
func (er *errand) takeState() error {
	if er.states--; er.states < 0 {
		return matrix.TooLarge("more than %d states are needed to place one event", maxStates)
	}
	return nil
}

// take counts events that were told.
func (er *errand) take(n int) error {
	if er.events -= n; er.events < 0 {
		return matrix.TooLarge("more than %d events are needed to place one", maxFetched)
	}
	return nil
}

// fetchPredecessors makes sure that the predecessors of an event have their
// places. For those that cannot be had it returns the state after them, as the
// other server tells it.
//
// https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
func (s *Server) fetchPredecessors(ctx context.Context, a *arrival) (map[matrix.EventID]stateMap, error) {
	unknown, err := s.unplaced(ctx, a.PrevEvents())
	if err != nil || len(unknown) == 0 {
		return nil, err
	}
	if a.fill {
		s.fillGap(ctx, a)
		if unknown, err = s.unplaced(ctx, a.PrevEvents()); err != nil || len(unknown) == 0 {
			return nil, err
		}
	}
	missing := make(map[matrix.EventID]stateMap, len(unknown))
	for _, id := range unknown {
		if missing[id] != nil {
			continue
		}
		if missing[id], err = s.stateAfterTheirs(ctx, a.errand, a.RoomID(), id); err != nil {
			return nil, err
		}
	}
	return missing, nil
}

// unplaced returns those of the events after which the state is not known.
func (s *Server) unplaced(ctx context.Context, ids []matrix.EventID) (unknown []matrix.EventID, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		known, err := rooms.Known(ctx, r, ids)
		for _, id := range ids {
			if !known[id].Placed() {
				unknown = append(unknown, id)
			}
		}
		return err
	})
	return unknown, err
}

// connected returns those of some events that are named, or that others of
// those name. What is not was not asked for.
func connected(named []matrix.EventID, events []*event.Event, names func(*event.Event) []matrix.EventID) (reached []*event.Event) {
	byID := make(map[matrix.EventID]*event.Event, len(events))
	for _, e := range events {
		byID[e.ID()] = e
	}
	for queue := named; len(queue) > 0; queue = queue[1:] {
		if e := byID[queue[0]]; e != nil {
			delete(byID, queue[0])
			reached = append(reached, e)
			queue = append(queue, names(e)...)
		}
	}
	return reached
}

// authEvents returns the auth events of an event, and asks for those that are
// not stored.
func (s *Server) authEvents(ctx context.Context, er *errand, e *event.Event) ([]*rooms.Event, error) {
	list, missing, err := s.storedList(ctx, e.AuthEvents())
	if err != nil || len(missing) == 0 {
		return list, err
	}
	pdus, err := s.remote.EventAuth(ctx, er.origin, e.RoomID(), e.ID())
	if err != nil {
		return nil, err
	}
	if err := er.take(len(pdus)); err != nil {
		return nil, err
	}
	chain := connected(e.AuthEvents(), parse(e.RoomID(), e.Rules(), pdus), (*event.Event).AuthEvents)
	if err := s.storeOutliers(ctx, e.RoomID(), chain); err != nil {
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

// fetchEvents makes sure that events of a state are stored, as outliers. What
// was not asked for is not taken.
func (s *Server) fetchEvents(ctx context.Context, er *errand, room matrix.RoomID, at matrix.EventID, ids []matrix.EventID) error {
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
		pdus, err = s.fetchEach(ctx, er.origin, missing)
	} else {
		pdus, err = s.fetchState(ctx, er, room, at)
	}
	if err != nil {
		return err
	}
	wanted := make(map[matrix.EventID]bool, len(missing))
	for _, id := range missing {
		wanted[id] = true
	}
	events := parse(room, rules, pdus)
	kept := events[:0]
	for _, e := range events {
		if wanted[e.ID()] {
			kept = append(kept, e)
		}
	}
	return s.storeOutliers(ctx, room, kept)
}

// fetchState asks for a whole state with its auth chain.
func (s *Server) fetchState(ctx context.Context, er *errand, room matrix.RoomID, at matrix.EventID) ([][]byte, error) {
	state, auth, err := s.remote.State(ctx, er.origin, room, at)
	if err != nil {
		return nil, err
	}
	if err := er.take(len(state) + len(auth)); err != nil {
		return nil, err
	}
	pdus := append(state, auth...)
	if pdu, err := s.remote.Event(ctx, er.origin, at); err == nil {
		pdus = append(pdus, pdu)
	}
	return pdus, nil
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
