package roomserver

import (
	"context"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// The words of m.room.history_visibility.
const (
	visWorldReadable = "world_readable"
	visShared        = "shared"
	visInvited       = "invited"
	visJoined        = "joined"
)

// Sights knows what one user may see of some rooms. It is for one snapshot of
// the database, and for one goroutine.
type Sights struct {
	user  matrix.UserID
	rooms map[int64]*sight
}

// NewSights returns the sights of a user. members are memberships that the
// caller has read already; those of other rooms are read when they are needed.
func NewSights(user matrix.UserID, members map[int64]rooms.Member) *Sights {
	v := &Sights{user: user, rooms: make(map[int64]*sight, len(members))}
	for nid, m := range members {
		v.rooms[nid] = newSight(m)
	}
	return v
}

// VisibleToUser returns those of the events that a user may see, in their
// order. They may be of several rooms.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
func VisibleToUser(ctx context.Context, r *storage.Reader, user matrix.UserID, events []*rooms.Event) ([]*rooms.Event, error) {
	v := NewSights(user, nil)
	if err := v.Look(ctx, r, events); err != nil {
		return nil, err
	}
	return v.Visible(events), nil
}

// Visible returns those of the events that the user may see, in their order.
// [Sights.Look] must have been called with them.
func (v *Sights) Visible(events []*rooms.Event) []*rooms.Event {
	seen := make([]*rooms.Event, 0, len(events))
	for _, e := range events {
		if v.Sees(e) {
			seen = append(seen, e)
		}
	}
	return seen
}

// Sees reports whether the user may see an event. Every read by a user, on
// whatever path, ends here. An event that [Sights.Look] was not called with is
// seen only by one who has been joined since before it.
func (v *Sights) Sees(e *rooms.Event) bool {
	g := v.rooms[e.RoomNID]
	return g != nil && e.Status == rooms.Accepted && g.sees(v.user, e)
}

// Membership returns the membership of the user at an event, what the event
// itself changes included: join, invite, knock, ban, or leave for none.
//
// https://spec.matrix.org/v1.19/client-server-api/#definition-clientevent_unsigneddata
func (v *Sights) Membership(e *rooms.Event) string {
	g := v.rooms[e.RoomNID]
	switch {
	case e.IsStateKey("m.room.member", string(v.user)):
		return e.Membership()
	case g == nil:
		return "leave"
	case g.joinedAt(e):
		return "join"
	}
	if word := g.member.after(e.Pos); word != "" {
		return word
	}
	return "leave"
}

// Look reads what is needed to judge some events: nothing more where the user
// has been joined since before them, else the history of the membership and of
// the visibility, in five queries for all rooms together.
func (v *Sights) Look(ctx context.Context, r *storage.Reader, events []*rooms.Event) error {
	if err := v.readMembers(ctx, r, events); err != nil {
		return err
	}
	var want []int64
	listed := make(map[int64]bool)
	for _, e := range events {
		g := v.rooms[e.RoomNID]
		if !g.full && !listed[e.RoomNID] && !g.joinedAt(e) {
			listed[e.RoomNID] = true
			want = append(want, e.RoomNID)
		}
	}
	return v.readCourses(ctx, r, want)
}

func (v *Sights) readMembers(ctx context.Context, r *storage.Reader, events []*rooms.Event) error {
	var unknown []int64
	for _, e := range events {
		if v.rooms[e.RoomNID] == nil {
			v.rooms[e.RoomNID] = newSight(rooms.Member{RoomNID: e.RoomNID})
			unknown = append(unknown, e.RoomNID)
		}
	}
	members, err := rooms.MembershipsIn(ctx, r, v.user, unknown)
	for nid, m := range members {
		v.rooms[nid] = newSight(m)
	}
	return err
}

// readCourses makes the sights of some rooms full.
func (v *Sights) readCourses(ctx context.Context, r *storage.Reader, nids []int64) error {
	if len(nids) == 0 {
		return nil
	}
	settings, err := rooms.Courses(ctx, r, nids, event.StateTuple{Type: "m.room.history_visibility"})
	if err != nil {
		return err
	}
	members, err := rooms.Courses(ctx, r, nids, event.StateTuple{Type: "m.room.member", StateKey: string(v.user)})
	if err != nil {
		return err
	}
	events, err := eventsOfCourses(ctx, r, settings, members)
	if err != nil {
		return err
	}
	for _, nid := range nids {
		g := v.rooms[nid]
		g.full = true
		g.setting = newCourse(settings[nid], events, visibilityWord)
		if !g.forgotten {
			g.member = newCourse(members[nid], events, membershipWord)
			g.left = g.member.lastLeft()
		}
	}
	return nil
}

func eventsOfCourses(ctx context.Context, r *storage.Reader, lists ...map[int64]*rooms.Course) (map[int64]*rooms.Event, error) {
	var nids []int64
	for _, list := range lists {
		for _, c := range list {
			nids = appendNIDs(nids, c)
		}
	}
	return rooms.EventsByNID(ctx, r, nids)
}

func appendNIDs(nids []int64, c *rooms.Course) []int64 {
	if c.First != 0 {
		nids = append(nids, c.First)
	}
	for _, step := range c.Steps {
		if step.NID != 0 {
			nids = append(nids, step.NID)
		}
	}
	return nids
}

// sight is what a user may see of one room.
type sight struct {
	// since is from where on the user has been joined without a break and
	// without a new membership event, 0 where the user is not joined.
	since     storage.Position
	forgotten bool

	// Only where full.
	full    bool
	setting course // of m.room.history_visibility
	member  course // of the membership of the user
	left    *ending
}

func newSight(m rooms.Member) *sight {
	g := &sight{forgotten: m.Forgotten}
	if m.Membership == "join" {
		g.since = m.Pos
	}
	return g
}

// joinedAt reports whether the user is known to have been joined at an event
// without a look at the history.
func (g *sight) joinedAt(e *rooms.Event) bool { return g.since > 0 && e.Pos >= g.since }

func (g *sight) sees(user matrix.UserID, e *rooms.Event) bool {
	switch {
	case g.joinedAt(e):
		return true
	case !g.full:
		return false
	case e.IsStateKey("m.room.member", string(user)):
		return !g.forgotten
	}
	before := visibilityOr(g.setting.before(e.Pos))
	if e.IsStateKey("m.room.history_visibility", "") {
		return g.allows(before, e) || g.allows(visibilityWord(e), e)
	}
	return g.allows(before, e)
}

// allows is the rules of the specification, for a visibility. The state at an
// event is that of the room at its position; events that were backfilled are
// from before everything this server knows.
//
// Divergence: who has left, or was removed, sees nothing from after that, not
// even what is world_readable, until they are in again or forget the room.
func (g *sight) allows(visibility string, e *rooms.Event) bool {
	if g.left.precedes(e) {
		return false
	}
	membership := g.member.before(e.Pos)
	switch {
	case visibility == visWorldReadable: // 1
		return true
	case membership == "join": // 2
		return true
	case visibility == visShared: // 3
		return g.everJoined()
	case visibility == visInvited: // 4
		return membership == "invite"
	}
	return false // 5
}

// everJoined reports whether the user is or was joined.
func (g *sight) everJoined() bool { return g.since > 0 || g.left != nil }
