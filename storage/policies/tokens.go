package policies

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Token is a token of the admin API, without its secret.
type Token struct {
	ID        string
	SHA256    string
	Name      string // who holds it
	Role      string
	CreatedTS int64
	ExpiresTS int64 // 0: never
	RevokedTS int64 // 0: not revoked
}

// AddToken writes a new token.
func AddToken(ctx context.Context, tx *storage.Tx, t *Token) error {
	const q = `INSERT INTO admin_tokens (token_id, sha256, name, role, created_ts, expires_ts, revoked_ts)
		VALUES ($1, $2, $3, $4, $5, $6, 0)`
	if _, err := tx.Exec(ctx, q, t.ID, t.SHA256, t.Name, t.Role, t.CreatedTS, t.ExpiresTS); err != nil {
		return fmt.Errorf("write admin token: %w", err)
	}
	return nil
}

const tokenColumns = `token_id, sha256, name, role, created_ts, expires_ts, revoked_ts`

func (t *Token) fields() []any {
	return []any{&t.ID, &t.SHA256, &t.Name, &t.Role, &t.CreatedTS, &t.ExpiresTS, &t.RevokedTS}
}

// FindToken returns the token with the hash of a secret. ok is false where
// there is none.
func FindToken(ctx context.Context, r *storage.Reader, sha256 string) (t Token, ok bool, err error) {
	err = r.QueryRow(ctx, `SELECT `+tokenColumns+` FROM admin_tokens WHERE sha256 = $1`, sha256).Scan(t.fields()...)
	if storage.NoRows(err) {
		return t, false, nil
	}
	if err != nil {
		return t, false, fmt.Errorf("read admin token: %w", err)
	}
	return t, true, nil
}

// Tokens returns every token, the oldest first.
func Tokens(ctx context.Context, r *storage.Reader) (out []Token, err error) {
	err = r.Each(ctx, `SELECT `+tokenColumns+` FROM admin_tokens ORDER BY created_ts, token_id`, nil, func(rows *sql.Rows) error {
		var t Token
		err := rows.Scan(t.fields()...)
		out = append(out, t)
		return err
	})
	return out, err
}

// RevokeToken ends a token, or returns M_NOT_FOUND.
func RevokeToken(ctx context.Context, tx *storage.Tx, id string, now int64) error {
	n, err := tx.Exec(ctx, `UPDATE admin_tokens SET revoked_ts = $1 WHERE token_id = $2 AND revoked_ts = 0`, now, id)
	if err == nil && n == 0 {
		err = matrix.NotFound("there is no token %s in use", id)
	}
	return err
}
