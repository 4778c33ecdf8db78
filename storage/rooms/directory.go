package rooms

import (
	"context"
	"database/sql"

	"beffroi/storage"
)

// DirectoryPage returns rooms of the directory that have members, the largest
// first: at most limit, after the first skip.
func DirectoryPage(ctx context.Context, r *storage.Reader, skip, limit int) (found []Room, err error) {
	const q = `SELECT ` + roomColumns + ` FROM rooms WHERE published = 1 AND joined > 0
		ORDER BY joined DESC, room_id LIMIT $1 OFFSET $2`
	err = r.Each(ctx, q, []any{limit, skip}, func(rows *sql.Rows) error {
		room, err := scanRoom(rows.Scan)
		found = append(found, room)
		return err
	})
	return found, err
}

// DirectorySize returns how many rooms of the directory have members.
func DirectorySize(ctx context.Context, r *storage.Reader) (n int, err error) {
	const q = `SELECT COUNT(*) FROM rooms WHERE published = 1 AND joined > 0`
	err = r.QueryRow(ctx, q).Scan(&n)
	return n, err
}

// SummaryState returns, by room and type, the events of the state of rooms now
// that tell strangers what a room is.
func SummaryState(ctx context.Context, r *storage.Reader, roomNIDs []int64) (map[int64]map[string]*Event, error) {
	found := make(map[int64]map[string]*Event, len(roomNIDs))
	const q = `SELECT ` + eventColumns + ` FROM current_state s JOIN events e ON e.event_nid = s.event_nid
		WHERE s.state_key = '' AND s.type IN ('m.room.create', 'm.room.name', 'm.room.topic', 'm.room.avatar',
			'm.room.canonical_alias', 'm.room.history_visibility', 'm.room.guest_access', 'm.room.join_rules',
			'm.room.encryption', 'im.vector.room.access_rules')
		AND s.room_nid IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, roomNIDs, func(rows *sql.Rows) error {
		e, err := scanEvent(rows.Scan)
		if err != nil {
			return err
		}
		if found[e.RoomNID] == nil {
			found[e.RoomNID] = make(map[string]*Event)
		}
		found[e.RoomNID][e.Type()] = e
		return nil
	})
	return found, err
}
