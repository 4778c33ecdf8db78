package rooms

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
)

// Standing is a room as one user stands in it. A room that is being deleted is
// none.
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
		WHERE m.user_id = $1 AND r.deleted = 0`
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
		WHERE m.user_id = $1 AND r.deleted = 0 AND m.room_nid IN ($LIST)`
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
		WHERE m.user_id = $1 AND r.deleted = 0 AND m.pos > $2`
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

func windowTuples(windows []Window) *tuples {
	t := &tuples{types: []string{"BIGINT", "BIGINT", "BIGINT"}, empty: []any{0, 0, 0}}
	t.flat = make([]any, 0, 3*len(windows))
	for _, w := range windows {
		t.flat = append(t.flat, w.RoomNID, int64(w.After), int64(w.UpTo))
	}
	return t
}

// Tail is the end of a window.
type Tail struct {
	Events []*Event // oldest first
	// Floor is the position after which the events begin: that of the last one
	// that the limit left out, or the beginning of the window.
	Floor storage.Position
}

// Tails returns the last accepted events of each window, at most limit, which
// is above 0. A window without events is missing. rules are those of each room.
//
// The floor of each room is found in the index alone, so that a long history
// costs nothing.
func Tails(ctx context.Context, r *storage.Reader, windows []Window, limit int,
	rules func(roomNID int64) *matrix.VersionRules) (map[int64]*Tail, error) {
	found := make(map[int64]*Tail, len(windows))
	const q = `
		WITH w (nid, lo, hi) AS (VALUES $ROWS),
		b AS MATERIALIZED (SELECT w.nid, w.hi, COALESCE((
			SELECT t.pos FROM events t WHERE t.room_nid = w.nid AND t.status = 1 AND t.pos > w.lo AND t.pos <= w.hi
			ORDER BY t.pos DESC LIMIT 1 OFFSET $LAST), w.lo) AS bottom FROM w)
		SELECT b.bottom, ` + leanColumns + ` FROM b
		JOIN events e ON e.room_nid = b.nid AND e.status = 1 AND e.pos > b.bottom AND e.pos <= b.hi
		ORDER BY e.pos`
	err := windowTuples(windows).each(ctx, r, q, limit, func(rows *sql.Rows) error {
		var floor storage.Position
		e, err := scanLean(func(dest ...any) error { return rows.Scan(append([]any{&floor}, dest...)...) }, rules)
		if err != nil {
			return err
		}
		tail := found[e.RoomNID]
		if tail == nil {
			tail = &Tail{Floor: floor}
			found[e.RoomNID] = tail
		}
		tail.Events = append(tail.Events, e)
		return nil
	})
	return found, err
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
	found := make(map[int64][]Delta, len(windows))
	const q = `
		WITH w (nid, lo, hi) AS (VALUES $ROWS)
		SELECT d.room_nid, d.pos, d.type, d.state_key, d.old_nid, d.new_nid
		FROM w JOIN state_delta d ON d.room_nid = w.nid AND d.pos > w.lo AND d.pos <= w.hi
		ORDER BY d.pos`
	err := windowTuples(windows).each(ctx, r, q, nil, func(rows *sql.Rows) error {
		var nid int64
		var d Delta
		var old, now sql.NullInt64
		err := rows.Scan(&nid, &d.Pos, &d.Type, &d.StateKey, &old, &now)
		d.OldNID, d.NewNID = old.Int64, now.Int64
		found[nid] = append(found[nid], d)
		return err
	})
	return found, err
}
