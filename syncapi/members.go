package syncapi

import (
	"context"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const typeMember = "m.room.member"

// maxLazy bounds how many memberships are remembered for a device. One that was
// forgotten is sent again, which does no harm.
const maxLazy = 5000

// lazyMembers is which memberships a device has got, and with which token. The
// client has a membership only once it has shown that token or a later one.
type lazyMembers map[rooms.MemberKey]storage.Position

// readMembers reads the memberships that a lazy client needs: of who sent what
// is in the timeline, of those whom the room is named after, and its own.
//
// https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members
func (a *answer) readMembers(ctx context.Context) error {
	if !a.filter.lazy() {
		return nil
	}
	var keys, maybe []rooms.MemberKey
	for _, rm := range a.list {
		if rm.hidden || rm.bare || rm.section != joined && rm.section != left {
			continue
		}
		need := &keys
		if !rm.whole && !a.filter.redundant() {
			need = &maybe
		}
		add := membersOnce(rm.RoomNID, need)
		for _, e := range rm.timeline {
			add(e.Sender())
		}
		for _, user := range rm.heroes {
			add(user)
		}
		if rm.whole {
			add(a.req.User)
		}
	}
	if len(maybe) > 0 {
		keys = append(keys, a.s.notifier.lacking(a.account, a.req.Device, a.from, maybe)...)
	}
	return a.loadMembers(ctx, keys)
}

// membersOnce returns what adds members of a room to a list, each once.
func membersOnce(roomNID int64, list *[]rooms.MemberKey) func(matrix.UserID) {
	seen := make(map[matrix.UserID]bool)
	return func(user matrix.UserID) {
		if !seen[user] {
			seen[user] = true
			*list = append(*list, rooms.MemberKey{RoomNID: roomNID, User: user})
		}
	}
}

// loadMembers reads the memberships that an answer needs beside what changed.
func (a *answer) loadMembers(ctx context.Context, keys []rooms.MemberKey) error {
	found, err := rooms.MemberEventsOf(ctx, a.r, keys, a.rules)
	for key, e := range found {
		rm := a.rooms[key.RoomNID]
		if rm.needed == nil {
			rm.needed = make(map[event.StateTuple]int64)
		}
		rm.needed[e.StateTuple()] = e.NID
		a.loaded[e.NID] = e
	}
	return err
}

// lacking returns those of some memberships that a device may not have.
func (n *notifier) lacking(a *account, id matrix.DeviceID, since storage.Position, keys []rooms.MemberKey) (lacks []rooms.MemberKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	lazy := a.device(id).lazy
	for _, key := range keys {
		if pos, sent := lazy[key]; !sent || pos > since {
			lacks = append(lacks, key)
		}
	}
	return lacks
}

// sent remembers what an answer gives to a device.
func (n *notifier) sent(acc *account, id matrix.DeviceID, a *answer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !a.filter.lazy() {
		return
	}
	d := acc.device(id)
	for _, rm := range a.list {
		for _, list := range [][]*rooms.Event{rm.state, rm.timeline} {
			for _, e := range list {
				if user, ok := e.StateKey(); ok && e.Type() == typeMember {
					d.lazy = d.lazy.add(rooms.MemberKey{RoomNID: rm.RoomNID, User: matrix.UserID(strings.Clone(user))}, a.to)
				}
			}
		}
	}
}

func (l lazyMembers) add(key rooms.MemberKey, pos storage.Position) lazyMembers {
	if l == nil || len(l) >= maxLazy {
		l = make(lazyMembers)
	}
	l[key] = pos
	return l
}
