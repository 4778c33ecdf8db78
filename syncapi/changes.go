package syncapi

import (
	"beffroi/matrix"
	"beffroi/storage"
)

// changes is what may have happened to a session since a token.
type changes struct {
	head   storage.Position // up to where that is known
	typing typingVersion

	all      bool // the token is from before the account was watched: look at everything
	members  bool
	data     bool
	lists    bool
	messages bool
	counts   bool
	presence bool // somebody came or went
	threads  bool
	reset    bool // the client believes that somebody types, from before this process began
	events   []roomName
	read     []roomName // with new receipts
	typists  []roomName
}

// roomName is a room by both its names.
type roomName struct {
	nid int64
	id  matrix.RoomID
}

// any reports whether there may be anything to tell.
func (c *changes) any() bool {
	return c.all || c.members || c.data || c.lists || c.messages || c.counts || c.presence || c.threads ||
		len(c.events) > 0 || len(c.read) > 0 || len(c.typists) > 0
}

// since returns what may have happened to a session since a token.
func (n *notifier) since(a *account, id matrix.DeviceID, t token) (c changes) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := a.device(id)
	c.head, c.typing = n.head, t.typing
	c.all = t.pos < a.floor
	// Where one answer did not have all messages, more may wait.
	c.messages = t.messages < t.pos || d.messages > t.messages
	if a.last <= t.pos && t.typing.count() == n.typing {
		return c
	}
	c.reset = t.typing.count() < n.start && t.typing.someone()
	someone := false
	c.members, c.data, c.lists = a.members > t.pos, a.data > t.pos, a.lists > t.pos
	c.counts, c.threads = d.counts > t.pos, a.threads > t.pos
	c.presence = a.presence > t.typing.count()
	for _, room := range a.joined {
		name := roomName{room.nid, room.id}
		if room.events > t.pos {
			c.events = append(c.events, name)
		}
		if room.receipts > t.pos {
			c.read = append(c.read, name)
		}
		if room.typing > t.typing.count() && (room.typists || t.typing.someone()) || c.reset {
			c.typists = append(c.typists, name)
		}
		someone = someone || room.typists
	}
	c.typing = newTypingVersion(n.typing, someone)
	return c
}

// joinedTo returns which of some rooms an account has joined.
func (n *notifier) joinedTo(a *account, ids map[matrix.RoomID]bool) (nids []int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := range ids {
		if room := n.byID[id]; room != nil {
			if _, in := room.members[a]; in {
				nids = append(nids, room.nid)
			}
		}
	}
	return nids
}
