package roomserver_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// heal brings the network together and delivers all that is outstanding. From
// here on everybody hears and may ask everything: by the rules of the room a
// resolution can take a server out of it that never hears of the fork.
func (c *chaos) heal() {
	c.tell("the end begins")
	c.net.divide(nil)
	c.healed = true
	c.drain()
	c.checkTips()
	c.net.open = true
}

func (c *chaos) drain() {
	for range 2000 {
		if len(c.waiting()) == 0 {
			return
		}
		c.deliver(10)
	}
	c.t.Error("what is under way never ends")
}

// merge lets a user of each server say something after all that it knows, and
// then one of them after all of that.
func (c *chaos) merge() {
	for round := range 3 {
		for server, nd := range c.nodes {
			for n := range usersEach {
				if c.joined(nd, c.user(server, n)) && c.send(server, c.user(server, n), "m.room.message", nil,
					map[string]any{"body": fmt.Sprint("merge ", round)}) != "" {
					break
				}
			}
			if round > 0 {
				c.drain()
			}
		}
		c.drain()
	}
}

func (c *chaos) joined(nd *node, user matrix.UserID) bool {
	id, ok := c.stateOf(nd)["m.room.member|"+string(user)]
	return ok && stored(c.t, nd, id).Membership() == "join"
}

// residents returns the servers that are in the room by their own view.
func (c *chaos) residents() (in []*node) {
	for server, nd := range c.nodes {
		for n := range usersEach {
			if c.joined(nd, c.user(server, n)) {
				in = append(in, nd)
				break
			}
		}
	}
	return in
}

// check compares the servers that are in the room.
func (c *chaos) check() {
	for _, nd := range c.nodes {
		verify(c.t, nd)
	}
	c.checkTips()
	in := c.agreed(c.residents())
	if len(in) == 0 {
		return // everybody has left
	}
	first := in[0]
	if !c.lossy { // who leaves a room and is not heard is missed by nobody
		c.checkMembers(first)
	}
	for _, nd := range in {
		same(c.t, first, nd, c.room)
		if a, b := tips(c.t, first, c.room), tips(c.t, nd, c.room); !slices.Equal(a, b) || len(a) != 1 {
			c.t.Errorf("%s has the tips %v, %s has %v", first.Name(), a, nd.Name(), b)
		}
	}
	c.checkVerdicts(in)
}

// agreed leaves out the servers that a resolution has put out of the room: who
// has done nothing wrong may be, where the rules of the room changed beside its
// join. What it says is soft-failed by all others, and so is never merged.
func (c *chaos) agreed(in []*node) (rest []*node) {
	for _, nd := range in {
		accepted := func(other *node) bool {
			last, ok := c.verdicts(other)[c.last[nd.Name()]]
			return other == nd || !ok || last == rooms.Accepted
		}
		if votes := slices.IndexFunc(in, func(other *node) bool { return other != nd && accepted(other) }); votes >= 0 || len(in) == 1 {
			rest = append(rest, nd)
		}
	}
	return rest
}

// checkMembers compares whom a server believes to be in the room with who
// believes it.
func (c *chaos) checkMembers(first *node) {
	for server, nd := range c.nodes {
		if c.verdicts(first)[c.last[nd.Name()]] == rooms.SoftFailed {
			continue
		}
		for n := range usersEach {
			user := c.user(server, n)
			if a, b := c.joined(first, user), c.joined(nd, user); a != b {
				c.t.Errorf("%s joined: %v on %s, %v on its own server", user, a, first.Name(), b)
			}
		}
	}
}

// checkTips looks for tips that are of the past of others: what would bring
// back the state of their time.
func (c *chaos) checkTips() {
	all := make(map[matrix.EventID]*rooms.Event)
	for _, nd := range c.nodes {
		must(c.t, nd.db.View(c.t.Context(), func(r *storage.Reader) error {
			found, err := rooms.Events(c.t.Context(), r, c.events)
			for id, e := range found {
				if e.Status != rooms.Rejected || all[id] == nil {
					all[id] = e
				}
			}
			return err
		}))
	}
	for _, nd := range c.nodes {
		if _, err := c.row(nd); err != nil {
			continue
		}
		ends := tips(c.t, nd, c.room)
		for _, id := range ends {
			for _, past := range ancestors(all, id) {
				if slices.Contains(ends, past) {
					c.t.Errorf("%s has the tip %s, which is of the past of %s", nd.Name(), past, id)
				}
			}
		}
	}
}

