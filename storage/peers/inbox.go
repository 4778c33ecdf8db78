package peers

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Inbound is a transaction that another server sent and that is not worked
// through yet.
type Inbound struct {
	Pos    storage.Position
	Origin matrix.ServerName
	TxnID  string
	Body   []byte
}

// Receive keeps a transaction, so that the origin can be told that it has
// arrived. It reports false, and keeps nothing, if it had arrived before.
func Receive(ctx context.Context, tx *storage.Tx, origin matrix.ServerName, txnID string, body []byte, now int64) (fresh bool, err error) {
	const q = `
		INSERT INTO inbox (origin, txn_id, pos, received_at, done, body) VALUES ($1, $2, $3, $4, 0, $5)
		ON CONFLICT (origin, txn_id) DO NOTHING`
	n, err := tx.Exec(ctx, q, string(origin), txnID, int64(tx.Next()), now, string(body))
	if err != nil {
		return false, fmt.Errorf("keep transaction: %w", err)
	}
	return n > 0, nil
}

// Waiting returns transactions that are not worked through, from after a
// position, in the order in which they arrived. At least one is returned if
// there is one; beyond it, no more than limit and maxBytes.
func Waiting(ctx context.Context, r *storage.Reader, after storage.Position, limit int, maxBytes int64) (out []Inbound, err error) {
	const q = `
		SELECT pos, origin, txn_id, body FROM (
			SELECT pos, origin, txn_id, body, SUM(LENGTH(body)) OVER (ORDER BY pos) - LENGTH(body) AS before
			FROM (SELECT pos, origin, txn_id, body FROM inbox WHERE done = 0 AND pos > $1 ORDER BY pos LIMIT $2) AS waiting
		) AS sized
		WHERE before < $3 ORDER BY pos`
	err = r.Each(ctx, q, []any{int64(after), limit, maxBytes}, func(rows *sql.Rows) error {
		var in Inbound
		var body string
		if err := rows.Scan(&in.Pos, &in.Origin, &in.TxnID, &body); err != nil {
			return err
		}
		in.Body = []byte(body)
		out = append(out, in)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read inbox: %w", err)
	}
	return out, nil
}

// Done drops the body of a transaction that was worked through.
func Done(ctx context.Context, tx *storage.Tx, origin matrix.ServerName, txnID string) error {
	const q = `UPDATE inbox SET done = 1, body = '' WHERE origin = $1 AND txn_id = $2`
	if _, err := tx.Exec(ctx, q, string(origin), txnID); err != nil {
		return fmt.Errorf("finish transaction: %w", err)
	}
	return nil
}

// Forget drops at most limit transactions that were worked through and
// arrived before a time in milliseconds: their origin has long had its answer.
func Forget(ctx context.Context, tx *storage.Tx, before int64, limit int) (dropped int64, err error) {
	const q = `
		DELETE FROM inbox WHERE (origin, txn_id) IN (
			SELECT origin, txn_id FROM inbox WHERE done = 1 AND received_at < $1 ORDER BY received_at LIMIT $2)`
	if dropped, err = tx.Exec(ctx, q, before, limit); err != nil {
		return 0, fmt.Errorf("forget transactions: %w", err)
	}
	return dropped, nil
}
