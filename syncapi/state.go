package syncapi

import (
	"cmp"
	"context"
	"math"
	"slices"

	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// lastPosition is after every event.
const lastPosition storage.Position = math.MaxInt64 / 2

// readBase reads the state now of the rooms whose state is told as a whole.
func (a *answer) readBase(ctx context.Context) error {
	var nids []int64
	for _, rm := range a.list {
		if rm.whole && !rm.hidden {
			nids = append(nids, rm.RoomNID)
		}
	}
	found, err := rooms.StateOfRooms(ctx, a.r, nids, !a.filter.lazy(), a.rules)
	if err != nil {
		return err
	}
	for nid, list := range found {
		base := make(map[event.StateTuple]int64, len(list))
		for _, e := range list {
			a.loaded[e.NID] = e
			base[e.StateTuple()] = e.NID
		}
		a.rooms[nid].base = base
	}
	return nil
}

// readDeltas reads how the state of the rooms changed, as far as that tells
// what it was before their timelines or at the end of their windows.
func (a *answer) readDeltas(ctx context.Context) error {
	var windows []rooms.Window
	for _, rm := range a.list {
		if !a.wantsDeltas(rm) {
			continue
		}
		w := rm.window
		if rm.whole {
			w.After = rm.start() - 1
			if a.since != nil && !rm.entered && !rm.gone {
				w.After = min(w.After, a.from)
			}
			if rm.section == left {
				w.UpTo = lastPosition
			}
		}
		if w.After < w.UpTo {
			windows = append(windows, w)
		}
	}
	var err error
	a.deltas, err = rooms.DeltasIn(ctx, a.r, windows)
	return err
}

func (a *answer) wantsDeltas(rm *room) bool {
	switch {
	case rm.whole && rm.section == left:
		return true
	case rm.whole && (a.since == nil || rm.entered):
		// The state now is what is told, but for what the timeline begins with.
		return !a.after() && slices.ContainsFunc(rm.timeline, func(e *rooms.Event) bool { return e.IsState() })
	}
	return rm.live()
}

// readState finds out which events tell each room's state: up to the start of
// the timeline, or where the client asks for it, up to its end.
//
// The state that a client ends with must be that of the room, also where it is
// the resolution of a fork and no event of the timeline says so.
func (a *answer) readState(ctx context.Context) error {
	chosen := make(map[*room]map[int64]bool, len(a.list))
	var want []int64
	for _, rm := range a.list {
		if rm.hidden || rm.bare {
			continue
		}
		list := a.choose(rm)
		chosen[rm] = list
		for nid := range list {
			want = append(want, nid)
		}
	}
	if err := a.events(ctx, want); err != nil {
		return err
	}
	f := &a.filter.Room.State
	for rm, list := range chosen {
		if !f.WantsRoom(rm.RoomID) {
			continue
		}
		for nid := range list {
			if e := a.loaded[nid]; e != nil && f.Wants(e) {
				rm.state = append(rm.state, e)
			}
		}
		slices.SortFunc(rm.state, func(x, y *rooms.Event) int { return cmp.Compare(x.NID, y.NID) })
	}
	return nil
}

// choose returns the numbers of the events that tell the state of a room.
func (a *answer) choose(rm *room) map[int64]bool {
	c := &choice{start: rm.start(), told: make(map[int64]bool), changes: make(map[event.StateTuple][]rooms.Delta),
		chosen: make(map[int64]bool)}
	if !a.after() {
		for _, e := range rm.timeline {
			c.told[e.NID] = e.IsState()
		}
	}
	for _, d := range a.deltas[rm.RoomNID] {
		switch {
		case d.Pos <= rm.window.UpTo:
			c.changes[d.StateTuple] = append(c.changes[d.StateTuple], d)
		case rm.base != nil: // undone: it is from after the user was in
			c.later = append(c.later, d)
		}
	}
	if rm.whole {
		c.whole(a.ends(rm, c.later))
		return c.chosen
	}
	for _, changes := range c.changes {
		c.changed(changes)
	}
	for key, nid := range rm.needed {
		c.unknown(key, nid)
	}
	return c.chosen
}

// ends returns the state at the end of the window of a room.
func (a *answer) ends(rm *room, later []rooms.Delta) map[event.StateTuple]int64 {
	ends := rm.base
	if ends == nil {
		ends = make(map[event.StateTuple]int64)
	}
	for key, nid := range rm.needed {
		ends[key] = nid
	}
	lazy := a.filter.lazy()
	for _, d := range slices.Backward(later) {
		if lazy && d.Type == typeMember {
			if _, needed := rm.needed[d.StateTuple]; !needed {
				continue
			}
		}
		ends[d.StateTuple] = d.OldNID
	}
	return ends
}

// choice is which events tell the state of one room.
type choice struct {
	start   storage.Position // of the timeline
	told    map[int64]bool   // state events that the timeline has
	changes map[event.StateTuple][]rooms.Delta
	later   []rooms.Delta // from after the window
	chosen  map[int64]bool
}

func (c *choice) add(nid int64) {
	if nid != 0 {
		c.chosen[nid] = true
	}
}

// whole chooses all of a state: what the timeline ends with is told as it was
// before the timeline.
func (c *choice) whole(ends map[event.StateTuple]int64) {
	for key, end := range ends {
		if !c.told[end] {
			c.add(end)
		} else if old, changed := c.before(key); changed {
			c.add(old)
		}
	}
}

// changed chooses what tells the changes of one key.
func (c *choice) changed(changes []rooms.Delta) {
	last := changes[len(changes)-1]
	switch {
	case !c.told[last.NewNID]:
		c.add(last.NewNID)
	case changes[0].Pos < c.start:
		if old, changed := c.before(last.StateTuple); changed {
			c.add(old)
		}
	}
}

// unknown chooses what tells a key that the client needs and may not have.
func (c *choice) unknown(key event.StateTuple, now int64) {
	if !c.told[now] {
		c.add(now)
	} else if old, changed := c.before(key); changed {
		c.add(old)
	}
}

// before returns the event of a key before the timeline; ok is false where the
// key did not change in it.
func (c *choice) before(key event.StateTuple) (nid int64, ok bool) {
	for _, d := range c.changes[key] {
		if d.Pos >= c.start {
			return d.OldNID, true
		}
	}
	return 0, false
}

// after reports whether the client wants the state at the end of the timeline.
func (a *answer) after() bool { return a.req.UseStateAfter || a.req.UseUnstableStateAfter }
