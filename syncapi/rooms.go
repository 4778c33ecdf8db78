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

// section is the part of the answer that a room stands in.
type section uint8

const (
	joined section = iota
	invited
	knocked
	left
)

// room is a room in an answer.
type room struct {
	rooms.Standing
	section section
	// whole says that all of the state is told, not what changed.
	whole bool
	// entered says that the user has joined since the token, and gone that the
	// user was joined at it and is no longer.
	entered, gone bool
	// ended is where the stay that is over ended, 0 where that is not known.
	ended storage.Position
	// hidden says that the filter leaves the room out. It still counts for
	// lists of devices.
	hidden bool
	// bare says that only the membership itself is told.
	bare bool
	// window is which events are told of: up to where the user was in the room.
	window rooms.Window
	// from is up to where the client knows the room, unless it is fresh: then
	// the client knows nothing of it.
	from  storage.Position
	fresh bool

	timeline []*rooms.Event
	floor    storage.Position           // everything in the window after it was looked at
	base     map[event.StateTuple]int64 // where whole: the state now
	heroes   []matrix.UserID
	needed   map[event.StateTuple]int64 // memberships that a lazy client needs, as they are now
	state    []*rooms.Event
	summary  []byte // an object, nil where it has not changed
	unread   *roomserver.Unread

	stripped            []json.RawMessage // of an invitation or knock
	events, stateEvents []json.RawMessage // as they are sent
	ephemeral           []json.RawMessage
	data                []accountData
}

// selectRooms finds out which rooms there is something to tell of, and in which
// section they stand.
func (a *answer) selectRooms(ctx context.Context) error {
	standings, err := a.standings(ctx)
	if err != nil {
		return err
	}
	members := make(map[int64]rooms.Member, len(standings))
	var turned []int64 // rooms where the membership has a history that matters
	for i := range standings {
		m := &standings[i]
		members[m.RoomNID] = m.Member
		if a.rooms[m.RoomNID] != nil || !a.mayShow(m) {
			continue
		}
		a.rooms[m.RoomNID] = &room{Standing: *m, hidden: !a.filter.wantsRoom(m.RoomID), from: a.from, fresh: a.since == nil}
		if a.since != nil && m.Pos > a.from || m.Membership == "leave" || m.Membership == "ban" {
			turned = append(turned, m.RoomNID)
		}
	}
	a.sights = roomserver.NewSights(a.req.User, members)
	courses, err := a.courses(ctx, turned)
	if err != nil {
		return err
	}
	for nid, rm := range a.rooms {
		if !a.place(rm, courses[nid]) {
			delete(a.rooms, nid)
			continue
		}
		a.list = append(a.list, rm)
	}
	slices.SortFunc(a.list, func(x, y *room) int { return int(x.RoomNID - y.RoomNID) })
	return nil
}

// mayShow reports whether there may be something to tell of a room.
func (a *answer) mayShow(m *rooms.Standing) bool {
	switch {
	case m.Membership == "join":
		return true
	case m.Forgotten: // what the client does not know yet is that they are out
		return a.since != nil && m.Pos > a.from && m.Since > a.from
	case a.since != nil:
		return m.Pos > a.from
	}
	return a.filter.Room.IncludeLeave || m.Membership == "invite" || m.Membership == "knock"
}

// standings returns the rooms that may have something to tell.
func (a *answer) standings(ctx context.Context) ([]rooms.Standing, error) {
	c := &a.changes
	if c.all {
		return rooms.StandingsOf(ctx, a.r, a.req.User)
	}
	var list []rooms.Standing
	if c.members {
		var err error
		if list, err = rooms.StandingsSince(ctx, a.r, a.req.User, a.from); err != nil {
			return nil, err
		}
	}
	names := slices.Concat(c.events, c.read, c.typists)
	nids := a.dataRooms()
	for _, name := range names {
		nids = append(nids, name.nid)
	}
	slices.Sort(nids)
	more, err := rooms.StandingsIn(ctx, a.r, a.req.User, slices.Compact(nids))
	if err != nil {
		return nil, err
	}
	a.findReset(names, more)
	return append(list, more...), nil
}

