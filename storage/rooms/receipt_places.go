package rooms

import (
	"context"
	"database/sql"

	"beffroi/matrix"
	"beffroi/storage"
)

// ReceiptPlace returns where in the room the event stands that the receipt of
// a user names. ok is false if there is no such receipt, or its event is gone.
func ReceiptPlace(ctx context.Context, tx *storage.Tx, rc Receipt) (place storage.Position, ok bool, err error) {
	const q = `SELECT e.pos FROM receipts c JOIN events e ON e.event_id = c.event_id
		WHERE c.room_nid = $1 AND c.user_id = $2 AND c.receipt_type = $3 AND c.thread_id = $4`
	err = tx.QueryRow(ctx, q, rc.RoomNID, string(rc.User), rc.Type, rc.ThreadID).Scan(&place)
	if storage.NoRows(err) {
		return 0, false, nil
	}
	return place, err == nil, err
}

// JoinedAmong returns those of the users who have joined a room.
func JoinedAmong(ctx context.Context, r *storage.Reader, roomNID int64, users []matrix.UserID) (map[matrix.UserID]bool, error) {
	found := make(map[matrix.UserID]bool, len(users))
	const q = `SELECT user_id FROM memberships WHERE room_nid = $1 AND membership = 'join' AND user_id IN ($LIST)`
	err := storage.EachIn(ctx, r, q, []any{roomNID}, texts(users), func(rows *sql.Rows) error {
		var id matrix.UserID
		err := rows.Scan(&id)
		found[id] = true
		return err
	})
	return found, err
}

// ByIDs returns those of the rooms that this server has heard of.
func ByIDs(ctx context.Context, r *storage.Reader, ids []matrix.RoomID) (map[matrix.RoomID]Room, error) {
	found := make(map[matrix.RoomID]Room, len(ids))
	const q = `SELECT ` + roomColumns + ` FROM rooms WHERE deleted = 0 AND room_id IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, texts(ids), func(rows *sql.Rows) error {
		room, err := scanRoom(rows.Scan)
		found[room.ID] = room
		return err
	})
	return found, err
}
