package rooms

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/storage"
)

// TransactionKey names a transaction ID of a device.
type TransactionKey struct{ User, Device, TxnID string }

// OldTransactions looks at no more than limit transaction IDs after a key, in
// the order of keys, and says whether any of them is from before a time in
// milliseconds. last is where to go on, ok is false where there are no more.
func OldTransactions(ctx context.Context, r *storage.Reader, after TransactionKey, before int64,
	limit int) (last TransactionKey, old, ok bool, err error) {
	const q = `SELECT user_id, device_id, txn_id, created_at FROM transactions
		WHERE (user_id, device_id, txn_id) > ($1, $2, $3) ORDER BY user_id, device_id, txn_id LIMIT $4`
	err = r.Each(ctx, q, []any{after.User, after.Device, after.TxnID, limit}, func(rows *sql.Rows) error {
		var at int64
		err := rows.Scan(&last.User, &last.Device, &last.TxnID, &at)
		old, ok = old || at < before, true
		return err
	})
	return last, old, ok, err
}

// DropTransactions forgets the transaction IDs after one key and up to another
// that are from before a time in milliseconds.
func DropTransactions(ctx context.Context, tx *storage.Tx, after, last TransactionKey, before int64) error {
	const q = `DELETE FROM transactions WHERE created_at < $1
		AND (user_id, device_id, txn_id) > ($2, $3, $4) AND (user_id, device_id, txn_id) <= ($5, $6, $7)`
	_, err := tx.Exec(ctx, q, before, after.User, after.Device, after.TxnID, last.User, last.Device, last.TxnID)
	if err != nil {
		return fmt.Errorf("drop transaction IDs: %w", err)
	}
	return nil
}
