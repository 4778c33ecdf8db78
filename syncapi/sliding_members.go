package syncapi

import (
	"strings"

	"beffroi/matrix"
	"beffroi/storage/rooms"
)

const (
	// maxSlid bounds for how many connections of a device the members are
	// remembered.
	maxSlid = 8
	// maxSlidMembers bounds how many are.
	maxSlidMembers = 5000
)

// slidMembers is which members a client was given over a connection, up to the
// answer with a position. A client that shows another position got other
// answers than these, perhaps of another node: then nothing is known. What is
// forgotten is sent again, which does no harm.
type slidMembers struct {
	pos   string
	count int
	rooms map[int64]map[matrix.UserID]struct{}
}

// slidMembers returns what is known of a connection. The lock is held.
func (d *device) slidMembers(req *SlidingRequest) *slidMembers {
	m := d.slid[req.ConnID]
	if m != nil && req.Pos != "" && m.pos == req.Pos && m.count < maxSlidMembers {
		return m
	}
	m = &slidMembers{rooms: make(map[int64]map[matrix.UserID]struct{})}
	if d.slid == nil || len(d.slid) >= maxSlid {
		d.slid = make(map[string]*slidMembers)
	}
	d.slid[req.ConnID] = m
	return m
}

// lackingMembers returns those of some memberships that a client may not have.
func (n *notifier) lackingMembers(a *slideAnswer, keys []rooms.MemberKey) (lacks []rooms.MemberKey) {
	if len(keys) == 0 {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	m := a.account.device(a.req.Device).slidMembers(a.sl.req)
	for _, key := range keys {
		if _, sent := m.rooms[key.RoomNID][key.User]; !sent {
			lacks = append(lacks, key)
		}
	}
	return lacks
}

// sentMembers remembers which members an answer has. Where there is a gap in
// the timeline the client drops those that it had.
func (n *notifier) sentMembers(a *slideAnswer, pos string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := a.account.device(a.req.Device).slidMembers(a.sl.req)
	m.pos = pos
	for _, p := range a.picks {
		if !p.wish.lazy() { // changes of those that it has are not told
			m.count -= len(m.rooms[p.nid])
			delete(m.rooms, p.nid)
		}
	}
	for _, p := range a.told {
		if !p.wish.lazy() {
			continue
		}
		users := m.rooms[p.nid]
		if users == nil || p.initial || p.limited {
			m.count -= len(users)
			users = make(map[matrix.UserID]struct{})
		}
		m.count -= len(users)
		for _, e := range p.rm.state {
			if user, ok := e.StateKey(); ok && e.Type() == typeMember {
				users[matrix.UserID(strings.Clone(user))] = struct{}{}
			}
		}
		m.count += len(users)
		m.rooms[p.nid] = users
	}
}
