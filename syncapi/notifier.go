package syncapi

import (
	"context"
	"sync"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// maxAccounts bounds the accounts that are watched at once, and so the
	// memory. Beyond it those without a waiting request are forgotten, which
	// costs their next sync a few queries.
	maxAccounts = 100_000
	// forgetAfter is how long an account is watched after its last sync.
	forgetAfter = 15 * time.Minute
	// levelTimeout bounds how long a request waits for the log to be read. It
	// takes a few milliseconds where the database is well.
	levelTimeout = 10 * time.Second
)

// notifier knows for every account that syncs when something last happened
// that concerns it, so that a sync with nothing to tell asks no database.
type notifier struct {
	start   uint64        // what typing began with
	ready   chan struct{} // closed once there is a head
	typists func(room matrix.RoomID) (users []matrix.UserID, version uint64)

	mu     sync.Mutex
	head   storage.Position            // guarded by mu: everything up to here is known
	newest storage.Position            // guarded by mu: the log is known to reach here
	grown  chan struct{}               // guarded by mu: closed when head moves, nil where nobody waits
	begun  bool                        // guarded by mu
	typing uint64                      // guarded by mu: goes up whenever somebody begins or stops typing
	rooms  map[int64]*roomCell         // guarded by mu
	byID   map[matrix.RoomID]*roomCell // guarded by mu: the same
	users  map[matrix.UserID]*account  // guarded by mu

	present map[matrix.UserID]uint64 // guarded by mu: the count of typing when somebody last came or went
}

// roomCell is a room that an account that is watched has joined.
type roomCell struct {
	nid      int64
	id       matrix.RoomID
	events   storage.Position // of the last event, as far as it was watched
	activity storage.Position // of the last event, also where that was before it was watched
	receipts storage.Position
	typing   uint64
	typists  bool // somebody is typing
	members  map[*account]struct{}
}

// account is an account that syncs. Its fields are guarded by the lock of the
// notifier.
type account struct {
	user   matrix.UserID
	joined []*roomCell      // nil until loaded
	others map[int64]*other // its rooms that it has not joined, nil until loaded
	early  []rooms.Standing // what changed before it was loaded
	shelf  shelf            // how clients sort its rooms
	loaded bool
	// floor is from where on everything is known. What happened before it was
	// not watched.
	floor storage.Position
	last  storage.Position // of anything that concerns it

	members, data, lists, threads storage.Position // of the last change of each
	ignored                       map[matrix.UserID]bool
	ignoredAt                     storage.Position // where ignored was read, 0: never
	devices                       map[matrix.DeviceID]*device
	waiters                       map[*waiter]struct{}
	used                          time.Time
	presence                      uint64 // the count of typing when somebody came or went who shares a room
}

// device is a client of an account. Its fields are guarded by the lock of the
// notifier.
type device struct {
	messages, counts storage.Position // of the last change
	keys             []byte           // the counts of its keys as they are sent, nil where unknown
	lazy             lazyMembers
	slid             map[string]*slidMembers // by connection of sliding sync
}

// waiter is a request that waits for something to happen.
type waiter struct {
	device matrix.DeviceID
	wake   chan struct{} // capacity 1: one call is enough
}

// newNotifier returns a notifier that watches nobody. Its count of typing begins
// with the time, so that one from before a restart is older than any after it.
func newNotifier(now time.Time, typists func(matrix.RoomID) ([]matrix.UserID, uint64)) *notifier {
	start := uint64(now.UnixMilli())
	return &notifier{start: start, typing: start, ready: make(chan struct{}), typists: typists,
		rooms: make(map[int64]*roomCell), byID: make(map[matrix.RoomID]*roomCell), users: make(map[matrix.UserID]*account), present: make(map[matrix.UserID]uint64)}
}

// position returns up to where the log is known; ok is false before it was
// ever looked at.
func (n *notifier) position() (head storage.Position, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.head, n.begun
}

// begin starts watching at a position.
func (n *notifier) begin(head storage.Position) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.begun {
		n.head, n.begun = head, true
		close(n.ready)
	}
}

// announce says that the log has grown.
func (n *notifier) announce(head storage.Position) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.newest = max(n.newest, head)
}

// level waits until everything is known that was in the log when it was called,
// so that a client that asks after it has written finds what it wrote. A log
// that cannot be read for long is 503.
func (n *notifier) level(ctx context.Context) error {
	n.mu.Lock()
	to := n.newest
	for n.head < to {
		if n.grown == nil {
			n.grown = make(chan struct{})
		}
		grown := n.grown
		n.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(levelTimeout):
			return matrix.Unavailable(safetyTick)
		}
		n.mu.Lock()
	}
	n.mu.Unlock()
	return nil
}

