package syncapi

import (
	"context"
	"slices"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// watch adds a request of a device of a user, and begins to watch the account
// if nobody did. Until the request leaves, the account is not forgotten. The
// caller loads one that is not loaded.
func (n *notifier) watch(user matrix.UserID, id matrix.DeviceID, now time.Time) (a *account, w *waiter, loaded bool) {
	w = &waiter{device: id, wake: make(chan struct{}, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	a = n.users[user]
	if a == nil {
		if len(n.users) >= maxAccounts {
			n.forget(len(n.users) - maxAccounts*9/10)
		}
		a = &account{user: user, devices: make(map[matrix.DeviceID]*device), waiters: make(map[*waiter]struct{})}
		n.users[user] = a
	}
	a.waiters[w] = struct{}{}
	return a, w, a.loaded
}

// leave ends a request.
func (n *notifier) leave(a *account, w *waiter, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(a.waiters, w)
	a.used = now
}

// load reads which rooms an account has joined.
func (s *Server) load(ctx context.Context, a *account) error {
	return s.DB.View(ctx, func(r *storage.Reader) error {
		at, err := storage.Head(ctx, r)
		if err != nil {
			return err
		}
		standings, err := rooms.StandingsOf(ctx, r, a.user)
		if err == nil {
			s.notifier.loaded(a, standings, at)
		}
		return err
	})
}

// loaded installs what was read at a position. What the log brought since then
// was kept for it.
func (n *notifier) loaded(a *account, standings []rooms.Standing, at storage.Position) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a.loaded {
		return // another request was faster
	}
	a.loaded, a.floor = true, max(n.head, at)
	a.last = max(a.last, a.floor)
	a.others = make(map[int64]*other)
	for _, m := range standings {
		if m.Membership == "join" {
			n.enter(a, m, a.floor)
		} else {
			a.others[m.RoomNID] = newOther(m)
		}
	}
	for _, m := range a.early {
		switch {
		case m.Pos <= at:
		case m.Membership == "join":
			n.enter(a, m, a.floor)
		default:
			n.exit(a, m)
		}
	}
	a.early = nil
}

func (n *notifier) enter(a *account, m rooms.Standing, upTo storage.Position) {
	room := n.rooms[m.RoomNID]
	if room == nil {
		users, _ := n.typists(m.RoomID)
		room = &roomCell{nid: m.RoomNID, id: m.RoomID, events: upTo, receipts: upTo, typing: n.typing,
			typists: len(users) > 0, members: make(map[*account]struct{})}
		n.rooms[room.nid], n.byID[room.id] = room, room
	}
	room.activity = max(room.activity, m.HeadPos)
	delete(a.others, m.RoomNID)
	if _, in := room.members[a]; !in {
		room.members[a] = struct{}{}
		a.joined = append(a.joined, room)
	}
}

// exit notes that an account is not in a room, or no longer.
func (n *notifier) exit(a *account, m rooms.Standing) {
	a.others[m.RoomNID] = newOther(m)
	n.remove(a, m.RoomNID)
}

func (n *notifier) remove(a *account, roomNID int64) {
	room := n.rooms[roomNID]
	if room == nil {
		return
	}
	a.joined = slices.DeleteFunc(a.joined, func(r *roomCell) bool { return r == room })
	n.abandon(a, room)
}

// abandon takes an account out of a room, and forgets a room that is nobody's.
func (n *notifier) abandon(a *account, room *roomCell) {
	delete(room.members, a)
	if len(room.members) == 0 {
		delete(n.rooms, room.nid)
		delete(n.byID, room.id)
	}
}

// left is for a reader that found that an account is not in a room although the
// log named no leave: the state of the room was reset.
func (n *notifier) left(a *account, roomNID int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.remove(a, roomNID)
}

// sweep forgets the accounts that have not synced for a while.
func (n *notifier) sweep(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.users {
		if len(a.waiters) == 0 && now.Sub(a.used) > forgetAfter {
			n.drop(a)
		}
	}
}

// forget drops some accounts without a request, whichever come first.
func (n *notifier) forget(count int) {
	for _, a := range n.users {
		if count <= 0 {
			return
		}
		if len(a.waiters) == 0 {
			n.drop(a)
			count--
		}
	}
}

func (n *notifier) drop(a *account) {
	for _, room := range a.joined {
		n.abandon(a, room)
	}
	delete(n.users, a.user)
}
