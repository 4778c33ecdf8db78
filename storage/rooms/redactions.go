package rooms

import (
	"context"
	"database/sql"

	"beffroi/matrix"
	"beffroi/storage"
)

var insertPending = storage.NewInsert("pending_redactions", []string{"room_nid", "target_id", "redaction_id"},
	"ON CONFLICT DO NOTHING")

// AddPendingRedaction notes a redaction of an event that has not come yet.
func AddPendingRedaction(tx *storage.Tx, roomNID int64, target, redaction matrix.EventID) {
	tx.Insert(insertPending, roomNID, string(target), string(redaction))
}

// PendingRedactions returns the redactions that wait for an event.
func PendingRedactions(ctx context.Context, r *storage.Reader, roomNID int64, target matrix.EventID) ([]matrix.EventID, error) {
	const q = `SELECT redaction_id FROM pending_redactions WHERE room_nid = $1 AND target_id = $2 ORDER BY redaction_id`
	return storage.Column[matrix.EventID](ctx, r, q, roomNID, string(target))
}

// AnyPendingRedaction reports whether a redaction waits for one of some events.
func AnyPendingRedaction(ctx context.Context, r *storage.Reader, roomNID int64, targets []matrix.EventID) (found bool, err error) {
	const q = `SELECT target_id FROM pending_redactions WHERE room_nid = $1 AND target_id IN ($LIST)`
	err = storage.EachIn(ctx, r, q, []any{roomNID}, texts(targets), func(*sql.Rows) error {
		found = true
		return nil
	})
	return found, err
}

// RemovePendingRedaction forgets a redaction whose event has come.
func RemovePendingRedaction(ctx context.Context, tx *storage.Tx, roomNID int64, target, redaction matrix.EventID) error {
	const q = `DELETE FROM pending_redactions WHERE room_nid = $1 AND target_id = $2 AND redaction_id = $3`
	_, err := tx.Exec(ctx, q, roomNID, string(target), string(redaction))
	return err
}
