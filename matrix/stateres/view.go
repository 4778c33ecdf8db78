package stateres

import (
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
)

// view is the state that the iterative auth checks judge by: the state
// resolved so far, below it what the states agree in (algorithm 2) and below
// that the auth events of the event that is being checked.
//
// It is an eventauth.LeveledState: most events of a resolution are judged by
// few power levels.
type view struct {
	g     *graph
	state map[event.StateTuple]int32
	base  func(event.StateTuple) (matrix.EventID, bool) // nil in algorithm 2.1

	create *event.Event // from version 12 on
	own    int32        // whose auth events are looked at, or none
	levels map[levelKey]levelsOf
}

const none = int32(-1)

// levelKey names the two events that levels come from.
type levelKey struct{ create, power *event.Event }

type levelsOf struct {
	levels *eventauth.PowerLevels
	err    error
}

func newView(g *graph) view {
	return view{g: g, own: none, state: make(map[event.StateTuple]int32), levels: make(map[levelKey]levelsOf)}
}

// Event implements eventauth.State.
func (v *view) Event(typ, key string) *event.Event {
	tuple := event.StateTuple{Type: typ, StateKey: key}
	if n, ok := v.state[tuple]; ok {
		return v.g.event(n)
	}
	if v.base != nil {
		if id, ok := v.base(tuple); ok {
			if n, ok := v.g.index[id]; ok && v.g.event(n) != nil {
				return v.g.event(n)
			}
		}
	}
	if v.own == none {
		return nil
	}
	for _, a := range v.g.nodes[v.own].auth {
		if e := v.g.event(a); e != nil && e.IsStateKey(typ, key) && !v.g.store.Rejected(e.ID()) {
			return e
		}
	}
	return nil
}

// PowerLevels implements eventauth.LeveledState.
func (v *view) PowerLevels() (*eventauth.PowerLevels, error) {
	return v.levelsBy(v.createEvent(), v.Event(typePowerLevels, ""))
}

// levelsBy returns the levels that two events make, parsed once.
func (v *view) levelsBy(create, power *event.Event) (*eventauth.PowerLevels, error) {
	key := levelKey{create, power}
	out, ok := v.levels[key]
	if !ok {
		out.levels, out.err = eventauth.EffectivePowerLevels(create, power)
		v.levels[key] = out
	}
	return out.levels, out.err
}

// createEvent returns the create event to judge by.
func (v *view) createEvent() *event.Event {
	if v.create != nil {
		return v.create
	}
	return v.Event(typeCreate, "")
}

// allows reports whether the event of a node may be in the state that v
// shows, with its own auth events where v has nothing (own is true).
func (v *view) allows(n int32, own bool) bool {
	v.own = none
	if own {
		v.own = n
	}
	e := v.g.event(n)
	var create *event.Event
	if e.Type() != typeCreate {
		create = v.createEvent()
	}
	return eventauth.Check(e, v, create) == nil
}

// set puts the event of a node into the state.
func (v *view) set(n int32) {
	e := v.g.event(n)
	if key, ok := e.StateKey(); ok {
		v.state[event.StateTuple{Type: e.Type(), StateKey: key}] = n
	}
}

// needed adds to out the nodes of the base that the events look at.
func (v *view) needed(events []int32, rules *matrix.VersionRules) []int32 {
	var out []int32
	for _, n := range events {
		for _, tuple := range eventauth.NeededFor(eventauth.SubjectOf(v.g.event(n)), rules) {
			if id, ok := v.base(tuple); ok {
				out = append(out, v.g.node(id))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