// ancestors returns the events before one, of those that are known.
func ancestors(all map[matrix.EventID]*rooms.Event, of matrix.EventID) (found []matrix.EventID) {
	seen := make(map[matrix.EventID]bool)
	for queue := []matrix.EventID{of}; len(queue) > 0; queue = queue[1:] {
		if e := all[queue[0]]; e != nil {
			for _, id := range e.PrevEvents() {
				if !seen[id] {
					seen[id] = true
					found, queue = append(found, id), append(queue, id)
				}
			}
		}
	}
	return found
}

// checkVerdicts compares what became of the events. Whether one is soft-failed
// depends on when it came; whether one is rejected must not.
func (c *chaos) checkVerdicts(in []*node) {
	all := make([]map[matrix.EventID]rooms.Status, len(in))
	for i, nd := range in {
		all[i] = c.verdicts(nd)
	}
	for i, nd := range in[1:] {
		for _, id := range slices.Sorted(maps.Keys(all[0])) {
			was, is := all[0][id], all[i+1][id]
			if is != 0 && (was == rooms.Rejected) != (is == rooms.Rejected) {
				c.t.Errorf("event %s is %s on %s (%s) and %s on %s (%s)", id, was, in[0].Name(), stored(c.t, in[0], id).Reason,
					is, nd.Name(), stored(c.t, nd, id).Reason)
			}
		}
	}
}

// verdicts returns the events that have a place on a server.
func (c *chaos) verdicts(nd *node) map[matrix.EventID]rooms.Status {
	out := make(map[matrix.EventID]rooms.Status)
	must(c.t, nd.db.View(c.t.Context(), func(r *storage.Reader) error {
		found, err := rooms.Events(c.t.Context(), r, c.events)
		for id, e := range found {
			if e.Status != rooms.Outlier {
				out[id] = e.Status
			}
		}
		return err
	}))
	return out
}

// explain tells the events, the oldest first, before which servers have
// different states: the first of them is where they part.
func (c *chaos) explain() {
	ctx := c.t.Context()
	type view struct {
		nd    *node
		e     *rooms.Event
		state map[string]matrix.EventID
	}
	views := make(map[matrix.EventID][]view)
	for _, nd := range c.nodes {
		must(c.t, nd.db.View(ctx, func(r *storage.Reader) error {
			found, err := rooms.Events(ctx, r, c.events)
			if err != nil {
				return err
			}
			for id, e := range found {
				if e.Status == rooms.Outlier || e.Pos < 0 {
					continue
				}
				before, err := rooms.StateBeforeEvent(ctx, r, e)
				if err != nil {
					return err
				}
				v := view{nd, e, make(map[string]matrix.EventID)}
				for t, nid := range before {
					names, err := rooms.NIDsToIDs(ctx, r, []int64{nid})
					if err != nil {
						return err
					}
					v.state[t.Type+"|"+t.StateKey] = names[nid]
				}
				views[id] = append(views[id], v)
			}
			return nil
		}))
	}
	ids := slices.SortedFunc(maps.Keys(views), func(a, b matrix.EventID) int {
		return cmp.Or(cmp.Compare(views[a][0].e.Depth(), views[b][0].e.Depth()), cmp.Compare(a, b))
	})
	for _, id := range ids {
		for _, v := range views[id] {
			first := views[id][0]
			c.t.Logf("%s depth %d %s on %s pos %d %s snapshot %d prev %v %s: same %v", id, v.e.Depth(), v.e.Type(), v.nd.Name(), v.e.Pos,
				v.e.Status, v.e.SnapshotNID, v.e.PrevEvents(), v.e.Content(), maps.Equal(first.state, v.state))
			for _, key := range slices.Sorted(maps.Keys(first.state)) {
				if first.state[key] != v.state[key] {
					c.t.Logf("    %s: %s, not %s", key, v.state[key], first.state[key])
				}
			}
			for _, key := range slices.Sorted(maps.Keys(v.state)) {
				if first.state[key] == "" {
					c.t.Logf("    %s: %s, not there", key, v.state[key])
				}
			}
		}
	}
}