// findReset finds the rooms that the user was in and of whose state, without a
// leave, they are no longer part: the state was reset.
func (a *answer) findReset(names []roomName, standings []rooms.Standing) {
	if a.changes.head > a.to {
		return // it may be one that they entered after this snapshot
	}
	there := make(map[int64]bool, len(standings))
	for i := range standings {
		there[standings[i].RoomNID] = true
	}
	for _, name := range names {
		if there[name.nid] || a.rooms[name.nid] != nil {
			continue
		}
		a.s.notifier.left(a.account, name.nid)
		a.rooms[name.nid] = &room{
			Standing: rooms.Standing{Member: rooms.Member{RoomNID: name.nid, User: a.req.User}, RoomID: name.id},
			gone:     true, hidden: !a.filter.wantsRoom(name.id), from: a.from,
		}
	}
}

// place puts a room into its section. It reports whether there is anything to
// tell of it.
func (a *answer) place(rm *room, course []phase) bool {
	rm.window = rooms.Window{RoomNID: rm.RoomNID, After: rm.from, UpTo: a.to}
	end, was := lastJoined(course)
	rm.gone = rm.gone || !rm.fresh && rm.Membership != "join" && was && end > rm.from
	if rm.gone && was {
		rm.ended = end
	}
	switch rm.Membership {
	case "join":
		rm.entered = rm.fresh || rm.Pos > rm.from && !throughout(course, rm.from)
		rm.whole = rm.entered || a.req.FullState
		if rm.entered {
			rm.window.After = beginning
		}
		return true
	case "invite":
		rm.section = invited
		return true
	case "knock":
		rm.section = knocked
		return true
	case "leave", "ban":
		a.placeLeft(rm, course)
		return true
	}
	rm.section = left
	rm.window.UpTo = rm.from // reset
	return rm.gone
}

// placeLeft is place for a room that the user is no longer in. What happened
// after they were last joined is not theirs to know, and where they have
// forgotten the room nothing of it is.
func (a *answer) placeLeft(rm *room, course []phase) {
	rm.section = left
	end, was := lastJoined(course)
	rm.bare = !was || !rm.fresh && !rm.gone || rm.Forgotten
	if rm.bare {
		rm.window.UpTo = rm.from
		return
	}
	rm.window.UpTo = end
	if rm.fresh || !joinedAt(course, rm.from) { // or joined and left since
		rm.whole = true
		rm.window.After = beginning
	}
}

// start returns where the timeline of a room starts.
func (rm *room) start() storage.Position {
	if len(rm.timeline) > 0 && !rm.bare {
		return rm.timeline[0].Pos
	}
	return rm.window.UpTo + 1
}

// live reports whether events of the room may be in its window.
func (rm *room) live() bool {
	return (rm.section == joined || rm.section == left) && !rm.bare &&
		rm.window.After < rm.window.UpTo && rm.HeadPos > rm.window.After
}

// phase is a membership of the user and from where on it held.
type phase struct {
	pos  storage.Position
	word string
}

// courses returns how the membership of the user in rooms went.
func (a *answer) courses(ctx context.Context, nids []int64) (map[int64][]phase, error) {
	stored, err := rooms.Courses(ctx, a.r, nids, event.StateTuple{Type: "m.room.member", StateKey: string(a.req.User)})
	if err != nil {
		return nil, err
	}
	var want []int64
	for _, c := range stored {
		want = append(want, c.First)
		for _, step := range c.Steps {
			want = append(want, step.NID)
		}
	}
	if err := a.events(ctx, want); err != nil {
		return nil, err
	}
	out := make(map[int64][]phase, len(stored))
	for nid, c := range stored {
		var list []phase
		if e := a.loaded[c.First]; e != nil {
			list = append(list, phase{e.Pos, e.Membership()})
		}
		for _, step := range c.Steps {
			word := "leave" // reset out of the state
			if e := a.loaded[step.NID]; e != nil {
				word = e.Membership()
			}
			list = append(list, phase{step.Pos, word})
		}
		out[nid] = list
	}
	return out, nil
}

// joinedAt reports whether the user was joined at a position.
func joinedAt(course []phase, pos storage.Position) (yes bool) {
	for _, p := range course {
		if p.pos <= pos {
			yes = p.word == "join"
		}
	}
	return yes
}

// throughout reports whether the user was joined from a position on.
func throughout(course []phase, pos storage.Position) bool {
	return joinedAt(course, pos) &&
		!slices.ContainsFunc(course, func(p phase) bool { return p.pos > pos && p.word != "join" })
}

// lastJoined returns where the last time of being joined ended.
func lastJoined(course []phase) (end storage.Position, ok bool) {
	for i := 1; i < len(course); i++ {
		if course[i-1].word == "join" && course[i].word != "join" {
			end, ok = course[i].pos, true
		}
	}
	return end, ok
}
