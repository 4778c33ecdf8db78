package stateres

import (
	"context"
	"fmt"
	"maps"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

// StateSet is a state: an event for each type and state key.
//
// https://spec.matrix.org/v1.19/rooms/v12/#definitions
type StateSet map[event.StateTuple]matrix.EventID

// Store is where events come from. The same store may be used by many
// resolutions at a time.
//
// https://spec.matrix.org/v1.19/rooms/v12/#definitions
type Store interface {
	// Events returns the events with these IDs, whether or not they were
	// rejected. What the store lacks is missing from the result.
	Events(ctx context.Context, ids []matrix.EventID) (map[matrix.EventID]*event.Event, error)
	// Rejected reports whether an event that Events returned was rejected
	// when it was received. A rejected event authorises no other.
	Rejected(id matrix.EventID) bool
}

// ChainStore is a Store with an index of auth chains. [Resolve] asks it one
// question in place of walking the chains of the whole state.
//
// https://spec.matrix.org/v1.19/rooms/v12/#definitions
type ChainStore interface {
	Store
	// Reached returns those of the targets that are in the auth chain of one
	// of the events from. That a target is itself in from does not count.
	Reached(ctx context.Context, from, targets []matrix.EventID) ([]matrix.EventID, error)
}

// Resolve returns the resolution of the states by the algorithm of the room
// version. No state resolves to an empty one, and one or several equal ones
// to themselves, without a look at the store. The result is the caller's.
//
// An event of the states that the store lacks takes part only where nobody
// disputes it. The error is a *[BudgetError] when the budget is spent, and
// otherwise the store's or the context's.
//
// https://spec.matrix.org/v1.19/rooms/v2/#state-resolution
func Resolve(ctx context.Context, rules *matrix.VersionRules, sets []StateSet, store Store, budget Budget) (StateSet, error) {
	if len(sets) == 0 {
		return StateSet{}, nil
	}
	if rules.StateResolution == matrix.StateResolutionV1 {
		return resolveV1(ctx, sets, store, budget)
	}
	s := splitStates(sets)
	if len(s.conflicts) == 0 {
		return maps.Clone(sets[0]), nil
	}
	r := newResolver(rules, s, store, budget)
	if err := r.resolve(ctx); err != nil {
		return nil, err
	}
	return r.result(), nil
}

// resolver is one resolution by algorithm 2 or 2.1.
type resolver struct {
	rules *matrix.VersionRules
	*split
	g      *graph
	create *event.Event // from version 12 on; before, it is a part of the state

	conflicted []int32 // the conflicted state set
	full       []int32 // the full conflicted set
	view       view
	powers     map[int32]powerOf
}

func newResolver(rules *matrix.VersionRules, s *split, store Store, budget Budget) *resolver {
	r := &resolver{rules: rules, split: s, powers: make(map[int32]powerOf)}
	r.g = newGraph(store, newMeter(budget), 1024)
	r.view = newView(r.g)
	return r
}

// resolve is the algorithm; its steps are numbered as in the text.
func (r *resolver) resolve(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	power, err := r.powerEvents() // step 1
	if err != nil {
		return err
	}
	sorted, err := r.powerOrder(power)
	if err != nil {
		return err
	}
	if err := r.apply(sorted); err != nil { // step 2
		return err
	}
	rest := r.remaining(power) // step 3
	if err := r.mainlineOrder(ctx, rest); err != nil {
		return err
	}
	return r.apply(rest) // step 4
}

// prepare loads what is disputed and finds the full conflicted set.
func (r *resolver) prepare(ctx context.Context) error {
	for _, c := range r.conflicts {
		for _, id := range c.ids {
			r.conflicted = append(r.conflicted, r.g.node(id))
		}
	}
	if err := r.g.walk(ctx, r.conflicted); err != nil {
		return err
	}
	if err := r.findFull(ctx); err != nil {
		return err
	}
	if r.rules.RoomIDIsCreateHash {
		return r.loadCreate(ctx)
	}
	r.view.base = r.unconflicted
	return r.loadNeeded(ctx)
}

// loadCreate loads the create event of a version 12 room, which no event
// refers to but by the room ID.
func (r *resolver) loadCreate(ctx context.Context) error {
	if r.g.room == "" {
		return nil // no disputed event is known: there is nothing to check
	}
	n := r.g.node(matrix.EventID("$" + r.g.room[1:]))
	if err := r.g.load(ctx, []int32{n}); err != nil {
		return err
	}
	if r.g.event(n) == nil {
		return fmt.Errorf("resolve state of %s: its create event is not known", r.g.room)
	}
	r.create, r.view.create = r.g.event(n), r.g.event(n)
	return nil
}

// result is step 5: the unconflicted state over what was resolved.
func (r *resolver) result() StateSet {
	out := maps.Clone(r.sets[0])
	for _, c := range r.conflicts {
		delete(out, c.tuple)
	}
	for tuple, n := range r.view.state {
		if _, ok := out[tuple]; !ok {
			out[tuple] = r.g.nodes[n].id
		}
	}
	return out
}
