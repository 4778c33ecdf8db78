package syncapi

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"math"
	"slices"

	"beffroi/storage"
	"beffroi/storage/rooms"
)

// slideAnswer is one answer of sliding sync that is being made, from one
// snapshot. Of the answer that it is built on it has the rooms.
type slideAnswer struct {
	*answer
	sl     *slide
	typing typingVersion

	all    []listed        // every room of the account
	picks  []*pick         // those that the client looks at
	byNID  map[int64]*pick // the same
	counts map[string]int  // of the lists
	told   []*pick         // those that there is something to tell of
	next   *connection     // what the client has with this answer
	ext    slideExtensions // what there is to tell beside the rooms
}

// pick is a room that the client looks at.
type pick struct {
	listed
	lists      []string // that it stands in
	subscribed bool
	limit      int
	configs    []*RoomConfig
	wish       *wish

	sent sentRoom
	had  bool // the client has got it before
	look bool // there may be something to tell of it
	roomNews
}

// answer makes an answer.
func (sl *slide) answer(ctx context.Context) (*slideAnswer, error) {
	s := sl.s
	a := &slideAnswer{sl: sl, byNID: make(map[int64]*pick), counts: make(map[string]int)}
	a.answer = &answer{s: s, account: sl.account, req: &Request{User: sl.req.User, Device: sl.req.Device}, filter: sl.filter,
		from: beginning, rooms: make(map[int64]*room), loaded: make(map[int64]*rooms.Event)}
	since := token{sl.pos.pos, sl.pos.typing, sl.messages}
	if !sl.req.Extensions.ToDevice {
		since.messages = math.MaxInt64
	}
	if !sl.first() {
		a.since, a.from = &since, sl.pos.pos
		if idle, err := a.idle(ctx, since); idle || err != nil {
			return a, err
		}
	}
	var err error
	if a.ear, err = s.Rooms.EarOf(ctx, sl.req.User); err != nil {
		return nil, err
	}
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		a.r = r
		return a.make(ctx, since)
	})
	return a, err
}

// idle reports whether it is known without a look at the database that there
// is nothing to tell.
func (a *slideAnswer) idle(ctx context.Context, since token) (bool, error) {
	a.changes = a.s.notifier.since(a.account, a.req.Device, since)
	if a.changes.any() || a.sl.needsDatabase() || a.s.notifier.shelfStale(a.account) || a.extsChanged() {
		return false, nil
	}
	var known bool
	if a.ignored, known = a.s.notifier.ignoredBy(a.account); !known || len(a.s.notifier.unknownOthers(a.account)) > 0 {
		return false, nil
	}
	a.to, a.typing = a.changes.head, a.changes.typing
	if err := a.choose(ctx); err != nil {
		return false, err
	}
	for _, p := range a.picks {
		if p.look || a.late(p) {
			a.picks, a.byNID, a.counts = nil, make(map[int64]*pick), make(map[string]int)
			return false, nil
		}
	}
	a.settle()
	return true, nil
}

// late reports whether the client lacks something of a room from before its
// token: the room has come back into view.
func (a *slideAnswer) late(p *pick) bool {
	want := &a.sl.req.Extensions
	return want.AccountData.covers(p) && p.sent.upTo[streamData] != live ||
		want.Receipts.covers(p) && p.sent.upTo[streamReceipts] != live
}

// needsDatabase reports whether a filter of a list asks the database.
func (sl *slide) needsDatabase() bool {
	for _, l := range sl.req.Lists {
		if l.Filter.needsKinds() || l.Filter.Spaces != nil {
			return true
		}
	}
	return false
}

