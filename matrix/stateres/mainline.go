package stateres

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// unrelated is the mainline position of an event whose power levels do not
// lead to the mainline.
const unrelated = math.MaxInt32

// mainlineOrder sorts events by the mainline ordering, based on the power
// levels of the state resolved so far.
//
// https://spec.matrix.org/v1.19/rooms/v2/#definitions
func (r *resolver) mainlineOrder(ctx context.Context, events []int32) error {
	positions, err := r.mainline(ctx)
	if err != nil {
		return err
	}
	places := make(map[int32]int32, len(events))
	for _, n := range events {
		if places[n], err = r.mainlinePosition(n, positions); err != nil {
			return err
		}
	}
	slices.SortFunc(events, func(x, y int32) int {
		a, b := r.g.event(x), r.g.event(y)
		return cmp.Or(
			cmp.Compare(places[y], places[x]), // the greater position is the older one
			cmp.Compare(a.OriginServerTS(), b.OriginServerTS()),
			cmp.Compare(a.ID(), b.ID()),
		)
	})
	return nil
}

// mainline returns the positions of the power levels of the state and of all
// that they are based on.
func (r *resolver) mainline(ctx context.Context) (map[int32]int32, error) {
	positions := make(map[int32]int32)
	r.view.own = none
	head := r.view.Event(typePowerLevels, "")
	if head == nil {
		return positions, nil
	}
	n := r.g.node(head.ID())
	for n != none {
		if _, again := positions[n]; again { // a circle
			break
		}
		positions[n] = int32(len(positions))
		if err := r.g.meter.visit(1); err != nil {
			return nil, err
		}
		r.g.link(n)
		if err := r.g.load(ctx, r.g.nodes[n].auth); err != nil {
			return nil, err
		}
		n = r.powerOfAuth(n)
	}
	return positions, nil
}

// mainlinePosition returns the position of the first event of the mainline
// that the power levels of n lead to. Every power level event on the way gets
// the same position, so that none is walked twice.
func (r *resolver) mainlinePosition(n int32, positions map[int32]int32) (int32, error) {
	position := int32(unrelated)
	var way []int32
	for p := r.powerOfAuth(n); p != none; p = r.powerOfAuth(p) {
		if known, ok := positions[p]; ok {
			position = known
			break
		}
		if len(way) > len(r.g.nodes) { // a circle
			break
		}
		way = append(way, p)
	}
	for _, p := range way {
		positions[p] = position
	}
	return position, r.g.meter.visit(len(way))
}

// powerOfAuth returns the power levels among the auth events of a node, or none.
func (r *resolver) powerOfAuth(n int32) int32 {
	for _, a := range r.g.nodes[n].auth {
		if e := r.g.event(a); e != nil && e.IsStateKey(typePowerLevels, "") {
			return a
		}
	}
	return none
}
