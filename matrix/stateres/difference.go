package stateres

import (
	"context"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

// findFull makes the full conflicted set: the conflicted events, the auth
// difference and, in algorithm 2.1, the conflicted state subgraph. What the
// store lacks is not in it.
//
// https://spec.matrix.org/v1.19/rooms/v12/#definitions
func (r *resolver) findFull(ctx context.Context) error {
	in := r.g.newMark()
	add := func(n int32) {
		if !in[n] && r.g.event(n) != nil {
			in[n] = true
			r.full = append(r.full, n)
		}
	}
	for _, n := range r.conflicted {
		add(n)
	}
	difference, err := r.authDifference(ctx)
	if err != nil {
		return err
	}
	for _, n := range difference {
		add(n)
	}
	if r.rules.StateResolution == matrix.StateResolutionV21 {
		for _, n := range r.subgraph() {
			add(n)
		}
	}
	return nil
}

// subgraph returns the events on the paths from one conflicted event to
// another. Everything that was walked is at or above a conflicted event, so
// what remains is to find out what is at or below one.
func (r *resolver) subgraph() []int32 {
	below := r.g.newMark()
	for _, n := range r.conflicted {
		below[n] = true
	}
	var out []int32
	for _, n := range r.g.order(r.conflicted) {
		below[n] = below[n] || slices.ContainsFunc(r.g.nodes[n].auth, below.has)
		if below[n] {
			out = append(out, n)
		}
	}
	return out
}

// authDifference returns the events that are in the auth chains of some
// states and not in those of all.
//
// The full auth chain of a state is the chain of what all states agree in,
// which we do not want to walk, and the chain of its disputed events. So the
// difference is what is in the chains of the disputed events of some states
// and not of all, less what is in the chain of what they agree in. Only when
// something is left to be taken away is that chain looked at.
func (r *resolver) authDifference(ctx context.Context) ([]int32, error) {
	parts := r.parts()
	counts := make([]int32, len(r.g.nodes))
	var reached []int32
	for _, part := range parts {
		from := make([]int32, len(part))
		for i, id := range part {
			from[i] = r.g.node(id)
		}
		err := r.g.ancestors(from, r.g.newMark(), func(n int32) {
			if counts[n]++; counts[n] == 1 {
				reached = append(reached, n)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	candidates := slices.DeleteFunc(reached, func(n int32) bool { return int(counts[n]) == len(parts) })
	if len(candidates) == 0 {
		return nil, nil
	}
	return r.withoutAgreed(ctx, candidates)
}

// withoutAgreed takes away the candidates that are in the auth chain of an
// event in which all states agree. Those that are likely to have them there
// are looked at first; in most rooms that is enough.
func (r *resolver) withoutAgreed(ctx context.Context, candidates []int32) ([]int32, error) {
	candidates, err := r.withoutChains(ctx, candidates, r.likely(candidates))
	if err != nil || len(candidates) == 0 {
		return nil, err
	}
	agreed := make([]matrix.EventID, 0, len(r.sets[0]))
	for tuple, id := range r.sets[0] {
		if !r.disputed[tuple] {
			agreed = append(agreed, id)
		}
	}
	if store, ok := r.g.store.(ChainStore); ok {
		return r.askChains(ctx, store, candidates, agreed)
	}
	return r.withoutChains(ctx, candidates, agreed)
}

// likely returns of the events in which all states agree the power levels,
// the join rules, and the memberships of those of whom the candidates speak.
func (r *resolver) likely(candidates []int32) []matrix.EventID {
	var out []matrix.EventID
	asked := make(map[event.StateTuple]bool)
	add := func(tuple event.StateTuple) {
		if id, ok := r.unconflicted(tuple); ok && !asked[tuple] {
			asked[tuple] = true
			out = append(out, id)
		}
	}
	add(event.StateTuple{Type: typePowerLevels})
	add(event.StateTuple{Type: typeJoinRules})
	for _, n := range candidates {
		if e := r.g.event(n); e != nil {
			add(e.StateTuple())
			add(event.StateTuple{Type: typeMember, StateKey: string(e.Sender())})
		}
	}
	return out
}

// withoutChains takes away the candidates in the auth chains of the events,
// which are walked.
func (r *resolver) withoutChains(ctx context.Context, candidates []int32, of []matrix.EventID) ([]int32, error) {
	from, err := r.g.authOf(ctx, of)
	if err != nil {
		return nil, err
	}
	if err := r.g.walk(ctx, from); err != nil {
		return nil, err
	}
	seen := r.g.newMark()
	for _, n := range from {
		seen[n] = true
	}
	if err := r.g.ancestors(from, seen, func(int32) {}); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(candidates, seen.has), nil
}

// askChains is withoutChains by the index of the store.
func (r *resolver) askChains(ctx context.Context, store ChainStore, candidates []int32, of []matrix.EventID) ([]int32, error) {
	targets := make([]matrix.EventID, len(candidates))
	for i, n := range candidates {
		targets[i] = r.g.nodes[n].id
	}
	reached, err := store.Reached(ctx, of, targets)
	if err != nil {
		return nil, err
	}
	gone := r.g.newMark()
	for _, id := range reached {
		if n, ok := r.g.index[id]; ok {
			gone[n] = true
		}
	}
	return slices.DeleteFunc(candidates, gone.has), nil
}
