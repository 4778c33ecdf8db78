package syncapi

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
	"beffroi/storage/rooms"
)

const typeAvatar = "m.room.avatar"

func contentField(e *rooms.Event, field string) json.RawMessage {
	if raw := canonicaljson.Field(e.Content(), field); raw != nil {
		return raw
	}
	return json.RawMessage("null")
}

// readChanges reads how the state of the rooms changed since the client knew
// it, and of rooms that the user is no longer in, what happened after that.
func (a *slideAnswer) readChanges(ctx context.Context) error {
	var windows []rooms.Window
	for _, rm := range a.list {
		if rm.section != joined && rm.section != left || rm.bare {
			continue
		}
		w := rooms.Window{RoomNID: rm.RoomNID, After: rm.from, UpTo: rm.window.UpTo}
		if rm.whole {
			w.After = rm.window.UpTo
		}
		if rm.section == left {
			w.UpTo = lastPosition
		}
		if w.After < w.UpTo {
			windows = append(windows, w)
		}
	}
	var err error
	if a.deltas, err = rooms.DeltasIn(ctx, a.r, windows); err != nil {
		return err
	}
	for _, rm := range a.list {
		p := a.byNID[rm.RoomNID]
		p.changes = make(map[event.StateTuple]int64)
		for _, d := range a.deltas[rm.RoomNID] {
			if d.Pos <= rm.window.UpTo {
				p.changes[d.StateTuple] = d.NewNID
			}
		}
	}
	return nil
}

// readWhole reads the state of the rooms of which the client has none, or wants
// more than it has.
func (a *slideAnswer) readWhole(ctx context.Context) error {
	var some, all []int64
	for _, rm := range a.list {
		p := a.byNID[rm.RoomNID]
		switch {
		case rm.section != joined && rm.section != left || rm.bare || !rm.whole && p.prior.covers(p.wish):
		case p.wish.allMembers() && (p.prior == nil || !p.prior.allMembers()):
			all = append(all, rm.RoomNID)
		default:
			some = append(some, rm.RoomNID)
		}
	}
	for _, part := range []struct {
		nids    []int64
		members bool
	}{{some, false}, {all, true}} {
		found, err := rooms.StateOfRooms(ctx, a.r, part.nids, part.members, a.rules)
		if err != nil {
			return err
		}
		for nid, list := range found {
			rm := a.rooms[nid]
			rm.base = make(map[event.StateTuple]int64, len(list))
			for _, e := range list {
				a.loaded[e.NID] = e
				rm.base[e.StateTuple()] = e.NID
			}
		}
	}
	return nil
}

// readWanted reads the members that the client names and may not have.
func (a *slideAnswer) readWanted(ctx context.Context) error {
	var keys []rooms.MemberKey
	for _, rm := range a.list {
		p := a.byNID[rm.RoomNID]
		if rm.base == nil {
			continue
		}
		for _, user := range p.wish.members() {
			keys = append(keys, rooms.MemberKey{RoomNID: rm.RoomNID, User: matrix.UserID(user)})
		}
	}
	found, err := rooms.MemberEventsOf(ctx, a.r, keys, a.rules)
	for key, e := range found {
		a.loaded[e.NID] = e
		a.rooms[key.RoomNID].base[e.StateTuple()] = e.NID
	}
	return err
}

// readLazy reads the members that the timelines need. Where there is no gap the
// client has those that it was given before, and is told of every change.
func (a *slideAnswer) readLazy(ctx context.Context) error {
	var keys, maybe []rooms.MemberKey
	for _, rm := range a.list {
		p := a.byNID[rm.RoomNID]
		if rm.section != joined && rm.section != left || rm.bare || !p.wish.lazy() {
			continue
		}
		need := &maybe
		if p.initial || p.limited {
			need = &keys
		}
		add := membersOnce(rm.RoomNID, need)
		for _, e := range rm.timeline {
			add(e.Sender())
			if key, ok := e.StateKey(); ok && e.Type() == typeMember {
				add(matrix.UserID(key))
			}
		}
	}
	keys = append(keys, a.s.notifier.lackingMembers(a, maybe)...)
	return a.loadMembers(ctx, keys)
}

