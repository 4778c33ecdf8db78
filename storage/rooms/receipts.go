package rooms

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Receipt says how far a user has read.
//
// https://spec.matrix.org/v1.19/client-server-api/#receipts
type Receipt struct {
	RoomNID  int64
	User     matrix.UserID
	Type     string // m.read or m.read.private
	ThreadID string // "" for none, "main" for the main timeline, or the ID of the thread's root
	EventID  matrix.EventID
	TS       int64 // milliseconds
	Pos      storage.Position
}

// SetReceipt replaces the receipt of the user in the room, of the type, in the
// thread.
func SetReceipt(ctx context.Context, tx *storage.Tx, rc Receipt) error {
	const q = `
		INSERT INTO receipts (room_nid, user_id, receipt_type, thread_id, event_id, ts, pos)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (room_nid, user_id, receipt_type, thread_id) DO UPDATE
		SET event_id = excluded.event_id, ts = excluded.ts, pos = excluded.pos`
	_, err := tx.Exec(ctx, q, rc.RoomNID, string(rc.User), rc.Type, rc.ThreadID, string(rc.EventID), rc.TS, int64(tx.Next()))
	if err != nil {
		return fmt.Errorf("set receipt: %w", err)
	}
	return nil
}

// Receipts returns the receipts of rooms with from < pos ≤ to. Private ones
// are only their user's business: the caller leaves out the others'.
func Receipts(ctx context.Context, r *storage.Reader, roomNIDs []int64, from, to storage.Position) (found []Receipt, err error) {
	const q = `SELECT room_nid, user_id, receipt_type, thread_id, event_id, ts, pos FROM receipts
		WHERE pos > $1 AND pos <= $2 AND room_nid IN ($LIST)`
	err = storage.EachIn(ctx, r, q, []any{int64(from), int64(to)}, roomNIDs, func(rows *sql.Rows) error {
		var rc Receipt
		err := rows.Scan(&rc.RoomNID, &rc.User, &rc.Type, &rc.ThreadID, &rc.EventID, &rc.TS, &rc.Pos)
		found = append(found, rc)
		return err
	})
	return found, err
}
