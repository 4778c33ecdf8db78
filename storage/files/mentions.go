package files

import (
	"context"
	"database/sql"

	"beffroi/matrix"
	"beffroi/storage"
)

// Mention is an event that speaks of a file.
type Mention struct {
	Pos  storage.Position
	Room matrix.RoomID
	JSON string
}

// Mentions returns events after a position that have an mxc:// URI in them, in
// the order of the log. Those of members are none: their pictures belong to an
// account and not to a room.
func Mentions(ctx context.Context, r *storage.Reader, after, upTo storage.Position, limit int) (list []Mention, err error) {
	const q = `SELECT e.pos, r.room_id, e.json FROM events e JOIN rooms r ON r.room_nid = e.room_nid
		WHERE e.status = 1 AND e.pos > 0 AND e.pos > $1 AND e.pos <= $2
		AND e.type NOT IN ('m.room.encrypted', 'm.room.member') AND e.json LIKE '%mxc://%' ORDER BY e.pos LIMIT $3`
	err = r.Each(ctx, q, []any{int64(after), int64(upTo), limit}, func(rows *sql.Rows) error {
		var m Mention
		err := rows.Scan(&m.Pos, &m.Room, &m.JSON)
		list = append(list, m)
		return err
	})
	return list, err
}

var insertRoom = storage.NewInsert("media_rooms", []string{"room_id", "origin", "media_id"}, "ON CONFLICT DO NOTHING")

// AddRoom keeps that an event of a room spoke of a file.
func AddRoom(tx *storage.Tx, room matrix.RoomID, mxc matrix.MXC) {
	tx.Insert(insertRoom, string(room), string(mxc.Server.Normalise()), mxc.ID)
}

// OfRemovedRooms returns files from before a time that belonged to rooms alone
// which this server has removed. What is somebody's picture stays, and what is
// protected.
func OfRemovedRooms(ctx context.Context, r *storage.Reader, before int64, limit int) ([]matrix.MXC, error) {
	const q = `SELECT m.origin, m.media_id FROM media m WHERE m.created < $1 AND m.protected = 0
		AND (m.room_id <> '' OR EXISTS (SELECT 1 FROM media_rooms x WHERE x.origin = m.origin AND x.media_id = m.media_id))
		AND NOT EXISTS (SELECT 1 FROM rooms r WHERE r.room_id = m.room_id AND r.deleted = 0)
		AND NOT EXISTS (SELECT 1 FROM media_rooms x JOIN rooms r ON r.room_id = x.room_id AND r.deleted = 0
			WHERE x.origin = m.origin AND x.media_id = m.media_id)
		AND NOT EXISTS (SELECT 1 FROM profiles p WHERE p.field = 'avatar_url' AND p.value = '"mxc://' || m.origin || '/' || m.media_id || '"')
		LIMIT $2`
	return names(ctx, r, q, before, limit)
}
