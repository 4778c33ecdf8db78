package policies

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"

	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
)

// Entry is a line of the audit trail. Its JSON, without hash, in canonical
// form is what the hash is made of, so a name here can never be changed.
type Entry struct {
	Seq          int64  `json:"seq"` // from 1, without gaps
	ID           string `json:"id"`
	TS           int64  `json:"ts"` // milliseconds
	Kind         string `json:"kind"`
	Actor        string `json:"actor,omitempty"`
	Action       string `json:"action,omitempty"`
	Subject      string `json:"subject,omitempty"`
	Server       string `json:"server,omitempty"`
	Room         string `json:"room,omitempty"`
	Source       string `json:"source,omitempty"`
	Reason       string `json:"reason,omitempty"`
	Rule         string `json:"rule,omitempty"`
	Version      int64  `json:"version,omitempty"` // of the policy document
	Organisation string `json:"organisation,omitempty"`
	Detail       string `json:"detail,omitempty"`
	Count        int64  `json:"count"`
	Repeats      string `json:"repeats,omitempty"` // the ID of the entry that this one counts on
	Prev         string `json:"prev,omitempty"`    // the hash of the entry before
	Hash         string `json:"hash,omitempty"`
}

// KindRepeat is the kind of an entry that only adds to the count of another.
const KindRepeat = "repeat"

// sum returns the hash of the entry.
func (e *Entry) sum() (string, error) {
	bare := *e
	bare.Hash = ""
	raw, err := canonicaljson.Marshal(&bare)
	if err != nil {
		return "", fmt.Errorf("hash audit entry: %w", err)
	}
	hash := sha256.Sum256(raw)
	return hex.EncodeToString(hash[:]), nil
}

var insertEntry = storage.NewInsert("audit", []string{"seq", "id", "ts", "kind", "actor", "action", "subject",
	"server", "room", "source", "reason", "rule", "version", "organisation", "detail", "count", "repeats", "prev",
	"hash"}, "")

// Append adds entries to the end of the trail and sets their Seq, Prev and
// Hash. The commit lock makes one chain of what all nodes write.
func Append(ctx context.Context, tx *storage.Tx, entries []*Entry) error {
	if len(entries) == 0 {
		return nil
	}
	seq, prev, err := scanTrailHead(tx.QueryRow(ctx, trailHeadQuery))
	if err != nil {
		return err
	}
	for _, e := range entries {
		seq++
		e.Seq, e.Prev = seq, prev
		if e.Hash, err = e.sum(); err != nil {
			return err
		}
		prev = e.Hash
		tx.Insert(insertEntry, e.Seq, e.ID, e.TS, e.Kind, e.Actor, e.Action, e.Subject, e.Server, e.Room, e.Source,
			e.Reason, e.Rule, e.Version, e.Organisation, e.Detail, e.Count, e.Repeats, e.Prev, e.Hash)
	}
	if _, err := tx.Exec(ctx, `UPDATE audit_head SET seq = $1, hash = $2 WHERE id = 1`, seq, prev); err != nil {
		return fmt.Errorf("advance audit trail: %w", err)
	}
	return nil
}

const trailHeadQuery = `SELECT seq, hash FROM audit_head WHERE id = 1`

func scanTrailHead(row storage.Row) (seq int64, hash string, err error) {
	if err := row.Scan(&seq, &hash); err != nil {
		return 0, "", fmt.Errorf("read end of audit trail: %w", err)
	}
	return seq, hash, nil
}

// TrailHead returns the number and the hash of the last entry of the trail.
func TrailHead(ctx context.Context, r *storage.Reader) (seq int64, hash string, err error) {
	return scanTrailHead(r.QueryRow(ctx, trailHeadQuery))
}

// Written returns which of the entries with these IDs are in the trail. A
// writer asks when it does not know whether its commit came through.
func Written(ctx context.Context, tx *storage.Tx, ids []string) (map[string]bool, error) {
	r, err := tx.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	written := make(map[string]bool)
	err = storage.EachIn(ctx, r, `SELECT id FROM audit WHERE id IN ($LIST)`, nil, ids, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		written[id] = true
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read audit trail: %w", err)
	}
	return written, nil
}
