package syncapi

import (
	"context"
	"encoding/json"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// roomNews is what there is to tell of a room.
type roomNews struct {
	rm       *room
	prior    *wish // the state that the client has, nil where it has none
	initial  bool  // all is told, not what changed
	expanded bool  // the timeline has more of the past than the client had
	limited  bool

	changes map[event.StateTuple]int64 // what changed of the state, by number, 0 for none any more
	removed []event.StateTuple         // of what the client wants
	name    *string                    // nil: not told; "" none any more
	avatar  *string
	heroes  []hero
	counted bool // the numbers of members are told
	bump    storage.Position
}

// hero is somebody after whom a room without a name is called.
type hero struct {
	user matrix.UserID
	e    *rooms.Event // membership
}

// readRooms reads the rooms that there may be something to tell of.
func (a *slideAnswer) readRooms(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		a.openRooms, a.readInvites, a.readLatest, a.readChanges, a.readWhole, a.readWanted, a.readLazy, a.readNames,
		a.chooseState, a.readHeroes, a.readBumps, a.renderEvents,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	for _, rm := range a.list {
		if p := a.byNID[rm.RoomNID]; a.tells(p) {
			a.told = append(a.told, p)
		}
	}
	return nil
}

// openRooms finds out how the user stands in the rooms.
func (a *slideAnswer) openRooms(ctx context.Context) error {
	var nids, turned []int64
	for _, p := range a.picks {
		if p.look {
			nids = append(nids, p.nid)
		}
	}
	standings, err := rooms.StandingsIn(ctx, a.r, a.req.User, nids)
	if err != nil {
		return err
	}
	members := make(map[int64]rooms.Member, len(standings))
	for i := range standings {
		m := &standings[i]
		p := a.byNID[m.RoomNID]
		members[m.RoomNID] = m.Member
		if m.Forgotten {
			continue
		}
		rm := &room{Standing: *m, from: p.sent.since(streamEvents, a.from), fresh: !p.had}
		if !p.had {
			rm.from = beginning
		}
		a.rooms[m.RoomNID] = rm
		if p.had && m.Pos > rm.from || m.Membership == "leave" || m.Membership == "ban" {
			turned = append(turned, m.RoomNID)
		}
	}
	a.sights = roomserver.NewSights(a.req.User, members)
	courses, err := a.courses(ctx, turned)
	if err != nil {
		return err
	}
	for nid, rm := range a.rooms {
		p := a.byNID[nid]
		p.rm = rm
		p.open(rm, courses[nid], a.to)
		a.list = append(a.list, rm)
	}
	slices.SortFunc(a.list, func(x, y *room) int { return int(x.RoomNID - y.RoomNID) })
	return nil
}

// open finds out what of a room is told.
func (p *pick) open(rm *room, course []phase, to storage.Position) {
	rm.window = rooms.Window{RoomNID: rm.RoomNID, After: rm.from, UpTo: to}
	turned := rm.Pos > rm.from
	switch rm.Membership {
	case "join":
		rm.entered = rm.fresh || turned && !throughout(course, rm.from)
		rm.whole = rm.entered
	case "invite", "knock":
		rm.section = invited
		if rm.Membership == "knock" {
			rm.section = knocked
		}
		p.initial = rm.fresh || turned
		return
	default:
		rm.section = left
		end, was := lastJoined(course)
		if rm.bare = !was; rm.bare {
			return
		}
		rm.window.UpTo = end
		rm.whole = rm.fresh || turned && end > rm.from && !joinedAt(course, rm.from) || !p.sent.wish.covers(p.wish)
	}
	p.initial = rm.whole
	if p.had {
		p.prior = p.sent.wish
	}
	if p.initial {
		p.prior = nil
	}
	p.expanded = !p.initial && p.limit > p.sent.limit
	if p.initial || p.expanded {
		rm.window.After = beginning
	}
}

// readLatest reads the last events of the rooms.
func (a *slideAnswer) readLatest(ctx context.Context) error {
	byLimit := make(map[int][]*pick)
	var own []int64
	for _, rm := range a.list {
		p := a.byNID[rm.RoomNID]
		rm.floor = rm.window.After
		if rm.section == left && (rm.bare || rm.Pos > rm.window.UpTo) && rm.Pos > rm.from {
			own = append(own, rm.EventNID)
		}
		if rm.live() {
			byLimit[p.limit] = append(byLimit[p.limit], p)
		}
	}
	for limit, list := range byLimit {
		if err := a.readTails(ctx, list, limit); err != nil {
			return err
		}
	}
	if err := a.events(ctx, own); err != nil {
		return err
	}
	for _, rm := range a.list {
		p := a.byNID[rm.RoomNID]
		if e := a.loaded[rm.EventNID]; e != nil && slices.Contains(own, rm.EventNID) && p.limit > 0 {
			rm.timeline = append(rm.timeline, e) // their own leave or ban, which came after they were in
		}
		p.limited = !rm.bare && rm.floor > rm.window.After
	}
	return nil
}

func (a *slideAnswer) readTails(ctx context.Context, list []*pick, limit int) error {
	windows := make([]rooms.Window, len(list))
	for i, p := range list {
		windows[i] = p.rm.window
	}
	tails, err := rooms.Tails(ctx, a.r, windows, limit, a.rules)
	if err != nil {
		return err
	}
	var all []*rooms.Event
	for _, tail := range tails {
		all = append(all, tail.Events...)
	}
	if err := a.sights.Look(ctx, a.r, all); err != nil {
		return err
	}
	for _, p := range list {
		tail := tails[p.nid]
		if tail == nil {
			continue
		}
		p.rm.floor = tail.Floor
		for _, e := range tail.Events {
			if a.sights.Sees(e) && (e.IsState() || !a.ignored[e.Sender()]) {
				p.rm.timeline = append(p.rm.timeline, e)
			}
		}
	}
	return nil
}

// tells reports whether there is something to tell of a room.
func (a *slideAnswer) tells(p *pick) bool {
	rm := p.rm
	if rm.hidden {
		return false
	}
	if p.initial || p.expanded || p.limited || rm.section == left && rm.Pos > rm.from {
		return true
	}
	return len(rm.events)+len(rm.stateEvents)+len(p.removed) > 0 || p.name != nil || p.avatar != nil || p.counted ||
		p.direct != p.sent.direct
}

// live returns how many of the last events of a room have just happened.
func (a *slideAnswer) live(rm *room) (n int) {
	if a.since == nil {
		return 0
	}
	for _, e := range rm.timeline {
		if e.Pos > a.from {
			n++
		}
	}
	return n
}

// stringOf returns a field of the content of an event, "" where it is none.
func stringOf(e *rooms.Event, field string) (text string) {
	if e != nil {
		_ = json.Unmarshal(contentField(e, field), &text)
	}
	return text
}
