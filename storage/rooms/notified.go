package rooms

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Notified is an event that a user may be notified of.
type Notified struct {
	RoomNID, EventNID int64
	Pos               storage.Position
	Notice            int
	Own               bool // what follows is of the user alone, and stands in the place of the notice
	Notify, Highlight bool
}

// NotifiedIn returns the last events with a notice before a position, of each
// window of a room, but for those of the user: at most limit of the main
// timeline and of threads each.
func NotifiedIn(ctx context.Context, r *storage.Reader, user matrix.UserID, windows []Window, limit int) (found []Notified, err error) {
	flat := make([]any, 0, 5*len(windows))
	for _, w := range windows {
		flat = append(flat, w.RoomNID, string(user), int64(w.After), int64(w.UpTo), limit)
	}
	const half = `SELECT e.room_nid, e.event_nid, e.pos, e.notice FROM events e
		WHERE e.room_nid = %1 AND e.sender <> %2 AND e.pos > %3 AND e.pos <= %4 AND e.notice > 0 AND e.thread_id `
	const arm = `SELECT * FROM (` + half + `= '' ORDER BY e.pos DESC LIMIT %5) m
		UNION ALL SELECT * FROM (` + half + `<> '' ORDER BY e.pos DESC LIMIT %5) t`
	err = eachTuple(ctx, r, arm, 5, flat, func(rows *sql.Rows) error {
		var n Notified
		err := rows.Scan(&n.RoomNID, &n.EventNID, &n.Pos, &n.Notice)
		found = append(found, n)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read notices: %w", err)
	}
	return found, nil
}

// NotifiedAlone returns the last events up to a position that are something of
// their own for a user, newest first.
func NotifiedAlone(ctx context.Context, r *storage.Reader, user matrix.UserID, upTo storage.Position, limit int) (found []Notified, err error) {
	const q = `SELECT room_nid, event_nid, pos, notice, notify, highlight FROM notices
		WHERE user_id = $1 AND pos <= $2 ORDER BY pos DESC LIMIT $3`
	err = r.Each(ctx, q, []any{string(user), int64(upTo), limit}, func(rows *sql.Rows) error {
		n := Notified{Own: true}
		err := rows.Scan(&n.RoomNID, &n.EventNID, &n.Pos, &n.Notice, &n.Notify, &n.Highlight)
		found = append(found, n)
		return err
	})
	return found, err
}
