package syncapi

import (
	"context"
	"encoding/json"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/pushrules"
	"beffroi/storage"
	"beffroi/storage/rooms"
	"beffroi/storage/users"
)

// slideExtensions is what there is to tell beside the rooms.
type slideExtensions struct {
	messages  []json.RawMessage
	nextBatch storage.Position
	lists     deviceLists
	counts    []byte // of keys, as they are sent
	newCounts bool
	global    []accountData
	data      map[matrix.RoomID][]accountData
	receipts  map[matrix.RoomID]json.RawMessage
	typing    map[matrix.RoomID]json.RawMessage
	threads   json.RawMessage // nil: nothing changed
}

func (e *slideExtensions) empty() bool {
	return len(e.messages)+len(e.lists.changed)+len(e.lists.left)+len(e.global)+len(e.data)+len(e.receipts)+len(e.typing)+len(e.threads) == 0 && !e.newCounts
}

// Extensions that a connection remembers, because they begin with all there is.
const (
	extData = 1 << iota
	extThreads
)

// exts returns which of those the request enables.
func (a *slideAnswer) exts() (bits uint8) {
	if a.sl.req.Extensions.AccountData.Enabled {
		bits |= extData
	}
	if a.sl.req.Extensions.Threads {
		bits |= extThreads
	}
	return bits
}

// extsChanged reports whether an extension has just been enabled, or whether
// there is more to tell than what happened since the token.
func (a *slideAnswer) extsChanged() bool { return a.exts()&^a.sl.conn.exts != 0 }

// covers reports whether an extension is wanted for a room that is looked at.
func (sc *Scope) covers(p *pick) bool {
	return sc.Enabled && p != nil && p.word == "join" &&
		(sc.Lists == nil && len(p.lists) > 0 || sc.Rooms == nil && p.subscribed ||
			slices.ContainsFunc(p.lists, func(name string) bool { return slices.Contains(sc.Lists, name) }) ||
			p.subscribed && slices.Contains(sc.Rooms, p.id))
}

// settleScopes notes what the client has beside the events of a room.
func (a *slideAnswer) settleScopes(r *sentRoom, l *listed) {
	if l.word != "join" {
		r.upTo[streamData], r.upTo[streamReceipts] = never, never
		return
	}
	p := a.byNID[r.nid]
	for _, part := range []struct {
		stream int
		scope  *Scope
		news   bool
	}{
		{streamData, &a.sl.req.Extensions.AccountData, a.changes.all || a.changes.data},
		{streamReceipts, &a.sl.req.Extensions.Receipts, l.receipts > a.from},
	} {
		switch pos := &r.upTo[part.stream]; {
		case part.scope.covers(p):
			*pos = live
		case *pos == live && part.news:
			*pos = max(a.from, 1)
		}
	}
}

// readExtensions reads what is wanted beside the rooms.
func (a *slideAnswer) readExtensions(ctx context.Context) error {
	want := &a.sl.req.Extensions
	for _, step := range []struct {
		wanted bool
		read   func(context.Context) error
	}{
		{want.ToDevice, a.slideMessages},
		{want.E2EE, a.slideKeys},
		{want.AccountData.Enabled, a.slideGlobal},
		{want.AccountData.Enabled, a.slideData},
		{want.Receipts.Enabled, a.slideReceipts},
		{want.Typing.Enabled, a.slideTyping},
		{want.Threads, a.slideThreads},
	} {
		if !step.wanted {
			continue
		}
		if err := step.read(ctx); err != nil {
			return err
		}
	}
	return nil
}

// slideMessages reads the messages to the device.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3885
func (a *slideAnswer) slideMessages(ctx context.Context) error {
	a.ext.nextBatch = a.to
	if !a.changes.all && !a.changes.messages {
		return nil
	}
	limit := maxMessages
	if asked := a.sl.req.Extensions.ToDeviceLimit; asked > 0 {
		limit = min(limit, asked)
	}
	list, err := a.s.Devices.ToDevice(ctx, a.r, a.req.User, a.req.Device, a.sl.messages, a.to, limit)
	if err != nil {
		return err
	}
	for _, m := range list {
		a.ext.messages = append(a.ext.messages, appendMessage(nil, m))
	}
	if len(list) == limit {
		a.ext.nextBatch = list[len(list)-1].Pos
	}
	return nil
}

// slideKeys finds out whose devices changed, in all rooms of the user, whether
// or not the client looks at them.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3884
func (a *slideAnswer) slideKeys(ctx context.Context) (err error) {
	a.ext.newCounts = a.changes.counts
	if a.ext.counts = a.s.notifier.keyCounts(a.account, a.req.Device); a.ext.counts == nil {
		if a.ext.counts, err = a.s.readKeyCounts(ctx, a.r, a.account, a.req.Device); err != nil {
			return err
		}
	}
	if a.since == nil {
		return nil
	}
	f, err := parseFilter([]byte("{}"))
	if err != nil {
		return err
	}
	at := &answer{s: a.s, r: a.r, account: a.account, req: a.req, filter: f, since: a.since, from: a.from, to: a.to,
		changes: a.changes, rooms: make(map[int64]*room), loaded: make(map[int64]*rooms.Event)}
	for _, step := range []func(context.Context) error{at.selectRooms, at.readDeltas, at.readLists} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	a.ext.lists = at.lists
	return nil
}

