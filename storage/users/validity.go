package users

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Ending is an account whose end is near or past.
type Ending struct {
	User  matrix.UserID
	Until int64 // ms
	Sent  int64 // how many reminders of this end were sent
}

// Endings returns at most limit accounts after one that end before a time, in
// the order of their names.
func Endings(ctx context.Context, r *storage.Reader, before int64, after matrix.UserID, limit int) (list []Ending, err error) {
	const q = `
		SELECT u.user_id, u.valid_until, COALESCE(m.sent, 0)
		FROM users u LEFT JOIN reminders m ON m.user_id = u.user_id AND m.valid_until = u.valid_until
		WHERE u.valid_until > 0 AND u.valid_until < $1 AND u.deactivated = 0 AND u.user_id > $2
		ORDER BY u.user_id LIMIT $3`
	err = r.Each(ctx, q, []any{before, string(after), limit}, func(rows *sql.Rows) error {
		var e Ending
		err := rows.Scan(&e.User, &e.Until, &e.Sent)
		list = append(list, e)
		return err
	})
	return list, err
}

// ReminderOf returns how many reminders of an end were sent to an account.
func ReminderOf(ctx context.Context, r *storage.Reader, user matrix.UserID, until int64) (sent int64, err error) {
	const q = `SELECT sent FROM reminders WHERE user_id = $1 AND valid_until = $2`
	err = r.QueryRow(ctx, q, string(user), until).Scan(&sent)
	if storage.NoRows(err) {
		return 0, nil
	}
	return sent, err
}

// SetReminder stores how many reminders were sent.
func SetReminder(ctx context.Context, tx *storage.Tx, e Ending) error {
	const q = `
		INSERT INTO reminders (user_id, valid_until, sent) VALUES ($1, $2, $3)
		ON CONFLICT (user_id) DO UPDATE SET valid_until = excluded.valid_until, sent = excluded.sent`
	_, err := tx.Exec(ctx, q, string(e.User), e.Until, e.Sent)
	return err
}

// RenewalToken is a link that prolongs an account.
type RenewalToken struct {
	Hash    string
	User    matrix.UserID
	Until   int64 // the end that it prolongs
	Expires int64 // ms
}

// AddRenewalToken stores a token.
func AddRenewalToken(ctx context.Context, tx *storage.Tx, t RenewalToken) error {
	const q = `INSERT INTO renewal_tokens (token_hash, user_id, valid_until, expires) VALUES ($1, $2, $3, $4)`
	if _, err := tx.Exec(ctx, q, t.Hash, string(t.User), t.Until, t.Expires); err != nil {
		return fmt.Errorf("add renewal token: %w", err)
	}
	return nil
}

// RenewalTokenByHash returns a token, or [storage.NoRows].
func RenewalTokenByHash(ctx context.Context, r *storage.Reader, hash string) (t RenewalToken, err error) {
	const q = `SELECT token_hash, user_id, valid_until, expires FROM renewal_tokens WHERE token_hash = $1`
	err = r.QueryRow(ctx, q, hash).Scan(&t.Hash, &t.User, &t.Until, &t.Expires)
	return t, err
}

// Sponsorship is an address whose owner may have an account, because somebody
// answers for it.
type Sponsorship struct {
	Address string
	Sponsor matrix.UserID
	Created int64 // ms
	Expires int64 // ms; until when the account can be made
	Ends    int64 // ms; of the account, 0 is that of every account
}

// SponsorshipOf returns the sponsorship of an address, or [storage.NoRows].
func SponsorshipOf(ctx context.Context, r *storage.Reader, address string) (p Sponsorship, err error) {
	const q = `SELECT address, sponsor, created, expires, ends FROM sponsorships WHERE address = $1`
	err = r.QueryRow(ctx, q, address).Scan(&p.Address, &p.Sponsor, &p.Created, &p.Expires, &p.Ends)
	return p, err
}

// PutSponsorship stores a sponsorship in place of one before.
func PutSponsorship(ctx context.Context, tx *storage.Tx, p Sponsorship) error {
	const q = `
		INSERT INTO sponsorships (address, sponsor, created, expires, ends) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (address) DO UPDATE SET sponsor = excluded.sponsor, created = excluded.created,
			expires = excluded.expires, ends = excluded.ends`
	_, err := tx.Exec(ctx, q, p.Address, string(p.Sponsor), p.Created, p.Expires, p.Ends)
	return err
}
