package peers

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// DeadLetter is an event of another server that could not be handled, by our
// fault or because what it refers to could not be had, and was given up.
type DeadLetter struct {
	Pos    storage.Position
	Origin matrix.ServerName
	TxnID  string
	Room   matrix.RoomID
	Reason string
	At     int64 // ms
	Body   []byte
}

// MaxDeadLetters is how many are kept: the newest, for an operator to look at.
const MaxDeadLetters = 1000

// AddDeadLetters keeps events that were given up, each at a position of its
// own, and drops the oldest beyond [MaxDeadLetters].
func AddDeadLetters(ctx context.Context, tx *storage.Tx, letters []DeadLetter) error {
	for _, l := range letters {
		tx.Insert(insertDeadLetter, int64(tx.Next()), string(l.Origin), l.TxnID, string(l.Room), l.Reason, l.At, string(l.Body))
	}
	const q = `
		DELETE FROM dead_letters WHERE pos <= (
			SELECT pos FROM dead_letters ORDER BY pos DESC LIMIT 1 OFFSET $1)`
	if _, err := tx.Exec(ctx, q, MaxDeadLetters); err != nil {
		return fmt.Errorf("trim dead letters: %w", err)
	}
	return nil
}

var insertDeadLetter = storage.NewInsert("dead_letters",
	[]string{"pos", "origin", "txn_id", "room_id", "reason", "at", "body"}, "")

// DeadLetters returns at most limit of them, the newest first.
func DeadLetters(ctx context.Context, r *storage.Reader, limit int) (out []DeadLetter, err error) {
	const q = `SELECT pos, origin, txn_id, room_id, reason, at, body FROM dead_letters ORDER BY pos DESC LIMIT $1`
	err = r.Each(ctx, q, []any{limit}, func(rows *sql.Rows) error {
		var l DeadLetter
		var body string
		err := rows.Scan(&l.Pos, &l.Origin, &l.TxnID, &l.Room, &l.Reason, &l.At, &body)
		l.Body = []byte(body)
		out = append(out, l)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	return out, nil
}

// Received reports whether a transaction has arrived, worked through or not.
func Received(ctx context.Context, r *storage.Reader, origin matrix.ServerName, txnID string) (bool, error) {
	var done int
	err := r.QueryRow(ctx, `SELECT done FROM inbox WHERE origin = $1 AND txn_id = $2`, string(origin), txnID).Scan(&done)
	if storage.NoRows(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read inbox: %w", err)
	}
	return true, nil
}

// WaitingNames returns the first transactions that are not worked through, in
// the order in which they arrived, without their bodies.
func WaitingNames(ctx context.Context, r *storage.Reader, limit int) (out []Inbound, err error) {
	const q = `SELECT pos, origin, txn_id FROM inbox WHERE done = 0 ORDER BY pos LIMIT $1`
	err = r.Each(ctx, q, []any{limit}, func(rows *sql.Rows) error {
		var in Inbound
		err := rows.Scan(&in.Pos, &in.Origin, &in.TxnID)
		out = append(out, in)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read inbox: %w", err)
	}
	return out, nil
}