// advance moves the head and tells who waits for that. The lock is held.
func (n *notifier) advance(to storage.Position) {
	n.head = to
	if n.grown != nil {
		close(n.grown)
		n.grown = nil
	}
}

// skip moves the head without news where nobody is watched. Who is watched from
// now on is loaded from what is in the database then.
func (n *notifier) skip(to storage.Position) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.users) > 0 {
		return false
	}
	n.advance(max(n.head, to))
	return true
}

// apply notes news. Two readers may bring overlapping ones in any order.
func (n *notifier) apply(in *news) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if in.to <= n.head {
		return
	}
	seen := n.head
	n.advance(in.to)
	for nid, pos := range in.rooms {
		if room := n.rooms[nid]; room != nil && pos > room.events {
			room.events, room.activity = pos, pos
			n.touch(room, pos)
		}
	}
	for _, m := range in.members {
		if m.Pos > seen {
			n.member(m, in.to)
		}
	}
	for _, rc := range in.receipts {
		n.receipt(rc)
	}
	for _, user := range in.data {
		if a := n.users[user]; a != nil {
			a.data = in.to
			a.happened(in.to)
		}
	}
	for _, user := range in.threads {
		if a := n.users[user]; a != nil {
			a.threads = in.to
			a.happened(in.to)
		}
	}
	n.applyKeys(in)
}

func (n *notifier) applyKeys(in *news) {
	for _, m := range in.messages {
		if a := n.users[m.User]; a != nil {
			a.device(m.Device).messages = m.Pos
			a.happenedTo(m.Device, m.Pos)
		}
	}
	for _, c := range in.counts {
		if a := n.users[c.User]; a != nil {
			d := a.device(c.Device)
			d.counts, d.keys = c.Pos, nil
			a.happenedTo(c.Device, c.Pos)
		}
	}
	if in.allLists {
		for _, a := range n.users {
			a.lists = in.to
			a.happened(in.to)
		}
	}
	for _, c := range in.lists {
		whom := c.User // the account itself sees every change
		if c.OnlyFor != "" {
			whom = c.OnlyFor
		}
		n.listChanged(n.users[whom], c.Pos)
		if c.OnlyFor != "" {
			continue
		}
		for _, nid := range in.listed[c.User] {
			if room := n.rooms[nid]; room != nil {
				for a := range room.members {
					n.listChanged(a, c.Pos)
				}
			}
		}
	}
}

func (n *notifier) listChanged(a *account, pos storage.Position) {
	if a != nil && pos > a.lists {
		a.lists = pos
		a.happened(pos)
	}
}

// touch says that something happened in a room.
func (n *notifier) touch(room *roomCell, pos storage.Position) {
	for a := range room.members {
		a.happened(pos)
	}
}

func (n *notifier) receipt(rc rooms.ReceiptMark) {
	room := n.rooms[rc.RoomNID]
	if room == nil {
		return
	}
	room.receipts = max(room.receipts, rc.Pos)
	if rc.Type != receiptPrivate {
		n.touch(room, rc.Pos)
	} else if a := n.users[rc.User]; a != nil {
		a.happened(rc.Pos)
	}
}

// member moves a local user in or out of a room. Of a room that is new to the
// notifier everything up to upTo may have been missed.
func (n *notifier) member(m rooms.Standing, upTo storage.Position) {
	a := n.users[m.User]
	if a == nil {
		return
	}
	a.members = m.Pos
	a.happened(m.Pos)
	switch {
	case !a.loaded:
		a.early = append(a.early, m)
	case m.Membership == "join":
		n.enter(a, m, upTo)
	default:
		n.exit(a, m)
	}
}

// typed is called whenever who is typing in a room has changed.
func (n *notifier) typed(id matrix.RoomID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.typing++
	if room := n.byID[id]; room != nil {
		users, _ := n.typists(id) // under the lock, so that the last call has the last word
		room.typing, room.typists = n.typing, len(users) > 0
		for a := range room.members {
			a.wake("")
		}
	}
}

// happened notes that something concerns the account and wakes its requests.
func (a *account) happened(pos storage.Position) {
	a.last = max(a.last, pos)
	a.wake("")
}

// happenedTo is happened for one device.
func (a *account) happenedTo(id matrix.DeviceID, pos storage.Position) {
	a.last = max(a.last, pos)
	a.wake(id)
}

// wake wakes the requests of a device; "" means all.
func (a *account) wake(id matrix.DeviceID) {
	for w := range a.waiters {
		if id == "" || w.device == id {
			select {
			case w.wake <- struct{}{}:
			default:
			}
		}
	}
}

func (a *account) device(id matrix.DeviceID) *device {
	d := a.devices[id]
	if d == nil {
		d = new(device)
		a.devices[id] = d
	}
	return d
}