// make reads what there is to tell.
func (a *slideAnswer) make(ctx context.Context, since token) (err error) {
	if a.to, err = a.s.catchUp(ctx, a.r); err != nil {
		return err
	}
	a.changes = a.s.notifier.since(a.account, a.req.Device, since)
	a.changes.all = a.changes.all || a.since == nil
	a.typing = a.changes.typing
	for _, step := range []func(context.Context) error{
		a.readIgnored, a.readList, a.choose, a.readRooms, a.slideUnread, a.readExtensions,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	a.settle()
	return nil
}

func (a *slideAnswer) readList(ctx context.Context) error {
	return a.s.readShelf(ctx, a.r, a.account, a.to)
}

// choose finds out at which rooms the client looks, and of which there may be
// something to tell.
func (a *slideAnswer) choose(ctx context.Context) error {
	a.all = a.s.notifier.roomList(a.account, a.ignored)
	names := slices.Sorted(maps.Keys(a.sl.req.Lists))
	lists := make([]*SlidingList, len(names))
	for i, name := range names {
		lists[i] = a.sl.req.Lists[name]
	}
	shelves, err := a.s.readShelves(ctx, a.r, a.account, a.all, lists, a.to)
	if err != nil {
		return err
	}
	for i, l := range lists {
		a.counts[names[i]] = a.chooseFrom(names[i], l, shelves)
	}
	for i := range a.all {
		l := &a.all[i]
		if config := a.sl.req.Subscriptions[l.id]; config != nil && l.visible() {
			p := a.pick(l, config)
			p.subscribed = true
		}
	}
	known := make(map[[2]*RoomConfig]*wish)
	for _, p := range a.picks {
		p.join(known)
		p.look = p.mayHaveNews(a.from)
	}
	return nil
}

// visible reports whether the user may be told of the room at all: not of one
// that they were banned from without ever having been in it.
func (l *listed) visible() bool { return l.word != "ban" || !l.hidden }

// chooseFrom picks the rooms of the stretches of a list at which the client
// looks, and returns how many the list has.
func (a *slideAnswer) chooseFrom(name string, l *SlidingList, shelves *shelves) (count int) {
	for i := range a.all {
		room := &a.all[i]
		if room.hidden && !a.justLeft(room) || !shelves.wants(&l.Filter, room) {
			continue
		}
		if l.Ranges == nil || slices.ContainsFunc(l.Ranges, func(r [2]int) bool { return r[0] <= count && count <= r[1] }) {
			p := a.pick(room, &l.RoomConfig)
			p.lists = append(p.lists, name)
		}
		count++
	}
	return count
}

// justLeft reports whether the client has the room and does not know yet that
// the user has left it.
func (a *slideAnswer) justLeft(l *listed) bool {
	sent, had := a.sl.conn.find(l.nid)
	return had && l.word == "leave" && l.activity > sent.since(streamEvents, a.from)
}

// pick adds what one rule wants of a room.
func (a *slideAnswer) pick(l *listed, config *RoomConfig) *pick {
	p := a.byNID[l.nid]
	if p == nil {
		p = &pick{listed: *l}
		p.sent, p.had = a.sl.conn.find(l.nid)
		a.byNID[l.nid] = p
		a.picks = append(a.picks, p)
	}
	p.limit = max(p.limit, config.TimelineLimit)
	p.configs = append(p.configs, config)
	return p
}

// join makes one wish of all that the rules want of a room. Most rooms are
// under the same one or two rules, for which it is made once.
func (p *pick) join(known map[[2]*RoomConfig]*wish) {
	var key [2]*RoomConfig
	copy(key[:], p.configs)
	few := len(p.configs) <= len(key)
	if p.wish = known[key]; few && p.wish != nil {
		return
	}
	var parts []StateWish
	for _, c := range p.configs {
		parts = append(parts, c.State...)
	}
	if p.wish = newWish(parts); few {
		known[key] = p.wish
	}
}

// since returns up to where the client has one thing of a room, given the
// position of its token.
func (r *sentRoom) since(stream int, from storage.Position) storage.Position {
	switch pos := r.upTo[stream]; pos {
	case live:
		return from
	case never:
		return beginning
	default:
		return pos
	}
}

// mayHaveNews reports whether there may be something to tell of a room.
func (p *pick) mayHaveNews(from storage.Position) bool {
	return !p.had || p.activity > p.sent.since(streamEvents, from) || p.limit > p.sent.limit ||
		!p.sent.wish.covers(p.wish) || p.direct != p.sent.direct
}

// settle finds out what the client has with this answer.
func (a *slideAnswer) settle() {
	prior := a.sl.conn
	next := &connection{name: prior.name, exts: a.exts(), rooms: make([]sentRoom, 0, len(prior.rooms)+len(a.told))}
	news := make(map[int64]*listed, len(a.all))
	for i := range a.all {
		news[a.all[i].nid] = &a.all[i]
	}
	for _, r := range prior.rooms {
		l := news[r.nid]
		if l == nil {
			continue // forgotten, or reset: nothing more is told of it
		}
		if p := a.byNID[r.nid]; p != nil {
			r = p.after(r, a.from)
		} else if r.upTo[streamEvents] == live && l.activity > a.from {
			r.upTo[streamEvents] = a.from
		}
		a.settleScopes(&r, l)
		next.rooms = append(next.rooms, r)
	}
	for _, p := range a.told {
		if !p.had {
			r := sentRoom{nid: p.nid, limit: p.reach(0), direct: p.direct, wish: p.wish,
				upTo: [streams]storage.Position{live, never, never}}
			a.settleScopes(&r, &p.listed)
			next.rooms = append(next.rooms, r)
		}
	}
	slices.SortFunc(next.rooms, func(x, y sentRoom) int { return cmp.Compare(x.nid, y.nid) })
	a.next = next
}

// after returns what the client has of a room that it looks at with this answer.
func (p *pick) after(r sentRoom, from storage.Position) sentRoom {
	switch {
	case p.look && p.rm == nil: // not to be read in this snapshot
		if r.upTo[streamEvents] == live {
			r.upTo[streamEvents] = from
		}
		return r
	case p.look:
		r.limit = p.reach(r.limit)
	}
	r.upTo[streamEvents], r.direct, r.wish = live, p.direct, p.wish
	return r
}

// complete is a limit where the client has all events of a room.
const complete = math.MaxInt32

// reach returns how many of the last events of a room the client has, given
// how many it had.
func (p *pick) reach(had int) int {
	switch {
	case p.rm == nil:
		return had
	case p.rm.section != joined && p.rm.section != left || p.rm.bare:
		return complete // there is no timeline
	case p.initial || p.expanded:
		if !p.limited {
			return complete
		}
		return p.limit
	case p.limited:
		return p.limit
	}
	return had
}

// empty reports whether there is nothing to tell.
func (a *slideAnswer) empty() bool { return len(a.told) == 0 && a.ext.empty() }

// finish keeps what the client gets, and returns the answer.
func (a *slideAnswer) finish(ctx context.Context) (json.RawMessage, error) {
	sl := a.sl
	if a.ext.counts == nil && sl.req.Extensions.E2EE {
		if err := a.readCountsLate(ctx); err != nil {
			return nil, err
		}
	}
	if !sl.first() && a.next.same(sl.conn) {
		a.next = sl.conn
	} else if err := a.s.keepConnection(ctx, a.next, sl.pos.serial); err != nil {
		return nil, err
	}
	pos := slidingPos{a.to, a.typing, a.next.serial}
	a.s.notifier.sentMembers(a, pos.String())
	return a.render(pos), nil
}
