package syncapi

import (
	"context"
	"slices"

	"beffroi/roomserver"
	"beffroi/storage/rooms"
)

// maxScan bounds how many events of a room are held against a filter for one
// answer. What is left the client asks for with prev_batch.
const maxScan = 1000

// readTimelines reads the last events of the rooms.
func (a *answer) readTimelines(ctx context.Context) error {
	var open []*room
	var bare []int64
	for _, rm := range a.list {
		rm.floor = rm.window.After
		switch {
		case rm.hidden:
		case rm.bare:
			bare = append(bare, rm.EventNID)
		case rm.live() && !wantsNothing(&a.filter.Room.Timeline):
			open = append(open, rm)
		}
	}
	for scan := a.filter.Room.Timeline.Limit; len(open) > 0; scan = min(scan*10, maxScan) {
		again, err := a.scan(ctx, open, scan)
		if err != nil {
			return err
		}
		open = again
	}
	if err := a.events(ctx, bare); err != nil {
		return err
	}
	for _, rm := range a.list {
		if e := a.loaded[rm.EventNID]; e != nil && !rm.hidden && rm.section == left && (rm.bare || rm.Pos > rm.window.UpTo) {
			rm.timeline = append(rm.timeline, e) // their own leave or ban, which came after they were in
		}
	}
	return nil
}

// scan looks at the last events of some rooms and returns the rooms in which
// the filter found too few.
func (a *answer) scan(ctx context.Context, open []*room, scan int) (again []*room, err error) {
	windows := make([]rooms.Window, len(open))
	for i, rm := range open {
		windows[i] = rm.window
	}
	tails, err := rooms.Tails(ctx, a.r, windows, scan, a.rules)
	if err != nil {
		return nil, err
	}
	var all []*rooms.Event
	for _, tail := range tails {
		all = append(all, tail.Events...)
	}
	if err := a.sights.Look(ctx, a.r, all); err != nil {
		return nil, err
	}
	f := &a.filter.Room.Timeline
	for _, rm := range open {
		tail := tails[rm.RoomNID]
		if tail == nil {
			continue
		}
		a.take(rm, tail)
		if !f.All() && len(rm.timeline) < f.Limit && tail.Floor > rm.window.After && scan < maxScan {
			again = append(again, rm)
		}
	}
	return again, nil
}

// take puts the last events that the client sees and wants into a timeline.
func (a *answer) take(rm *room, tail *rooms.Tail) {
	f := &a.filter.Room.Timeline
	wanted := f.WantsRoom(rm.RoomID)
	rm.timeline, rm.floor = nil, tail.Floor
	for i := len(tail.Events) - 1; i >= 0; i-- {
		e := tail.Events[i]
		if !wanted || !a.sights.Sees(e) || !f.Wants(e) || a.ignored[e.Sender()] && !e.IsState() {
			continue
		}
		if len(rm.timeline) == f.Limit {
			rm.floor = e.Pos
			break
		}
		rm.timeline = append(rm.timeline, e)
	}
	slices.Reverse(rm.timeline)
}

// limited reports whether there is more in the window than the timeline has. A
// client that enters a room begins anew: what it may have of the room from an
// earlier stay is older than a gap.
func (a *answer) limited(rm *room) bool {
	return !rm.bare && (rm.floor > rm.window.After || rm.entered && a.since != nil)
}

// prevBatch returns where the history before the timeline begins.
func (a *answer) prevBatch(rm *room) string {
	switch {
	case len(rm.timeline) > 0 && rm.timeline[0].Pos != 0:
		return roomserver.Token(rm.timeline[0].Pos - 1)
	case rm.floor > beginning:
		return roomserver.Token(rm.floor)
	}
	return roomserver.Token(a.to)
}
