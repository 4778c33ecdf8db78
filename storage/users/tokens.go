package users

import (
	"context"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// RefreshToken is the right to a new access token for a device.
type RefreshToken struct {
	Hash     string
	User     matrix.UserID
	Device   matrix.DeviceID
	Access   string // hash of the access token that came with it
	Replaces string // hash of the refresh token before, until this one is used
	Expires  int64  // ms
}

const refreshColumns = `token_hash, user_id, device_id, access_hash, replaces, expires`

func (t *RefreshToken) fields() []any {
	return []any{&t.Hash, &t.User, &t.Device, &t.Access, &t.Replaces, &t.Expires}
}

// AddRefreshToken stores a token. Those of its device stay.
func AddRefreshToken(ctx context.Context, tx *storage.Tx, t RefreshToken) error {
	const q = `INSERT INTO refresh_tokens (` + refreshColumns + `) VALUES ($1, $2, $3, $4, $5, $6)`
	if _, err := tx.Exec(ctx, q, t.Hash, string(t.User), string(t.Device), t.Access, t.Replaces, t.Expires); err != nil {
		return fmt.Errorf("add refresh token: %w", err)
	}
	return nil
}

// RefreshTokenByHash returns a token, or [storage.NoRows].
func RefreshTokenByHash(ctx context.Context, r *storage.Reader, hash string) (t RefreshToken, err error) {
	const q = `SELECT ` + refreshColumns + ` FROM refresh_tokens WHERE token_hash = $1`
	err = r.QueryRow(ctx, q, hash).Scan(t.fields()...)
	return t, err
}

// RefreshTokenOf returns the token that came with an access token and still
// replaces another, or [storage.NoRows].
func RefreshTokenOf(ctx context.Context, r *storage.Reader, access string) (t RefreshToken, err error) {
	const q = `SELECT ` + refreshColumns + ` FROM refresh_tokens WHERE access_hash = $1 AND replaces <> ''`
	err = r.QueryRow(ctx, q, access).Scan(t.fields()...)
	return t, err
}

// AddSecondToken adds an access token beside those that a device has.
func AddSecondToken(ctx context.Context, tx *storage.Tx, t Token) error {
	const q = `INSERT INTO access_tokens (token_hash, user_id, device_id, created, expires) VALUES ($1, $2, $3, $4, $5)`
	if _, err := tx.Exec(ctx, q, t.Hash, string(t.User), string(t.Device), t.Created, t.Expires); err != nil {
		return fmt.Errorf("add token: %w", err)
	}
	return nil
}

// EndSuccessors ends the tokens that came for a refresh token and were never
// used, with their access tokens.
func EndSuccessors(ctx context.Context, tx *storage.Tx, hash string) error {
	const access = `DELETE FROM access_tokens WHERE token_hash IN (SELECT access_hash FROM refresh_tokens WHERE replaces = $1)`
	if _, err := tx.Exec(ctx, access, hash); err != nil {
		return fmt.Errorf("end tokens: %w", err)
	}
	_, err := tx.Exec(ctx, `DELETE FROM refresh_tokens WHERE replaces = $1`, hash)
	return err
}

// EndPredecessor ends what a token replaces, because that one is used now.
func EndPredecessor(ctx context.Context, tx *storage.Tx, t RefreshToken) error {
	if t.Replaces == "" {
		return nil
	}
	const access = `DELETE FROM access_tokens WHERE token_hash IN (SELECT access_hash FROM refresh_tokens WHERE token_hash = $1)`
	if _, err := tx.Exec(ctx, access, t.Replaces); err != nil {
		return fmt.Errorf("end tokens: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM refresh_tokens WHERE token_hash = $1`, t.Replaces); err != nil {
		return fmt.Errorf("end tokens: %w", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE refresh_tokens SET replaces = '' WHERE token_hash = $1`, t.Hash); err != nil {
		return fmt.Errorf("end tokens: %w", err)
	}
	return MarkSessions(ctx, tx, t.User)
}

// The kinds of short tokens.
const (
	ShortLogin  = "login"
	ShortOpenID = "openid"
)

// ShortToken is a token that is good for something but a session.
type ShortToken struct {
	Hash    string
	Kind    string
	User    matrix.UserID
	Expires int64 // ms
}

// AddShortToken stores a token. Beyond keep tokens of its account and kind,
// those that end first go.
func AddShortToken(ctx context.Context, tx *storage.Tx, t ShortToken, keep int) error {
	const q = `INSERT INTO short_tokens (token_hash, kind, user_id, expires) VALUES ($1, $2, $3, $4)`
	if _, err := tx.Exec(ctx, q, t.Hash, t.Kind, string(t.User), t.Expires); err != nil {
		return fmt.Errorf("add token: %w", err)
	}
	const old = `
		DELETE FROM short_tokens WHERE user_id = $1 AND kind = $2 AND token_hash IN (
			SELECT token_hash FROM short_tokens WHERE user_id = $3 AND kind = $4
			ORDER BY expires DESC, token_hash LIMIT 1000 OFFSET $5)`
	_, err := tx.Exec(ctx, old, string(t.User), t.Kind, string(t.User), t.Kind, keep)
	return err
}

// ShortTokenByHash returns a token of a kind, or [storage.NoRows].
func ShortTokenByHash(ctx context.Context, r *storage.Reader, kind, hash string) (t ShortToken, err error) {
	const q = `SELECT token_hash, kind, user_id, expires FROM short_tokens WHERE token_hash = $1 AND kind = $2`
	err = r.QueryRow(ctx, q, hash, kind).Scan(&t.Hash, &t.Kind, &t.User, &t.Expires)
	return t, err
}

// SpendShortToken ends a token, or reports that there is none (any more).
func SpendShortToken(ctx context.Context, tx *storage.Tx, hash string) (spent bool, err error) {
	n, err := tx.Exec(ctx, `DELETE FROM short_tokens WHERE token_hash = $1`, hash)
	return n > 0, err
}

// DeleteShortTokens ends all of an account.
func DeleteShortTokens(ctx context.Context, tx *storage.Tx, user matrix.UserID) error {
	_, err := tx.Exec(ctx, `DELETE FROM short_tokens WHERE user_id = $1`, string(user))
	return err
}

// AddDeparture notes that an account has to leave its rooms.
func AddDeparture(ctx context.Context, tx *storage.Tx, user matrix.UserID, at int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO departures (user_id, at) VALUES ($1, $2) ON CONFLICT DO NOTHING`, string(user), at)
	return err
}

// Departures returns at most limit accounts that have to leave their rooms.
func Departures(ctx context.Context, r *storage.Reader, limit int) ([]matrix.UserID, error) {
	const q = `SELECT user_id FROM departures ORDER BY at, user_id LIMIT $1`
	return storage.Column[matrix.UserID](ctx, r, q, limit)
}

// Departed notes that an account has left its rooms.
func Departed(ctx context.Context, tx *storage.Tx, user matrix.UserID) error {
	_, err := tx.Exec(ctx, `DELETE FROM departures WHERE user_id = $1`, string(user))
	return err
}

// Erase notes that who comes later shall not read what an account wrote, and
// removes what the server keeps for it.
func Erase(ctx context.Context, tx *storage.Tx, user matrix.UserID, at int64) error {
	const q = `INSERT INTO erasures (user_id, at, pos) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
	if _, err := tx.Exec(ctx, q, string(user), at, int64(tx.Next())); err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	for _, q := range []string{
		`DELETE FROM account_data WHERE user_id = $1`,
		`DELETE FROM filters WHERE user_id = $1`,
	} {
		if _, err := tx.Exec(ctx, q, string(user)); err != nil {
			return fmt.Errorf("erase: %w", err)
		}
	}
	return nil
}
