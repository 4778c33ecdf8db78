package stateres

import (
	"context"
	"fmt"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

// node is an event in a graph, known by a number so that walking the graph
// needs no map.
type node struct {
	id    matrix.EventID
	event *event.Event // nil where it is not loaded or the store lacks it
	auth  []int32      // its auth events, once it is linked

	asked, linked bool
}

// graph is the part of the graph of auth events that a resolution has seen.
type graph struct {
	store Store
	meter *meter
	room  matrix.RoomID // of the first event that was loaded
	index map[matrix.EventID]int32
	nodes []node
	edges []int32 // of all nodes, in one piece
}

func newGraph(store Store, m *meter, size int) *graph {
	return &graph{
		store: store, meter: m,
		index: make(map[matrix.EventID]int32, size),
		nodes: make([]node, 0, size),
	}
}

// node returns the number of an event, new or not.
func (g *graph) node(id matrix.EventID) int32 {
	if n, ok := g.index[id]; ok {
		return n
	}
	n := int32(len(g.nodes))
	g.index[id] = n
	g.nodes = append(g.nodes, node{id: id})
	return n
}

// event returns the event of a node, nil where the store lacks it.
func (g *graph) event(n int32) *event.Event { return g.nodes[n].event }

// load fetches the events of those nodes that were not asked for before. What
// the store lacks, and what is of another room, stays nil.
func (g *graph) load(ctx context.Context, nodes []int32) error {
	ids := make([]matrix.EventID, 0, len(nodes))
	for _, n := range nodes {
		if !g.nodes[n].asked {
			g.nodes[n].asked = true
			ids = append(ids, g.nodes[n].id)
		}
	}
	events, err := g.fetch(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		e := events[id]
		if e == nil {
			continue
		}
		if g.room == "" {
			g.room = e.RoomID()
		}
		if e.RoomID() == g.room {
			g.nodes[g.index[id]].event = e
		}
	}
	return nil
}

// link makes the edges from a loaded node to its auth events.
func (g *graph) link(n int32) {
	if g.nodes[n].linked {
		return
	}
	g.nodes[n].linked = true
	e := g.nodes[n].event
	if e == nil {
		return
	}
	start := len(g.edges)
	for _, id := range e.AuthEvents() {
		g.edges = append(g.edges, g.node(id)) // may move g.nodes
	}
	g.nodes[n].auth = g.edges[start:len(g.edges):len(g.edges)]
}

// authOf loads events and returns their auth events, each once, without
// making nodes of the events themselves: of a large state most are leaves.
func (g *graph) authOf(ctx context.Context, ids []matrix.EventID) ([]int32, error) {
	events, err := g.fetch(ctx, ids)
	if err != nil {
		return nil, err
	}
	var out []int32
	seen := g.newMark()
	for _, e := range events {
		if e == nil || e.RoomID() != g.room {
			continue
		}
		for _, id := range e.AuthEvents() {
			n := g.node(id)
			for int(n) >= len(seen) {
				seen = append(seen, false)
			}
			if !seen[n] {
				seen[n] = true
				out = append(out, n)
			}
		}
	}
	return out, nil
}

// fetch asks the store for events and counts them.
func (g *graph) fetch(ctx context.Context, ids []matrix.EventID) (map[matrix.EventID]*event.Event, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if err := g.meter.visit(len(ids)); err != nil {
		return nil, err
	}
	events, err := g.store.Events(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("load events for state resolution: %w", err)
	}
	return events, ctx.Err()
}

// walk loads the nodes and everything in their auth chains, level by level.
func (g *graph) walk(ctx context.Context, from []int32) error {
	level := from
	for len(level) > 0 {
		if err := g.load(ctx, level); err != nil {
			return err
		}
		var next []int32
		for _, n := range level {
			if g.nodes[n].linked {
				continue
			}
			g.link(n)
			for _, a := range g.nodes[n].auth {
				if !g.nodes[a].linked {
					next = append(next, a)
				}
			}
		}
		level = next
	}
	return nil
}

// mark is a set of nodes.
type mark []bool

func (m mark) has(n int32) bool { return int(n) < len(m) && m[n] }

// newMark returns an empty set that has room for every node of today.
func (g *graph) newMark() mark { return make(mark, len(g.nodes)) }

// ancestors adds to seen every node in the auth chains of from, which must
// have been walked. A node of from is added only if it is in the chain of
// another. what is called for each, once.
func (g *graph) ancestors(from []int32, seen mark, what func(int32)) error {
	stack := append([]int32(nil), from...)
	visited := 0
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, a := range g.nodes[n].auth {
			if !seen[a] {
				seen[a] = true
				visited++
				what(a)
				stack = append(stack, a)
			}
		}
	}
	return g.meter.visit(visited)
}

// order returns the nodes and their auth chains, every event after its auth
// events. The nodes must have been walked. It is for room versions whose IDs
// are hashes: a circle would come out in some order.
func (g *graph) order(from []int32) []int32 {
	const unseen, open, done = 0, 1, 2
	state := make([]uint8, len(g.nodes))
	var out []int32
	stack := append([]int32(nil), from...)
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		switch state[n] {
		case unseen:
			state[n] = open
			for _, a := range g.nodes[n].auth {
				if state[a] == unseen {
					stack = append(stack, a)
				}
			}
			continue
		case open:
			state[n] = done
			out = append(out, n)
		}
		stack = stack[:len(stack)-1]
	}
	return out
}
