package peers

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"beffroi/matrix"
	"beffroi/storage"
)

const (
	// MaxEDUBytes is the longest message that is no event. A hundred of them
	// and fifty events make a transaction that every server still takes.
	MaxEDUBytes = 64 << 10
	// MaxWaitingEDUs is about how many of them wait for a server that is away.
	// The oldest beyond it are dropped.
	MaxWaitingEDUs = 20000
)

// EDU is a message between servers that is no event.
type EDU struct {
	Type    string          `json:"edu_type"`
	Content json.RawMessage `json:"content"`
}

// AddEDU queues a message for servers, in the transaction of the owner that
// has a reason to send it; it is then sent once that has committed. Where key
// is not "", messages of the same key that wait are replaced: only the newest
// matters. One that is longer than [MaxEDUBytes] is M_TOO_LARGE.
func AddEDU(ctx context.Context, tx *storage.Tx, destinations []matrix.ServerName, edu EDU, key string) error {
	raw, err := edu.Encode()
	if err != nil {
		return err
	}
	if key != "" {
		// What is in a transaction under way stays there: it must be repeated
		// as it was, and this one comes after it.
		const q = `
			DELETE FROM outbox_edus WHERE edu_key = $1 AND edu_key <> '' AND pos > COALESCE(
				(SELECT txn_edus_to FROM destinations WHERE destinations.destination = outbox_edus.destination), 0)
			AND destination IN ($LIST)`
		if _, err := storage.ExecIn(ctx, tx, q, []any{key}, names(destinations)); err != nil {
			return fmt.Errorf("replace EDU: %w", err)
		}
	}
	for _, destination := range destinations {
		tx.Insert(insertEDU, string(destination), int64(tx.Next()), key, string(raw))
	}
	return nil
}

var (
	insertEDU = storage.NewInsert("outbox_edus", []string{"destination", "pos", "edu_key", "edu"}, "")
	insertPDU = storage.NewInsert("outbox_pdus", []string{"destination", "pos", "event_nid"}, "ON CONFLICT DO NOTHING")
)

// Encode returns the message as it is sent, or M_TOO_LARGE.
func (e EDU) Encode() (json.RawMessage, error) {
	raw, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("marshal EDU: %w", err)
	}
	if len(raw) > MaxEDUBytes {
		return nil, matrix.TooLarge("the %s is longer than %d bytes", e.Type, MaxEDUBytes)
	}
	return raw, nil
}

// AddPDU queues an event, at its place in the log, for servers.
func AddPDU(tx *storage.Tx, destinations []matrix.ServerName, pos storage.Position, eventNID int64) {
	for _, destination := range destinations {
		tx.Insert(insertPDU, string(destination), int64(pos), eventNID)
	}
}

// Destination is how it stands with sending to a server.
type Destination struct {
	TxnID    string           // of the transaction under way, "" for none
	PDUsTo   storage.Position // the last event in it, or in the one before
	EDUsTo   storage.Position // the last EDU in it, or in the one before
	Failures int              // in a row
	RetryAt  int64            // ms
}

// ReadDestination returns how it stands with sending to a server.
func ReadDestination(ctx context.Context, r *storage.Reader, name matrix.ServerName) (d Destination, err error) {
	const q = `SELECT txn_id, txn_pdus_to, txn_edus_to, failures, retry_at FROM destinations WHERE destination = $1`
	err = r.QueryRow(ctx, q, string(name)).Scan(&d.TxnID, &d.PDUsTo, &d.EDUsTo, &d.Failures, &d.RetryAt)
	if storage.NoRows(err) {
		return Destination{}, nil
	}
	if err != nil {
		return d, fmt.Errorf("read destination: %w", err)
	}
	return d, nil
}

// SaveDestination keeps how it stands with sending to a server.
func SaveDestination(ctx context.Context, tx *storage.Tx, name matrix.ServerName, d Destination) error {
	const q = `
		INSERT INTO destinations (destination, txn_id, txn_pdus_to, txn_edus_to, failures, retry_at)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (destination) DO UPDATE SET txn_id = excluded.txn_id, txn_pdus_to = excluded.txn_pdus_to,
			txn_edus_to = excluded.txn_edus_to, failures = excluded.failures, retry_at = excluded.retry_at`
	_, err := tx.Exec(ctx, q, string(name), d.TxnID, int64(d.PDUsTo), int64(d.EDUsTo), d.Failures, d.RetryAt)
	if err != nil {
		return fmt.Errorf("save destination: %w", err)
	}
	return nil
}

// Queued is a row of the outbox.
type Queued struct {
	Pos      storage.Position
	EventNID int64           // of an event
	EDU      json.RawMessage // of what is no event
}

