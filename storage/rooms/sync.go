package rooms

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
)

// Standing is a room as one user stands in it. A room that is being removed is
// one that its users have left, of which nothing is told but that: see [Hide].
type Standing struct {
	Member
	RoomID          matrix.RoomID
	Rules           *matrix.VersionRules
	HeadPos         storage.Position // of the last live event
	Joined, Invited int64
}

const standingColumns = memberColumns + `, r.room_id, r.room_version, r.head_pos, r.joined, r.invited`

func scanStanding(rows *sql.Rows) (s Standing, err error) {
	var version matrix.RoomVersion
	s.Member, err = scanMember(func(dest ...any) error {
		return rows.Scan(append(dest, &s.RoomID, &version, &s.HeadPos, &s.Joined, &s.Invited)...)
	})
	if err != nil {
		return s, err
	}
	s.Rules, err = version.Rules()
	return s, err
}

// StandingsOf returns every room that a user has a membership in.
func StandingsOf(ctx context.Context, r *storage.Reader, user matrix.UserID) (found []Standing, err error) {
	const q = `SELECT ` + standingColumns + ` FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
		WHERE m.user_id = $1`
	err = r.Each(ctx, q, []any{string(user)}, func(rows *sql.Rows) error {
		s, err := scanStanding(rows)
		found = append(found, s)
		return err
	})
	return found, err
}

// StandingsIn returns those of some rooms that a user has a membership in.
func StandingsIn(ctx context.Context, r *storage.Reader, user matrix.UserID, roomNIDs []int64) (found []Standing, err error) {
	const q = `SELECT ` + standingColumns + ` FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
		WHERE m.user_id = $1 AND m.room_nid IN ($LIST)`
	err = storage.EachIn(ctx, r, q, []any{string(user)}, roomNIDs, func(rows *sql.Rows) error {
		s, err := scanStanding(rows)
		found = append(found, s)
		return err
	})
	return found, err
}

// StandingsSince returns the rooms in which the membership of a user changed
// after a position.
func StandingsSince(ctx context.Context, r *storage.Reader, user matrix.UserID, after storage.Position) (found []Standing, err error) {
	const q = `SELECT ` + standingColumns + ` FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
		WHERE m.user_id = $1 AND m.pos > $2`
	err = r.Each(ctx, q, []any{string(user), int64(after)}, func(rows *sql.Rows) error {
		s, err := scanStanding(rows)
		found = append(found, s)
		return err
	})
	return found, err
}

// Window is a stretch of a room: After < pos ≤ UpTo.
type Window struct {
	RoomNID     int64
	After, UpTo storage.Position
}

// Tail is the end of a window.
type Tail struct {
	Events []*Event // oldest first
	// Floor is the position after which the events begin: that of the last one
	// that the limit left out, or the beginning of the window.
	Floor storage.Position
}

// Tails returns the last accepted events of each window, at most limit. A
// window without events is missing. rules are those of each room.
func Tails(ctx context.Context, r *storage.Reader, windows []Window, limit int,
	rules func(roomNID int64) *matrix.VersionRules) (map[int64]*Tail, error) {
	flat := make([]any, 0, 4*len(windows))
	for _, w := range windows {
		flat = append(flat, w.RoomNID, int64(w.After), int64(w.UpTo), limit+1)
	}
	const arm = `SELECT ` + leanColumns + ` FROM events e
		WHERE e.room_nid = %1 AND e.status = 1 AND e.pos > %2 AND e.pos <= %3 ORDER BY e.pos DESC LIMIT %4`
	found := make(map[int64]*Tail, len(windows))
	if err := eachTuple(ctx, r, arm, 4, flat, func(rows *sql.Rows) error {
		e, err := scanLean(rows.Scan, rules)
		if err != nil {
			return err
		}
		tail := found[e.RoomNID]
		if tail == nil {
			tail = new(Tail)
			found[e.RoomNID] = tail
		}
		tail.Events = append(tail.Events, e)
		return nil
	}); err != nil {
		return nil, err
	}
	for _, w := range windows {
		if tail := found[w.RoomNID]; tail != nil {
			tail.trim(w, limit)
		}
	}
	return found, nil
}

// trim puts the events in order and takes away the one that is too many.
func (t *Tail) trim(w Window, limit int) {
	slices.SortFunc(t.Events, func(x, y *Event) int { return cmp.Compare(x.Pos, y.Pos) })
	t.Floor = w.After
	if len(t.Events) > limit {
		t.Floor = t.Events[0].Pos
		t.Events = t.Events[1:]
	}
}

// leanColumns are what clients are shown of an event, without a look at its
// room for every row.
const leanColumns = `e.event_nid, e.event_id, e.room_nid, e.pos, e.status, e.redacted_by, e.json`

func scanLean(scan func(...any) error, rules func(roomNID int64) *matrix.VersionRules) (*Event, error) {
	var e Event
	var id matrix.EventID
	var redactedBy sql.NullString
	var json []byte
	err := scan(&e.NID, &id, &e.RoomNID, &e.Pos, &e.Status, &redactedBy, &json)
	if err != nil {
		return nil, err
	}
	if e.Event, err = event.ParseStored(json, id, rules(e.RoomNID)); err != nil {
		return nil, fmt.Errorf("stored event %s: %w", id, err)
	}
	e.RedactedBy = matrix.EventID(redactedBy.String)
	return &e, nil
}

// DeltasIn returns the changes of the state in each window, in the order of
// their positions.
func DeltasIn(ctx context.Context, r *storage.Reader, windows []Window) (map[int64][]Delta, error) {
	flat := make([]any, 0, 3*len(windows))
	for _, w := range windows {
		flat = append(flat, w.RoomNID, int64(w.After), int64(w.UpTo))
	}
	const arm = `SELECT d.room_nid, d.pos, d.type, d.state_key, d.old_nid, d.new_nid FROM state_delta d
		WHERE d.room_nid = %1 AND d.pos > %2 AND d.pos <= %3`
	found := make(map[int64][]Delta, len(windows))
	err := eachTuple(ctx, r, arm, 3, flat, func(rows *sql.Rows) error {
		var nid int64
		var d Delta
		var old, now sql.NullInt64
		err := rows.Scan(&nid, &d.Pos, &d.Type, &d.StateKey, &old, &now)
		d.OldNID, d.NewNID = old.Int64, now.Int64
		found[nid] = append(found[nid], d)
		return err
	})
	for _, deltas := range found {
		slices.SortStableFunc(deltas, func(x, y Delta) int { return cmp.Compare(x.Pos, y.Pos) })
	}
	return found, err
}
