package policies

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// The status of a draft.
const (
	DraftOpen      = "open"
	DraftApproved  = "approved"
	DraftActivated = "activated"
	DraftWithdrawn = "withdrawn"
)

// Draft is a document on its way to be active.
type Draft struct {
	ID        string
	Version   int64
	Parent    int64 // the version that was active when it was written
	SHA256    string
	Author    string
	Reason    string
	Treatment string
	UntilTS   int64
	CreatedTS int64
	Status    string
	Approver  string // who approved or withdrew it, or ""
	DecidedTS int64
	Document  []byte // canonical JSON; not read by Drafts
	Preview   []byte // JSON
}

const draftColumns = `draft_id, version, parent, sha256, author, reason, treatment, until_ts, created_ts, status,
	approver, decided_ts, preview`

func (d *Draft) fields() []any {
	return []any{&d.ID, &d.Version, &d.Parent, &d.SHA256, &d.Author, &d.Reason, &d.Treatment, &d.UntilTS, &d.CreatedTS,
		&d.Status, &d.Approver, &d.DecidedTS, &d.Preview}
}

var insertDraft = storage.NewInsert("policy_drafts", []string{"draft_id", "version", "parent", "sha256", "author",
	"reason", "treatment", "until_ts", "created_ts", "status", "approver", "decided_ts", "document", "preview"}, "")

// AddDraft writes a new draft.
func AddDraft(tx *storage.Tx, d *Draft) {
	tx.Insert(insertDraft, d.ID, d.Version, d.Parent, d.SHA256, d.Author, d.Reason, d.Treatment, d.UntilTS, d.CreatedTS,
		d.Status, d.Approver, d.DecidedTS, string(d.Document), string(d.Preview))
}

const draftQuery = `SELECT ` + draftColumns + `, document FROM policy_drafts WHERE draft_id = $1`

// FindDraft returns a draft with its document, or M_NOT_FOUND.
func FindDraft(ctx context.Context, r *storage.Reader, id string) (Draft, error) {
	return scanDraft(id, r.QueryRow(ctx, draftQuery, id))
}

func scanDraft(id string, row storage.Row) (d Draft, err error) {
	err = row.Scan(append(d.fields(), &d.Document)...)
	if storage.NoRows(err) {
		return d, matrix.NotFound("there is no draft %s", id)
	}
	if err != nil {
		return d, fmt.Errorf("read draft: %w", err)
	}
	return d, nil
}

// Drafts returns the newest drafts, without their documents.
func Drafts(ctx context.Context, r *storage.Reader, limit int) (out []Draft, err error) {
	const q = `SELECT ` + draftColumns + ` FROM policy_drafts ORDER BY created_ts DESC, draft_id DESC LIMIT $1`
	err = r.Each(ctx, q, []any{limit}, func(rows *sql.Rows) error {
		var d Draft
		err := rows.Scan(d.fields()...)
		out = append(out, d)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read drafts: %w", err)
	}
	return out, nil
}

// DecideDraft moves a draft from one status to another. It returns
// [storage.ErrConflict] if somebody has moved it before. by is kept where it
// is not empty.
func DecideDraft(ctx context.Context, tx *storage.Tx, id, from, to, by string, now int64) error {
	const q = `UPDATE policy_drafts SET status = $1, decided_ts = $2, approver = CASE WHEN $3 = '' THEN approver ELSE $4 END
		WHERE draft_id = $5 AND status = $6`
	n, err := tx.Exec(ctx, q, to, now, by, by, id, from)
	if err != nil {
		return fmt.Errorf("decide draft: %w", err)
	}
	if n == 0 {
		return storage.ErrConflict
	}
	return nil
}
