package peers

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Refused is a message that another server did not take, and that was given up.
type Refused struct {
	Pos         storage.Position
	Destination matrix.ServerName
	EventNID    int64  // 0: an EDU
	EDU         string // "" for an event
	Reason      string
	At          int64 // ms
}

var insertRefused = storage.NewInsert("outbox_dead_letters",
	[]string{"pos", "destination", "event_nid", "edu", "reason", "at"}, "")

// AddRefused keeps a message that was given up and drops the oldest beyond
// [MaxDeadLetters].
func AddRefused(ctx context.Context, tx *storage.Tx, l Refused) error {
	tx.Insert(insertRefused, int64(tx.Next()), string(l.Destination), l.EventNID, l.EDU, l.Reason, l.At)
	const q = `
		DELETE FROM outbox_dead_letters WHERE pos <= (
			SELECT pos FROM outbox_dead_letters ORDER BY pos DESC LIMIT 1 OFFSET $1)`
	if _, err := tx.Exec(ctx, q, MaxDeadLetters); err != nil {
		return fmt.Errorf("trim dead letters of the outbox: %w", err)
	}
	return nil
}

// RefusedMessages returns at most limit of them, the newest first.
func RefusedMessages(ctx context.Context, r *storage.Reader, limit int) (out []Refused, err error) {
	const q = `
		SELECT pos, destination, event_nid, edu, reason, at FROM outbox_dead_letters ORDER BY pos DESC LIMIT $1`
	err = r.Each(ctx, q, []any{limit}, func(rows *sql.Rows) error {
		var l Refused
		err := rows.Scan(&l.Pos, &l.Destination, &l.EventNID, &l.EDU, &l.Reason, &l.At)
		out = append(out, l)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read dead letters of the outbox: %w", err)
	}
	return out, nil
}

// WaitingPDUs counts the events that wait for a server, up to limit.
func WaitingPDUs(ctx context.Context, r *storage.Reader, name matrix.ServerName, limit int) (n int, err error) {
	const q = `SELECT COUNT(*) FROM (SELECT 1 FROM outbox_pdus WHERE destination = $1 LIMIT $2) AS waiting`
	if err := r.QueryRow(ctx, q, string(name), limit).Scan(&n); err != nil {
		return 0, fmt.Errorf("count outbox: %w", err)
	}
	return n, nil
}

// KeepNewest drops the events that wait for a server after a position, but for
// the newest of each room: the server asks for what is before it.
func KeepNewest(ctx context.Context, tx *storage.Tx, name matrix.ServerName, after storage.Position) (dropped int64, err error) {
	const q = `
		DELETE FROM outbox_pdus WHERE destination = $1 AND pos > $2 AND pos NOT IN (
			SELECT MAX(o.pos) FROM outbox_pdus o JOIN events e ON e.event_nid = o.event_nid
			WHERE o.destination = $3 GROUP BY e.room_nid)`
	if dropped, err = tx.Exec(ctx, q, string(name), int64(after), string(name)); err != nil {
		return 0, fmt.Errorf("thin outbox: %w", err)
	}
	return dropped, nil
}