// chooseState finds out which state events are told.
func (a *slideAnswer) chooseState(ctx context.Context) error {
	chosen := make(map[*pick]map[int64]bool, len(a.list))
	var want []int64
	for _, rm := range a.list {
		p := a.byNID[rm.RoomNID]
		if rm.bare && rm.Pos > rm.from && p.wish.matches(typeMember, string(a.req.User)) {
			chosen[p] = map[int64]bool{rm.EventNID: true}
			want = append(want, rm.EventNID)
		}
		if rm.section != joined && rm.section != left || rm.bare {
			continue
		}
		chosen[p] = p.choose(a.ends(rm))
		for nid := range chosen[p] {
			want = append(want, nid)
		}
	}
	if err := a.events(ctx, want); err != nil {
		return err
	}
	for p, list := range chosen {
		for nid := range list {
			if e := a.loaded[nid]; e != nil {
				p.rm.state = append(p.rm.state, e)
			}
		}
		slices.SortFunc(p.rm.state, func(x, y *rooms.Event) int { return cmp.Compare(x.NID, y.NID) })
	}
	return nil
}

// ends returns the state at the end of the window of a room, as far as it was
// read: of one that the user has left, what happened since then is undone.
func (a *slideAnswer) ends(rm *room) map[event.StateTuple]int64 {
	ends := rm.base
	if ends == nil {
		ends = make(map[event.StateTuple]int64)
	}
	for key, nid := range rm.needed {
		ends[key] = nid
	}
	whole := rm.base != nil && a.byNID[rm.RoomNID].wish.allMembers()
	for _, d := range slices.Backward(a.deltas[rm.RoomNID]) {
		if d.Pos <= rm.window.UpTo {
			break
		}
		if _, read := ends[d.StateTuple]; read || rm.base != nil && (d.Type != typeMember || whole) {
			ends[d.StateTuple] = d.OldNID
		}
	}
	return ends
}

// choose returns the numbers of the events that tell a client the state that it
// wants and lacks.
func (p *pick) choose(ends map[event.StateTuple]int64) map[int64]bool {
	chosen := make(map[int64]bool)
	for key, nid := range ends {
		if nid == 0 {
			continue
		}
		_, needed := p.rm.needed[key]
		wanted := p.wish.matches(key.Type, key.StateKey) && (p.prior == nil || !p.prior.matches(key.Type, key.StateKey))
		if needed || wanted {
			chosen[nid] = true
		}
	}
	if p.rm.whole {
		return chosen
	}
	every := p.wish.lazy() && !p.limited
	for key, nid := range p.changes {
		switch {
		case !p.wish.matches(key.Type, key.StateKey) && !(every && key.Type == typeMember):
		case nid == 0:
			p.removed = append(p.removed, key)
		default:
			chosen[nid] = true
		}
	}
	slices.SortFunc(p.removed, func(x, y event.StateTuple) int {
		return cmp.Or(cmp.Compare(x.Type, y.Type), cmp.Compare(x.StateKey, y.StateKey))
	})
	return chosen
}

// readBumps reads when something last happened that people would call activity.
func (a *slideAnswer) readBumps(ctx context.Context) error {
	var nids []int64
	for _, rm := range a.list {
		if rm.section == joined {
			nids = append(nids, rm.RoomNID)
		}
	}
	found, err := rooms.Bumps(ctx, a.r, nids)
	for _, rm := range a.list {
		p := a.byNID[rm.RoomNID]
		if p.bump = found[rm.RoomNID]; p.bump == 0 {
			p.bump = rm.Pos
		}
	}
	return err
}
