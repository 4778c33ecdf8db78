package roomserver

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/stateres"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// stateMap is a state of a room by both names of its events.
type stateMap = map[event.StateTuple]*ref

// resolutionBudget bounds what one fork may cost.
var resolutionBudget = stateres.Budget{}

// stateBefore returns the state before an event of theirs: the current state
// if the event follows every tip, else the resolution of the states after its
// predecessors. Predecessors that are not stored are in missing, with the
// state after them. The caller holds the lock of the room, and nothing of it
// is in flight.
func (s *Server) stateBefore(ctx context.Context, rm *room, e *event.Event, missing map[matrix.EventID]stateMap) (state stateMap, linear bool, err error) {
	if len(missing) == 0 && sameSet(e.PrevEvents(), rm.tips) {
		return rm.state, true, nil
	}
	sets := make([]stateMap, 0, len(e.PrevEvents()))
	for _, id := range e.PrevEvents() {
		after, ok := missing[id]
		if !ok {
			if after, err = s.stateAfter(ctx, rm, id); err != nil {
				return nil, false, err
			}
		}
		sets = append(sets, after)
	}
	state, err = s.resolve(ctx, rm, sets)
	return state, false, err
}

func sameSet(a, b []matrix.EventID) bool {
	if len(a) != len(b) {
		return false
	}
	for _, id := range a {
		if !slices.Contains(b, id) {
			return false
		}
	}
	return true
}

// stateAfter returns the state after a stored event.
func (s *Server) stateAfter(ctx context.Context, rm *room, id matrix.EventID) (stateMap, error) {
	if len(rm.tips) == 1 && rm.tips[0] == id {
		return rm.state, nil
	}
	var state stateMap
	err := s.db.View(ctx, func(r *storage.Reader) error {
		e, err := rooms.EventIn(ctx, r, rm.id, id)
		if err != nil {
			return err
		}
		if e.Status == rooms.Outlier {
			return matrix.NotFound("the state at event %s is not known", id)
		}
		before, err := rooms.StateBeforeEvent(ctx, r, e)
		if err != nil {
			return err
		}
		if e.IsState() && e.Status != rooms.Rejected {
			before[e.StateTuple()] = e.NID
		}
		state, err = s.named(ctx, r, rm, before)
		return err
	})
	return state, err
}

// named gives the events of a state their IDs. Most are those of the state of
// the room now.
func (s *Server) named(ctx context.Context, r *storage.Reader, rm *room, state rooms.State) (stateMap, error) {
	out := make(stateMap, len(state))
	var unknown []int64
	for tuple, nid := range state {
		if now := rm.state[tuple]; now != nil && now.nid == nid {
			out[tuple] = now
		} else {
			unknown = append(unknown, nid)
		}
	}
	if len(unknown) == 0 {
		return out, nil
	}
	ids, err := rooms.NIDsToIDs(ctx, r, unknown)
	if err != nil {
		return nil, err
	}
	for tuple, nid := range state {
		if out[tuple] == nil {
			if ids[nid] == "" {
				return nil, fmt.Errorf("event %d of a state of %s is not stored", nid, rm.id)
			}
			out[tuple] = &ref{id: ids[nid], nid: nid}
		}
	}
	return out, nil
}

// resolve returns the resolution of states. Events that are not stored yet are
// given beside.
//
// https://spec.matrix.org/v1.19/rooms/v2/#state-resolution
func (s *Server) resolve(ctx context.Context, rm *room, sets []stateMap, unsaved ...*event.Event) (stateMap, error) {
	if len(sets) == 1 {
		return sets[0], nil
	}
	named := make([]stateres.StateSet, len(sets))
	known := make(map[matrix.EventID]*ref)
	for i, set := range sets {
		named[i] = make(stateres.StateSet, len(set))
		for tuple, r := range set {
			named[i][tuple] = r.id
			known[r.id] = r
		}
	}
	resolved, err := stateres.Resolve(ctx, rm.rules, named, &resolver{s: s, unsaved: unsaved}, resolutionBudget)
	if err != nil {
		return nil, fmt.Errorf("resolve state of %s: %w", rm.id, err)
	}
	return s.refs(ctx, resolved, known)
}

// refs gives the events of a resolved state their numbers: most were in one of
// the states that went in, some are of their auth chains.
func (s *Server) refs(ctx context.Context, state stateres.StateSet, known map[matrix.EventID]*ref) (stateMap, error) {
	var revived []matrix.EventID
	for _, id := range state {
		if known[id] == nil {
			revived = append(revived, id)
		}
	}
	if len(revived) > 0 {
		if err := s.db.View(ctx, func(r *storage.Reader) error {
			found, err := rooms.Known(ctx, r, revived)
			for id, e := range found {
				known[id] = &ref{id: id, nid: e.NID}
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	out := make(stateMap, len(state))
	for tuple, id := range state {
		if known[id] == nil {
			return nil, fmt.Errorf("event %s of a resolved state is not stored", id)
		}
		out[tuple] = known[id]
	}
	return out, nil
}

// resolver gives state resolution its events.
type resolver struct {
	s        *Server
	unsaved  []*event.Event
	rejected map[matrix.EventID]bool
}

// Events implements [stateres.Store].
func (v *resolver) Events(ctx context.Context, ids []matrix.EventID) (map[matrix.EventID]*event.Event, error) {
	out := make(map[matrix.EventID]*event.Event, len(ids))
	for _, e := range v.unsaved {
		if slices.Contains(ids, e.ID()) {
			out[e.ID()] = e
		}
	}
	err := v.s.db.View(ctx, func(r *storage.Reader) error {
		found, err := rooms.Events(ctx, r, ids)
		for id, e := range found {
			out[id] = e.Event
			if e.Status == rooms.Rejected {
				if v.rejected == nil {
					v.rejected = make(map[matrix.EventID]bool)
				}
				v.rejected[id] = true
			}
		}
		return err
	})
	return out, err
}

// Rejected implements [stateres.Store].
func (v *resolver) Rejected(id matrix.EventID) bool { return v.rejected[id] }

// over returns the view of a state that is not the current one.
func (s *Server) over(ctx context.Context, rm *room, state stateMap) *view {
	return &view{ctx: ctx, s: s, rm: rm, refs: state}
}

// difference returns the changes that lead from one state to another.
func (d *draft) difference(to stateMap) (changes []change) {
	from := d.rm.state
	for tuple, r := range to {
		if was := from[tuple]; was == nil || was.id != r.id {
			changes = append(changes, change{StateTuple: tuple, old: was, new: r, member: d.cur.memberEvent(tuple, r)})
		}
	}
	for tuple, was := range from {
		if to[tuple] == nil {
			changes = append(changes, change{StateTuple: tuple, old: was})
		}
	}
	for _, c := range changes {
		d.count(c.StateTuple, c.old, c.member)
	}
	return changes
}

// become makes a state the current one of the room.
func (d *draft) become(to stateMap) []change {
	changes := d.difference(to)
	next := maps.Clone(to)
	d.rm.state = next
	d.cur.refs = next
	return changes
}

func (v *view) memberEvent(tuple event.StateTuple, r *ref) *event.Event {
	if tuple.Type != "m.room.member" {
		return nil
	}
	return v.load(r)
}
