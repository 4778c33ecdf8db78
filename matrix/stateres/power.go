package stateres

import (
	"cmp"
	"container/heap"

	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
)

const (
	typeCreate      = "m.room.create"
	typeMember      = "m.room.member"
	typeJoinRules   = "m.room.join_rules"
	typePowerLevels = "m.room.power_levels"
)

// isPowerEvent reports whether an event may take away somebody's ability to
// do something.
//
// https://spec.matrix.org/v1.19/rooms/v2/#definitions
func isPowerEvent(e *event.Event) bool {
	key, isState := e.StateKey()
	switch e.Type() {
	case typePowerLevels, typeJoinRules:
		return isState
	case typeMember:
		membership := e.Membership()
		return isState && (membership == "leave" || membership == "ban") && key != string(e.Sender())
	}
	return false
}

// powerEvents is step 1 without the order: the power events of the full
// conflicted set, and what of it is in their auth chains.
func (r *resolver) powerEvents() (mark, error) {
	in := r.g.newMark()
	for _, n := range r.full {
		in[n] = true
	}
	var events []int32
	for _, n := range r.full {
		if isPowerEvent(r.g.event(n)) {
			events = append(events, n)
		}
	}
	power := r.g.newMark()
	for _, n := range events {
		power[n] = true
	}
	err := r.g.ancestors(events, r.g.newMark(), func(n int32) { power[n] = power[n] || in[n] })
	return power, err
}

// remaining returns the full conflicted set without the events of step 1.
func (r *resolver) remaining(power mark) []int32 {
	var rest []int32
	for _, n := range r.full {
		if !power.has(n) {
			rest = append(rest, n)
		}
	}
	return rest
}

// powerOf is what the reverse topological power ordering compares by.
type powerOf struct {
	level eventauth.Level
	ts    int64
	id    string
}

// compare puts the greater level first, then the earlier event.
func (p powerOf) compare(q powerOf) int {
	return cmp.Or(cmp.Compare(q.level, p.level), cmp.Compare(p.ts, q.ts), cmp.Compare(p.id, q.id))
}

// powerOrder sorts the marked events by the reverse topological power
// ordering. It is Kahn's algorithm on the auth chains of the events: what is
// not marked goes as soon as it can, and of the marked ones that could go the
// smallest does. So the result respects the auth chains also where they pass
// through events that are not sorted.
//
// https://spec.matrix.org/v1.19/rooms/v2/#definitions
func (r *resolver) powerOrder(marked mark) ([]int32, error) {
	g := r.g
	var from []int32
	for _, n := range r.full {
		if marked[n] {
			from = append(from, n)
		}
	}
	part := newPart(g, from)
	if err := g.meter.visit(len(part.nodes)); err != nil {
		return nil, err
	}
	var (
		sorted []int32
		free   []int32
		ready  = &powerHeap{of: r.powerOf}
	)
	emit := func(n int32) {
		if marked[n] {
			heap.Push(ready, n)
		} else {
			free = append(free, n)
		}
	}
	for _, n := range part.nodes {
		if part.waits[n] == 0 {
			emit(n)
		}
	}
	for len(free) > 0 || ready.Len() > 0 {
		var n int32
		if len(free) > 0 {
			n, free = free[len(free)-1], free[:len(free)-1]
		} else {
			n = heap.Pop(ready).(int32)
			sorted = append(sorted, n)
		}
		for _, child := range part.children[n] {
			if part.waits[child]--; part.waits[child] == 0 {
				emit(child)
			}
		}
	}
	return sorted, nil // what is in a circle is in no order, and authorised by nothing
}

// part is some events with their auth chains, and the edges backwards.
type part struct {
	nodes    []int32
	waits    []int32 // how many auth events are still to come
	children [][]int32
}

func newPart(g *graph, from []int32) *part {
	p := &part{waits: make([]int32, len(g.nodes)), children: make([][]int32, len(g.nodes))}
	seen := g.newMark()
	for _, n := range from {
		seen[n] = true
	}
	p.nodes = append(p.nodes, from...)
	for i := 0; i < len(p.nodes); i++ { // grows while it is walked
		n := p.nodes[i]
		p.waits[n] = int32(len(g.nodes[n].auth))
		for _, a := range g.nodes[n].auth {
			p.children[a] = append(p.children[a], n)
			if !seen[a] {
				seen[a] = true
				p.nodes = append(p.nodes, a)
			}
		}
	}
	return p
}

// powerOf returns what a node is compared by, computed once.
func (r *resolver) powerOf(n int32) powerOf {
	if p, ok := r.powers[n]; ok {
		return p
	}
	e := r.g.event(n)
	p := powerOf{level: r.senderLevel(n), ts: e.OriginServerTS(), id: string(e.ID())}
	r.powers[n] = p
	return p
}

// senderLevel returns the level of an event's sender by the event's own auth
// events. Without power levels among them the creator has 100, or from
// version 12 on infinite power; without a create event nobody has any.
func (r *resolver) senderLevel(n int32) eventauth.Level {
	create, power := r.create, (*event.Event)(nil)
	for _, a := range r.g.nodes[n].auth {
		e := r.g.event(a)
		switch {
		case e == nil:
		case e.IsStateKey(typePowerLevels, ""):
			power = e
		case e.IsStateKey(typeCreate, ""):
			create = e
		}
	}
	levels, err := r.view.levelsBy(create, power)
	if err != nil {
		return 0
	}
	return levels.User(r.g.event(n).Sender())
}

// powerHeap is a heap of nodes for Kahn's algorithm.
type powerHeap struct {
	of    func(int32) powerOf
	nodes []int32
}

func (h *powerHeap) Len() int           { return len(h.nodes) }
func (h *powerHeap) Less(i, j int) bool { return h.of(h.nodes[i]).compare(h.of(h.nodes[j])) < 0 }
func (h *powerHeap) Swap(i, j int)      { h.nodes[i], h.nodes[j] = h.nodes[j], h.nodes[i] }
func (h *powerHeap) Push(n any)         { h.nodes = append(h.nodes, n.(int32)) }
func (h *powerHeap) Pop() any {
	last := len(h.nodes) - 1
	n := h.nodes[last]
	h.nodes = h.nodes[:last]
	return n
}
