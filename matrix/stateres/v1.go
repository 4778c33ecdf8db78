package stateres

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // the algorithm says so; it breaks ties, it protects nothing
	"maps"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
)

// resolverV1 is one resolution by algorithm 1. A key that some states lack is
// no conflict: the others have it then.
//
// https://spec.matrix.org/v1.19/rooms/v1/#state-resolution
type resolverV1 struct {
	conflicts []conflict
	agreed    StateSet // the union of the states without the conflicts
	g         *graph
	view      view
}

func resolveV1(ctx context.Context, sets []StateSet, store Store, budget Budget) (StateSet, error) {
	r := &resolverV1{agreed: make(StateSet, len(sets[0]))}
	r.split(sets)
	if len(r.conflicts) == 0 {
		return r.agreed, nil
	}
	r.g = newGraph(store, newMeter(budget), 256)
	r.view = newView(r.g)
	r.view.base = func(tuple event.StateTuple) (matrix.EventID, bool) {
		id, ok := r.agreed[tuple]
		return id, ok
	}
	if err := r.loadDisputed(ctx); err != nil {
		return nil, err
	}
	if err := r.resolve(); err != nil {
		return nil, err
	}
	out := maps.Clone(r.agreed)
	for tuple, n := range r.view.state {
		out[tuple] = r.g.nodes[n].id
	}
	return out, nil
}

// split finds the keys that have more than one event.
func (r *resolverV1) split(sets []StateSet) {
	s := splitStates(sets)
	for tuple, id := range sets[0] {
		if !s.disputed[tuple] {
			r.agreed[tuple] = id
		}
	}
	for _, c := range s.conflicts {
		if len(c.ids) == 1 {
			r.agreed[c.tuple] = c.ids[0]
		} else {
			r.conflicts = append(r.conflicts, c)
		}
	}
}

// loadDisputed loads the disputed events, and what their checks look at.
func (r *resolverV1) loadDisputed(ctx context.Context) error {
	var events []int32
	for _, c := range r.conflicts {
		for _, id := range c.ids {
			events = append(events, r.g.node(id))
		}
	}
	if err := r.g.load(ctx, events); err != nil {
		return err
	}
	events = slices.DeleteFunc(events, func(n int32) bool { return r.g.event(n) == nil })
	if len(events) == 0 {
		return nil
	}
	return r.g.load(ctx, r.view.needed(events, r.g.event(events[0]).Rules()))
}

// resolve makes the passes of the algorithm. Within a pass no key sees what
// another has become, so their order does not matter.
func (r *resolverV1) resolve() error {
	passes := []func(event.StateTuple) bool{
		func(t event.StateTuple) bool { return t == event.StateTuple{Type: typePowerLevels} },
		func(t event.StateTuple) bool { return t == event.StateTuple{Type: typeJoinRules} },
		func(t event.StateTuple) bool { return t.Type == typeMember },
		func(event.StateTuple) bool { return true },
	}
	left := r.conflicts
	for i, in := range passes {
		var later []conflict
		winners := make(map[event.StateTuple]int32)
		for _, c := range left {
			if !in(c.tuple) {
				later = append(later, c)
				continue
			}
			if err := r.g.meter.visit(len(c.ids)); err != nil {
				return err
			}
			pick := r.pickAuth
			if i == len(passes)-1 {
				pick = r.pickOther
			}
			if n := pick(c); n != none {
				winners[c.tuple] = n
			}
			delete(r.view.state, c.tuple)
		}
		maps.Copy(r.view.state, winners)
		left = later
	}
	return nil
}

// pickAuth resolves a key that authorisation depends on: the oldest event,
// then what it allows, until something is not allowed.
func (r *resolverV1) pickAuth(c conflict) int32 {
	events := r.sorted(c)
	if len(events) == 0 {
		return none
	}
	winner := events[0]
	r.view.state[c.tuple] = winner
	for _, n := range events[1:] {
		if !r.view.allows(n, false) {
			break
		}
		winner = n
		r.view.state[c.tuple] = n
	}
	return winner
}

// pickOther resolves any other key: the newest event that is allowed.
func (r *resolverV1) pickOther(c conflict) int32 {
	for _, n := range slices.Backward(r.sorted(c)) {
		if r.view.allows(n, false) {
			return n
		}
	}
	return none
}

// sorted returns the events of a conflict by ascending depth, and then by
// descending SHA-1 of their IDs.
func (r *resolverV1) sorted(c conflict) []int32 {
	var events []int32
	for _, id := range c.ids {
		if n := r.g.node(id); r.g.event(n) != nil {
			events = append(events, n)
		}
	}
	slices.SortFunc(events, func(x, y int32) int {
		a, b := r.g.event(x), r.g.event(y)
		hashA, hashB := sha1.Sum([]byte(a.ID())), sha1.Sum([]byte(b.ID()))
		return cmp.Or(cmp.Compare(a.Depth(), b.Depth()), bytes.Compare(hashB[:], hashA[:]))
	})
	return events
}

var _ eventauth.LeveledState = (*view)(nil)
