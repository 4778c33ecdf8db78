// Package policies keeps the policy documents that were activated and the
// audit trail.
package policies

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/storage"
)

// Activation is a document as the journal keeps it.
type Activation struct {
	Version     int64
	Position    storage.Position
	Issuer      string
	SHA256      string // of Document, in hexadecimal
	Actor       string // who activated it: a user ID, or "system"
	Way         string // how it came in, such as "file"
	ActivatedTS int64  // milliseconds
	Document    []byte // canonical JSON
}

// Head says which document is active without reading it. The zero Head is none.
type Head struct {
	Version int64
	SHA256  string
}

const headQuery = `SELECT version, sha256 FROM policy_documents ORDER BY version DESC LIMIT 1`

// ActiveHead returns which document is active.
func ActiveHead(ctx context.Context, r *storage.Reader) (Head, error) {
	return scanHead(r.QueryRow(ctx, headQuery))
}

func scanHead(row storage.Row) (head Head, err error) {
	if err = row.Scan(&head.Version, &head.SHA256); storage.NoRows(err) {
		return Head{}, nil
	}
	if err != nil {
		return Head{}, fmt.Errorf("read active policy version: %w", err)
	}
	return head, nil
}

// Active returns the active document; its Version is 0 where there is none.
func Active(ctx context.Context, r *storage.Reader) (a Activation, err error) {
	const q = `
		SELECT version, pos, issuer, sha256, actor, way, activated_ts, document
		FROM policy_documents ORDER BY version DESC LIMIT 1`
	err = r.QueryRow(ctx, q).Scan(&a.Version, &a.Position, &a.Issuer, &a.SHA256, &a.Actor, &a.Way,
		&a.ActivatedTS, &a.Document)
	if storage.NoRows(err) {
		return Activation{}, nil
	}
	if err != nil {
		return Activation{}, fmt.Errorf("read active policy document: %w", err)
	}
	return a, nil
}

// Activate adds a document to the journal and sets its position. It returns
// [storage.ErrConflict] if one that is as new is active already.
func Activate(ctx context.Context, tx *storage.Tx, a *Activation) error {
	head, err := scanHead(tx.QueryRow(ctx, headQuery))
	if err != nil {
		return err
	}
	if a.Version <= head.Version {
		return storage.ErrConflict
	}
	a.Position = tx.Next()
	const q = `
		INSERT INTO policy_documents (version, pos, issuer, sha256, actor, way, activated_ts, document)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
	_, err = tx.Exec(ctx, q, a.Version, int64(a.Position), a.Issuer, a.SHA256, a.Actor, a.Way, a.ActivatedTS,
		string(a.Document))
	if err != nil {
		return fmt.Errorf("write policy document: %w", err)
	}
	return nil
}

// Journal returns the activations, the newest first, at most limit. Their
// documents are not read.
func Journal(ctx context.Context, r *storage.Reader, limit int) (out []Activation, err error) {
	const q = `
		SELECT version, pos, issuer, sha256, actor, way, activated_ts
		FROM policy_documents ORDER BY version DESC LIMIT $1`
	err = r.Each(ctx, q, []any{limit}, func(rows *sql.Rows) error {
		var a Activation
		err := rows.Scan(&a.Version, &a.Position, &a.Issuer, &a.SHA256, &a.Actor, &a.Way, &a.ActivatedTS)
		out = append(out, a)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read policy journal: %w", err)
	}
	return out, nil
}