// slideGlobal reads the account data of the account.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3959
func (a *slideAnswer) slideGlobal(ctx context.Context) error {
	whole := a.sl.conn.exts&extData == 0
	var list []accountData
	var err error
	switch {
	case whole:
		list, err = users.AccountDataIn(ctx, a.r, a.req.User, []matrix.RoomID{""})
	case a.changes.all || a.changes.data:
		list, err = users.AccountDataAfter(ctx, a.r, a.req.User, max(a.from, 0), a.to)
	}
	if err != nil {
		return err
	}
	rules := false
	for _, d := range list {
		if d.Room != "" {
			continue
		}
		if d.Type == typePushRules {
			rules = true
			d.Content = shownRules(d.Content)
		}
		a.ext.global = append(a.ext.global, d)
	}
	if whole && !rules { // they never changed one
		content, err := json.Marshal(map[string]any{"global": pushrules.Default(a.req.User)})
		if err != nil {
			return err
		}
		a.ext.global = append(a.ext.global, accountData{Type: typePushRules, Content: string(content)})
	}
	return nil
}

// lateRooms returns the rooms of a scope of which the client does not have one
// thing up to its token: with since, up to where it has that.
func (a *slideAnswer) lateRooms(sc *Scope, stream int) (late []*pick, since map[int64]storage.Position) {
	since = make(map[int64]storage.Position)
	for _, p := range a.picks {
		if !sc.covers(p) || p.look && p.rm == nil {
			continue
		}
		from := beginning
		if p.had && !p.initial {
			from = p.sent.since(stream, a.from)
		}
		since[p.nid] = from
		if from < a.from {
			late = append(late, p)
		}
	}
	return late, since
}

// slideData reads the account data of the rooms.
func (a *slideAnswer) slideData(ctx context.Context) error {
	late, since := a.lateRooms(&a.sl.req.Extensions.AccountData, streamData)
	ids := make([]matrix.RoomID, len(late))
	for i, p := range late {
		ids[i] = p.id
	}
	list, err := users.AccountDataIn(ctx, a.r, a.req.User, ids)
	if err != nil {
		return err
	}
	if a.since != nil && (a.changes.all || a.changes.data) {
		more, err := users.AccountDataAfter(ctx, a.r, a.req.User, max(a.from, 0), a.to)
		if err != nil {
			return err
		}
		for _, d := range more {
			if !slices.Contains(ids, d.Room) {
				list = append(list, d)
			}
		}
	}
	byID := make(map[matrix.RoomID]*pick, len(since))
	for _, p := range a.picks {
		byID[p.id] = p
	}
	a.ext.data = make(map[matrix.RoomID][]accountData)
	for _, d := range list {
		if p := byID[d.Room]; p != nil {
			if from, in := since[p.nid]; in && d.Pos > from && d.Pos <= a.to {
				a.ext.data[d.Room] = append(a.ext.data[d.Room], d)
			}
		}
	}
	return nil
}

// slideTyping says who is typing, in the rooms where that may have changed.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3961
func (a *slideAnswer) slideTyping(context.Context) error {
	a.ext.typing = make(map[matrix.RoomID]json.RawMessage)
	changed := make(map[int64]bool, len(a.changes.typists))
	for _, name := range a.changes.typists {
		changed[name.nid] = true
	}
	for _, p := range a.picks {
		fresh := !p.had || p.initial
		if !a.sl.req.Extensions.Typing.covers(p) || p.look && p.rm == nil || !fresh && !changed[p.nid] {
			continue
		}
		list, _ := a.s.Rooms.Typing(p.id)
		if len(list) > 0 {
			a.typing = newTypingVersion(a.typing.count(), true)
		} else if fresh {
			continue
		}
		a.ext.typing[p.id] = typingEvent(list)
	}
	return nil
}

// readCountsLate reads how many keys the device has, for an answer with nothing
// else.
func (a *slideAnswer) readCountsLate(ctx context.Context) (err error) {
	if a.ext.counts = a.s.notifier.keyCounts(a.account, a.req.Device); a.ext.counts != nil {
		return nil
	}
	return a.s.DB.View(ctx, func(r *storage.Reader) error {
		a.ext.counts, err = a.s.readKeyCounts(ctx, r, a.account, a.req.Device)
		return err
	})
}

// nextMessages is up to where the client has the messages to its device with
// this answer.
func (a *slideAnswer) nextMessages() int64 {
	if a.ext.nextBatch == 0 { // nothing was looked at, for nothing has come
		return int64(a.to)
	}
	return int64(a.ext.nextBatch)
}
