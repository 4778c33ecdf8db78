package rooms

import (
	"context"
	"database/sql"

	"beffroi/matrix"
	"beffroi/storage"
)

// LiveEvents returns the accepted events of some types with from < pos ≤ to,
// of all rooms.
func LiveEvents(ctx context.Context, r *storage.Reader, types []string, from, to storage.Position) (found []*Event, err error) {
	const q = `SELECT ` + eventColumns + ` FROM events e
		WHERE e.status = 1 AND e.pos > 0 AND e.pos > $1 AND e.pos <= $2 AND e.type IN ($LIST)`
	err = storage.EachIn(ctx, r, q, []any{int64(from), int64(to)}, types, func(rows *sql.Rows) error {
		e, err := scanEvent(rows.Scan)
		found = append(found, e)
		return err
	})
	return found, err
}

// Unredacted returns which of some events are there, and were not redacted.
func Unredacted(ctx context.Context, r *storage.Reader, nids []int64) (map[int64]bool, error) {
	found := make(map[int64]bool, len(nids))
	const q = `SELECT event_nid FROM events WHERE redacted_by IS NULL AND event_nid IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, nids, func(rows *sql.Rows) error {
		var nid int64
		err := rows.Scan(&nid)
		found[nid] = true
		return err
	})
	return found, err
}

// MembersMoved returns the memberships that changed with from < pos ≤ to.
func MembersMoved(ctx context.Context, r *storage.Reader, from, to storage.Position) ([]Member, error) {
	const q = `SELECT ` + memberColumns + ` FROM memberships m WHERE m.pos > $1 AND m.pos <= $2`
	return listMembers(ctx, r, q, int64(from), int64(to))
}

// RoomsForSearch returns the rooms whose history a user may search: those that
// they have joined, or have left and not forgotten.
func RoomsForSearch(ctx context.Context, r *storage.Reader, user matrix.UserID, limit int) (found map[matrix.RoomID]int64, err error) {
	found = make(map[matrix.RoomID]int64)
	const q = `SELECT r.room_id, r.room_nid FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
		WHERE m.user_id = $1 AND m.forgotten = 0 AND r.deleted = 0 AND m.membership IN ('join', 'leave', 'ban')
		ORDER BY m.membership = 'join' DESC, r.head_pos DESC LIMIT $2`
	err = r.Each(ctx, q, []any{string(user), limit}, func(rows *sql.Rows) error {
		var id matrix.RoomID
		var nid int64
		err := rows.Scan(&id, &nid)
		found[id] = nid
		return err
	})
	return found, err
}
