package stateres

import "context"

// loadNeeded loads those events of the unconflicted state that the checks of
// the full conflicted set look at.
func (r *resolver) loadNeeded(ctx context.Context) error {
	return r.g.load(ctx, r.view.needed(r.full, r.rules))
}

// apply is the iterative auth checks algorithm: every event that is allowed
// by what came before becomes a part of the state.
//
// https://spec.matrix.org/v1.19/rooms/v2/#definitions
func (r *resolver) apply(events []int32) error {
	for _, n := range events {
		if err := r.g.meter.visit(1); err != nil {
			return err
		}
		if r.view.allows(n, true) {
			r.view.set(n)
		}
	}
	return nil
}
