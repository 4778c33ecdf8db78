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
// predecessors. Those that have no place here are in missing, with the state
// after them. The caller holds the lock of the room, and nothing of it is in
// flight.
func (s *Server) stateBefore(ctx context.Context, rm *room, e *event.Event, missing map[matrix.EventID]stateMap) (*before, error) {
	if len(missing) == 0 && sameSet(e.PrevEvents(), rm.tips) {
		return &before{state: rm.state, linear: true}, nil
	}
	sets := make([]stateMap, 0, len(e.PrevEvents()))
	var last *rooms.Event
	for _, id := range e.PrevEvents() {
		f := fork{state: missing[id]}
		if f.state == nil {
			var err error
			if f, err = s.stateAfter(ctx, rm, id); err != nil {
				return nil, err
			}
		}
		last = f.event
		sets = append(sets, f.state)
	}
	if len(sets) != 1 {
		last = nil
	}
	state, err := s.resolve(ctx, rm, sets)
	return &before{state: state, after: last}, err
}

// stateAfter returns the state after a stored event. It must not be changed.
func (s *Server) stateAfter(ctx context.Context, rm *room, id matrix.EventID) (fork, error) {
	if len(rm.tips) == 1 && rm.tips[0] == id {
		return fork{state: rm.state}, nil
	}
	if f, ok := rm.forks[id]; ok {
		return f, nil
	}
	var f fork
	err := s.db.View(ctx, func(r *storage.Reader) error {
		e, err := rooms.EventIn(ctx, r, rm.id, id)
		if err != nil {
			return err
		}
		if e.Status == rooms.Outlier || e.Pos < 0 {
			return matrix.NotFound("the state at event %s is not known", id)
		}
		f.event = e
		switch same, err := rm.unchangedSince(ctx, r, e); {
		case err != nil:
			return err
		case same:
			f.state = rm.state
			return nil
		}
		before, err := rooms.StateBeforeEvent(ctx, r, e)
		if err != nil {
			return err
		}
		if changesState(e) {
			before[e.StateTuple()] = e.NID
		}
		f.state, err = s.named(ctx, r, rm, before)
		return err
	})
	if err == nil && slices.Contains(rm.tips, id) {
		rm.remember(id, f)
	}
	return f, err
}

// unchangedSince reports whether the state after an event is known to be that
// of the room now: the event stood where the room did, and nothing moved it
// since. A state event that failed softly has not become part of it.
func (rm *room) unchangedSince(ctx context.Context, r *storage.Reader, e *rooms.Event) (bool, error) {
	if e.SnapshotNID != 0 {
		return false, nil
	}
	if changesState(e) {
		if now := rm.state[e.StateTuple()]; now == nil || now.id != e.ID() {
			return false, nil
		}
	}
	changed, err := rooms.StateChangedAfter(ctx, r, rm.nid, e.Pos)
	return !changed, err
}

// remember keeps the state after a tip for the next event of a fork.
func (rm *room) remember(tip matrix.EventID, f fork) {
	if rm.forks == nil {
		rm.forks = make(map[matrix.EventID]fork)
	}
	rm.forks[tip] = f
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
	if sets = distinct(sets); len(sets) == 1 {
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
	resolved, err := stateres.Resolve(ctx, rm.rules, named, newResolver(s, unsaved), resolutionBudget)
	if err != nil {
		return nil, fmt.Errorf("resolve state of %s: %w", rm.id, err)
	}
	for _, e := range unsaved {
		if known[e.ID()] == nil {
			known[e.ID()] = &ref{id: e.ID(), ev: e}
		}
	}
	return s.refs(ctx, resolved, known)
}

// distinct leaves out states that are one and the same.
func distinct(sets []stateMap) []stateMap {
	out := make([]stateMap, 0, len(sets))
	for _, set := range sets {
		if !slices.ContainsFunc(out, func(other stateMap) bool { return maps.Equal(set, other) }) {
			out = append(out, set)
		}
	}
	return out
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
	unsaved  map[matrix.EventID]*event.Event
	rejected map[matrix.EventID]bool
}

func newResolver(s *Server, unsaved []*event.Event) *resolver {
	v := &resolver{s: s, unsaved: make(map[matrix.EventID]*event.Event, len(unsaved)), rejected: make(map[matrix.EventID]bool)}
	for _, e := range unsaved {
		v.unsaved[e.ID()] = e
	}
	return v
}

// Events implements [stateres.Store].
func (v *resolver) Events(ctx context.Context, ids []matrix.EventID) (map[matrix.EventID]*event.Event, error) {
	out := make(map[matrix.EventID]*event.Event, len(ids))
	saved := make([]matrix.EventID, 0, len(ids))
	for _, id := range ids {
		if e := v.unsaved[id]; e != nil {
			out[id] = e
		} else {
			saved = append(saved, id)
		}
	}
	err := v.s.db.View(ctx, func(r *storage.Reader) error {
		found, err := rooms.Events(ctx, r, saved)
		for id, e := range found {
			out[id] = e.Event
			if e.Status == rooms.Rejected {
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

// difference returns the changes that lead from the state of the room to
// another, and counts them.
func (d *draft) difference(to stateMap) (changes []change) {
	from := d.rm.state
	for tuple, r := range to {
		if was := from[tuple]; was == nil || was.id != r.id {
			changes = append(changes, change{StateTuple: tuple, old: was, new: r})
		}
	}
	for tuple, was := range from {
		if to[tuple] == nil {
			changes = append(changes, change{StateTuple: tuple, old: was})
		}
	}
	var members []*ref
	for _, c := range changes {
		if c.Type == "m.room.member" {
			members = appendRefs(members, c.old, c.new)
		}
	}
	found := d.cur.loadAll(members)
	for i, c := range changes {
		if c.Type == "m.room.member" {
			d.recount(eventOf(found, c.old), eventOf(found, c.new))
			changes[i].member = eventOf(found, c.new)
		}
	}
	return changes
}

func appendRefs(list []*ref, refs ...*ref) []*ref {
	for _, r := range refs {
		if r != nil {
			list = append(list, r)
		}
	}
	return list
}

func eventOf(found map[matrix.EventID]*event.Event, r *ref) *event.Event {
	if r == nil {
		return nil
	}
	return found[r.id]
}

// become makes a state the current one of the room. What does not change keeps
// its refs: theirs have the numbers, and those of the new state may not.
func (d *draft) become(to stateMap) []change {
	changes := d.difference(to)
	if len(changes) == 0 || d.cur.err != nil {
		return nil
	}
	d.moved = true
	next := maps.Clone(d.rm.state) // the old one may be the state after a tip
	for _, c := range changes {
		if c.new == nil {
			delete(next, c.StateTuple)
		} else {
			next[c.StateTuple] = c.new
		}
	}
	d.rm.state, d.cur.refs = next, next
	return changes
}
