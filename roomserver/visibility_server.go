package roomserver

import (
	"cmp"
	"context"
	"slices"
	"sort"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// VisibleToServer returns some events of a room as another server may see
// them, in their order: whole where one of its users may see them, else
// redacted, so that the graph of events stays whole. Rejected events are left
// out. That the server may ask at all is for the caller to know.
//
// https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
func (s *Server) VisibleToServer(ctx context.Context, r *storage.Reader, room rooms.Room, server matrix.ServerName,
	events []*rooms.Event) ([]*rooms.Event, error) {
	g, err := lookFor(ctx, r, room.NID, server, events)
	if err != nil {
		return nil, err
	}
	out := make([]*rooms.Event, 0, len(events))
	for _, e := range events {
		switch {
		case e.Status == rooms.Rejected:
		case g.sees(e):
			out = append(out, e)
		default:
			redacted, err := e.Redact()
			if err != nil {
				return nil, err
			}
			hidden := *e
			hidden.Event = redacted
			out = append(out, &hidden)
		}
	}
	return out, nil
}

// ServerSees reports whether another server may see an event of a room.
func (s *Server) ServerSees(ctx context.Context, r *storage.Reader, room rooms.Room, server matrix.ServerName,
	e *rooms.Event) (bool, error) {
	if e.Status == rooms.Rejected {
		return false, nil
	}
	g, err := lookFor(ctx, r, room.NID, server, []*rooms.Event{e})
	return err == nil && g.sees(e), err
}

// serverSight is what the users of one server together may see of a room.
type serverSight struct {
	since   storage.Position // a user has been joined without a break from here on; 0: none is
	setting course
	joined  tally
	invited tally
	left    *ending
}

// lookFor reads what is needed to judge events for a server: in the usual room
// one query or three, and the memberships of all its users only where the room
// hides its past from newcomers.
func lookFor(ctx context.Context, r *storage.Reader, roomNID int64, server matrix.ServerName, events []*rooms.Event) (*serverSight, error) {
	g := new(serverSight)
	since, joined, err := rooms.JoinedSince(ctx, r, roomNID, server)
	if err != nil {
		return nil, err
	}
	if joined {
		g.since = since
		if !slices.ContainsFunc(events, func(e *rooms.Event) bool { return e.Pos < since }) {
			return g, nil
		}
	}
	settings, err := rooms.Courses(ctx, r, []int64{roomNID}, event.StateTuple{Type: "m.room.history_visibility"})
	if err != nil {
		return nil, err
	}
	loaded, err := eventsOfCourses(ctx, r, settings)
	if err != nil {
		return nil, err
	}
	g.setting = newCourse(settings[roomNID], loaded, visibilityWord)
	if joined && g.open() {
		return g, nil
	}
	return g, g.readMembers(ctx, r, roomNID, server)
}

// open reports whether the room never hid its past from newcomers.
func (g *serverSight) open() bool {
	hides := func(word string) bool { return visibilityOr(word) == visInvited || visibilityOr(word) == visJoined }
	return !hides(g.setting.first) && !slices.ContainsFunc(g.setting.steps, func(s step) bool { return hides(s.word) })
}

func (g *serverSight) readMembers(ctx context.Context, r *storage.Reader, roomNID int64, server matrix.ServerName) error {
	stored, err := rooms.MemberCourses(ctx, r, roomNID, server)
	if err != nil {
		return err
	}
	var nids []int64
	for _, c := range stored {
		nids = appendNIDs(nids, c)
	}
	events, err := rooms.EventsByNID(ctx, r, nids)
	if err != nil {
		return err
	}
	var leaves []step
	for _, c := range stored {
		m := newCourse(c, events, membershipWord)
		g.joined.add(m, "join")
		g.invited.add(m, "invite")
		for i, st := range m.steps {
			if m.upTo(i) == "join" && st.word != "join" {
				leaves = append(leaves, st)
			}
		}
	}
	g.joined.sort()
	g.invited.sort()
	if g.since == 0 && len(leaves) > 0 {
		last := slices.MaxFunc(leaves, func(a, b step) int { return cmp.Compare(a.pos, b.pos) })
		g.left = &ending{last.pos, last.depth}
	}
	return nil
}

func (g *serverSight) sees(e *rooms.Event) bool {
	if g.since > 0 && e.Pos >= g.since {
		return true
	}
	before := visibilityOr(g.setting.before(e.Pos))
	if e.IsStateKey("m.room.history_visibility", "") {
		return g.allows(before, e) || g.allows(visibilityWord(e), e)
	}
	return g.allows(before, e)
}

// allows is [sight.allows] for all users of the server.
func (g *serverSight) allows(visibility string, e *rooms.Event) bool {
	if g.left.precedes(e) {
		return false
	}
	switch {
	case visibility == visWorldReadable:
		return true
	case visibility == visShared:
		return g.since > 0 || g.left != nil
	case g.joined.around(e.Pos):
		return true
	case visibility == visInvited:
		return g.invited.around(e.Pos)
	}
	return false
}

// tally counts at every position how many users have a membership.
type tally struct {
	first   int
	changes []tallyChange
}

type tallyChange struct {
	pos storage.Position
	by  int // until sorted; then how many there are from here on
}

func (t *tally) add(c course, word string) {
	had := c.first == word
	if had {
		t.first++
	}
	for _, s := range c.steps {
		switch has := s.word == word; {
		case has && !had:
			t.changes = append(t.changes, tallyChange{s.pos, 1})
			had = true
		case !has && had:
			t.changes = append(t.changes, tallyChange{s.pos, -1})
			had = false
		}
	}
}

func (t *tally) sort() {
	slices.SortFunc(t.changes, func(a, b tallyChange) int { return cmp.Compare(a.pos, b.pos) })
	n := t.first
	for i := range t.changes {
		n += t.changes[i].by
		t.changes[i].by = n
	}
}

// around reports whether anybody has the membership just before or just after
// a position: the event of a user's own join or leave is theirs to see.
func (t *tally) around(pos storage.Position) bool {
	i := sort.Search(len(t.changes), func(i int) bool { return t.changes[i].pos >= pos })
	before := t.first
	if i > 0 {
		before = t.changes[i-1].by
	}
	return before > 0 || i < len(t.changes) && t.changes[i].pos == pos && t.changes[i].by > 0
}