// QueuedPDUs returns the first events that wait for a server after a position
// and up to another (0: the last), in the order of the log.
func QueuedPDUs(ctx context.Context, r *storage.Reader, name matrix.ServerName, after, upTo storage.Position, limit int) (out []Queued, err error) {
	const q = `
		SELECT pos, event_nid FROM outbox_pdus WHERE destination = $1 AND pos > $2 AND pos <= $3 ORDER BY pos LIMIT $4`
	err = r.Each(ctx, q, []any{string(name), int64(after), bound(upTo), limit}, func(rows *sql.Rows) error {
		var row Queued
		err := rows.Scan(&row.Pos, &row.EventNID)
		out = append(out, row)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return out, nil
}

// QueuedEDUs is [QueuedPDUs] for what is no event.
func QueuedEDUs(ctx context.Context, r *storage.Reader, name matrix.ServerName, after, upTo storage.Position, limit int) (out []Queued, err error) {
	const q = `SELECT pos, edu FROM outbox_edus WHERE destination = $1 AND pos > $2 AND pos <= $3 ORDER BY pos LIMIT $4`
	err = r.Each(ctx, q, []any{string(name), int64(after), bound(upTo), limit}, func(rows *sql.Rows) error {
		var row Queued
		var text string
		err := rows.Scan(&row.Pos, &text)
		row.EDU = json.RawMessage(text)
		out = append(out, row)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	return out, nil
}

// bound turns "the last" into a position beyond all.
func bound(pos storage.Position) int64 {
	if pos == 0 {
		return 1<<63 - 1
	}
	return int64(pos)
}

// Sent drops what a server has received: its rows up to two positions.
func Sent(ctx context.Context, tx *storage.Tx, name matrix.ServerName, pdusTo, edusTo storage.Position) error {
	const pdus = `DELETE FROM outbox_pdus WHERE destination = $1 AND pos <= $2`
	const edus = `DELETE FROM outbox_edus WHERE destination = $1 AND pos <= $2`
	if _, err := tx.Exec(ctx, pdus, string(name), int64(pdusTo)); err != nil {
		return fmt.Errorf("drop sent events: %w", err)
	}
	if _, err := tx.Exec(ctx, edus, string(name), int64(edusTo)); err != nil {
		return fmt.Errorf("drop sent EDUs: %w", err)
	}
	return nil
}

// Trim drops the oldest EDUs of a server beyond [MaxWaitingEDUs], but none of
// the transaction under way, which ends at edusTo.
func Trim(ctx context.Context, tx *storage.Tx, name matrix.ServerName, edusTo storage.Position) error {
	const q = `
		DELETE FROM outbox_edus WHERE destination = $1 AND pos > $2 AND pos <= (
			SELECT pos FROM outbox_edus WHERE destination = $3 ORDER BY pos DESC LIMIT 1 OFFSET $4)`
	if _, err := tx.Exec(ctx, q, string(name), int64(edusTo), string(name), MaxWaitingEDUs); err != nil {
		return fmt.Errorf("trim outbox: %w", err)
	}
	return nil
}

// Discard drops all that waits for a server, and the transaction under way.
func Discard(ctx context.Context, tx *storage.Tx, name matrix.ServerName) error {
	for _, q := range []string{
		`DELETE FROM outbox_pdus WHERE destination = $1`, `DELETE FROM outbox_edus WHERE destination = $1`,
		`DELETE FROM destinations WHERE destination = $1`,
	} {
		if _, err := tx.Exec(ctx, q, string(name)); err != nil {
			return fmt.Errorf("discard outbox: %w", err)
		}
	}
	return nil
}

// Backlog returns the servers for which something waits.
func Backlog(ctx context.Context, r *storage.Reader) ([]matrix.ServerName, error) {
	return destinationsOf(ctx, r, `
		SELECT DISTINCT destination FROM outbox_pdus
		UNION SELECT DISTINCT destination FROM outbox_edus`)
}

// NewEDUs returns the servers for which an EDU was queued after a position.
func NewEDUs(ctx context.Context, r *storage.Reader, after storage.Position) ([]matrix.ServerName, error) {
	return destinationsOf(ctx, r, `SELECT DISTINCT destination FROM outbox_edus WHERE pos > $1`, int64(after))
}

func destinationsOf(ctx context.Context, r *storage.Reader, q string, args ...any) (out []matrix.ServerName, err error) {
	out, err = storage.Column[matrix.ServerName](ctx, r, q, args...)
	if err != nil {
		return nil, fmt.Errorf("read destinations: %w", err)
	}
	slices.Sort(out)
	return out, nil
}

// names are the values of a list of servers.
func names(servers []matrix.ServerName) []string {
	out := make([]string, len(servers))
	for i, s := range servers {
		out[i] = string(s)
	}
	return out
}
