package users

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// MediumEmail is the only medium of addresses there is.
const MediumEmail = "email"

// Threepid is a verified address of an account.
type Threepid struct {
	Medium    string
	Address   string // in comparable form
	User      matrix.UserID
	Validated int64 // ms
	Added     int64 // ms
}

// ThreepidOwner returns whose address this is, "" where it is nobody's.
func ThreepidOwner(ctx context.Context, r *storage.Reader, medium, address string) (user matrix.UserID, err error) {
	const q = `SELECT user_id FROM threepids WHERE medium = $1 AND address = $2`
	err = r.QueryRow(ctx, q, medium, address).Scan(&user)
	if storage.NoRows(err) {
		return "", nil
	}
	return user, err
}

// Threepids returns the addresses of an account.
func Threepids(ctx context.Context, r *storage.Reader, user matrix.UserID) (list []Threepid, err error) {
	const q = `
		SELECT medium, address, user_id, validated, added FROM threepids
		WHERE user_id = $1 ORDER BY added, address`
	err = r.Each(ctx, q, []any{string(user)}, func(rows *sql.Rows) error {
		var p Threepid
		err := rows.Scan(&p.Medium, &p.Address, &p.User, &p.Validated, &p.Added)
		list = append(list, p)
		return err
	})
	return list, err
}

// AddThreepid gives an account an address, or reports that it has an owner.
func AddThreepid(ctx context.Context, tx *storage.Tx, p Threepid) (added bool, err error) {
	const q = `
		INSERT INTO threepids (medium, address, user_id, validated, added) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT DO NOTHING`
	n, err := tx.Exec(ctx, q, p.Medium, p.Address, string(p.User), p.Validated, p.Added)
	if err != nil {
		return false, fmt.Errorf("add address: %w", err)
	}
	return n > 0, nil
}

// DeleteThreepids takes all addresses from an account.
func DeleteThreepids(ctx context.Context, tx *storage.Tx, user matrix.UserID) error {
	_, err := tx.Exec(ctx, `DELETE FROM threepids WHERE user_id = $1`, string(user))
	return err
}

// DeleteThreepid takes an address from an account, or reports that it has not
// got it.
func DeleteThreepid(ctx context.Context, tx *storage.Tx, user matrix.UserID, medium, address string) (deleted bool, err error) {
	const q = `DELETE FROM threepids WHERE user_id = $1 AND medium = $2 AND address = $3`
	n, err := tx.Exec(ctx, q, string(user), medium, address)
	return n > 0, err
}

// MailSession is somebody who is proving that an address is theirs.
type MailSession struct {
	SID        string
	SecretHash string
	Purpose    string
	User       matrix.UserID
	Address    string
	Attempt    int64
	NextLink   string
	CodeHash   string
	LinkHash   string
	Tries      int64
	Sent       int64 // ms
	Expires    int64 // ms
	Validated  int64 // ms; 0 is not yet
}

const mailColumns = `sid, secret_hash, purpose, user_id, address, attempt, next_link, code_hash, link_hash,
	tries, sent, expires, validated`

func (m *MailSession) fields() []any {
	return []any{&m.SID, &m.SecretHash, &m.Purpose, &m.User, &m.Address, &m.Attempt, &m.NextLink,
		&m.CodeHash, &m.LinkHash, &m.Tries, &m.Sent, &m.Expires, &m.Validated}
}

// MailSessionByID returns a session, or [storage.NoRows].
func MailSessionByID(ctx context.Context, r *storage.Reader, sid string) (m MailSession, err error) {
	const q = `SELECT ` + mailColumns + ` FROM mail_sessions WHERE sid = $1`
	err = r.QueryRow(ctx, q, sid).Scan(m.fields()...)
	return m, err
}

// PutMailSession stores a session whole.
func PutMailSession(ctx context.Context, tx *storage.Tx, m MailSession) error {
	const q = `
		INSERT INTO mail_sessions (` + mailColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (sid) DO UPDATE SET attempt = excluded.attempt, next_link = excluded.next_link,
			code_hash = excluded.code_hash, link_hash = excluded.link_hash, tries = excluded.tries,
			sent = excluded.sent, expires = excluded.expires, validated = excluded.validated`
	_, err := tx.Exec(ctx, q, m.SID, m.SecretHash, m.Purpose, string(m.User), m.Address, m.Attempt, m.NextLink,
		m.CodeHash, m.LinkHash, m.Tries, m.Sent, m.Expires, m.Validated)
	if err != nil {
		return fmt.Errorf("store mail session: %w", err)
	}
	return nil
}

// DeleteMailSession ends a session, which was used.
func DeleteMailSession(ctx context.Context, tx *storage.Tx, sid string) error {
	_, err := tx.Exec(ctx, `DELETE FROM mail_sessions WHERE sid = $1`, sid)
	return err
}

// MailsSent returns when the last mail went to an address, and how many have
// gone there since a time.
func MailsSent(ctx context.Context, r *storage.Reader, address string, since int64) (last, count int64, err error) {
	const q = `SELECT COALESCE(MAX(at), 0), COUNT(*) FROM mails_sent WHERE address = $1 AND at > $2`
	err = r.QueryRow(ctx, q, address, since).Scan(&last, &count)
	return last, count, err
}

// AddMailSent notes that a mail goes to an address.
func AddMailSent(ctx context.Context, tx *storage.Tx, id, address string, at int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO mails_sent (id, address, at) VALUES ($1, $2, $3)`, id, address, at)
	return err
}

// UIASession is a conversation of user-interactive authentication.
type UIASession struct {
	Hash      string // of the session ID
	Operation string
	User      matrix.UserID
	Subject   string
	Completed string // stages, separated by spaces
	MailSID   string
	TokenHash string
	Expires   int64 // ms
}

// UIASessionByHash returns a session, or [storage.NoRows].
func UIASessionByHash(ctx context.Context, r *storage.Reader, hash string) (s UIASession, err error) {
	const q = `
		SELECT session_hash, operation, user_id, subject, completed, mail_sid, token_hash, expires
		FROM uia_sessions WHERE session_hash = $1`
	err = r.QueryRow(ctx, q, hash).Scan(&s.Hash, &s.Operation, &s.User, &s.Subject, &s.Completed,
		&s.MailSID, &s.TokenHash, &s.Expires)
	return s, err
}

// PutUIASession stores a session whole.
func PutUIASession(ctx context.Context, tx *storage.Tx, s UIASession) error {
	const q = `
		INSERT INTO uia_sessions (session_hash, operation, user_id, subject, completed, mail_sid, token_hash, expires)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (session_hash) DO UPDATE SET completed = excluded.completed, mail_sid = excluded.mail_sid,
			token_hash = excluded.token_hash`
	_, err := tx.Exec(ctx, q, s.Hash, s.Operation, string(s.User), s.Subject, s.Completed, s.MailSID, s.TokenHash, s.Expires)
	if err != nil {
		return fmt.Errorf("store authentication session: %w", err)
	}
	return nil
}

// DeleteUIASession spends a session, or reports that there is none (any more).
func DeleteUIASession(ctx context.Context, tx *storage.Tx, hash string) (spent bool, err error) {
	n, err := tx.Exec(ctx, `DELETE FROM uia_sessions WHERE session_hash = $1`, hash)
	return n > 0, err
}

// RegistrationToken is a right to register.
type RegistrationToken struct {
	Hash     string
	Admin    bool // who registers becomes an administrator
	UsesLeft int64
	Created  int64 // ms
	Expires  int64 // ms
}

// RegistrationTokenByHash returns a token, or [storage.NoRows].
func RegistrationTokenByHash(ctx context.Context, r *storage.Reader, hash string) (t RegistrationToken, err error) {
	const q = `SELECT token_hash, admin, uses_left, created, expires FROM registration_tokens WHERE token_hash = $1`
	err = r.QueryRow(ctx, q, hash).Scan(&t.Hash, (*flag)(&t.Admin), &t.UsesLeft, &t.Created, &t.Expires)
	return t, err
}

// HasRegistrationTokens reports whether there is a token that can be used.
func HasRegistrationTokens(ctx context.Context, r *storage.Reader, now int64) (bool, error) {
	var n int
	const q = `SELECT COUNT(*) FROM registration_tokens WHERE uses_left > 0 AND expires > $1`
	err := r.QueryRow(ctx, q, now).Scan(&n)
	return n > 0, err
}

// AddRegistrationToken stores a token.
func AddRegistrationToken(ctx context.Context, tx *storage.Tx, t RegistrationToken) error {
	const q = `INSERT INTO registration_tokens (token_hash, admin, uses_left, created, expires) VALUES ($1, $2, $3, $4, $5)`
	_, err := tx.Exec(ctx, q, t.Hash, number(t.Admin), t.UsesLeft, t.Created, t.Expires)
	return err
}

// SpendRegistrationToken uses a token once, or reports that it is used up.
func SpendRegistrationToken(ctx context.Context, tx *storage.Tx, hash string, now int64) (spent bool, err error) {
	const q = `
		UPDATE registration_tokens SET uses_left = uses_left - 1
		WHERE token_hash = $1 AND uses_left > 0 AND expires > $2`
	n, err := tx.Exec(ctx, q, hash, now)
	return n > 0, err
}

// DeleteAdminTokens ends the tokens that make administrators.
func DeleteAdminTokens(ctx context.Context, tx *storage.Tx) error {
	_, err := tx.Exec(ctx, `DELETE FROM registration_tokens WHERE admin = 1`)
	return err
}

// HasAdmin reports whether the server has an administrator who can log in.
func HasAdmin(ctx context.Context, r *storage.Reader) (bool, error) {
	var n int
	err := r.QueryRow(ctx, `SELECT COUNT(*) FROM users WHERE admin = 1 AND deactivated = 0`).Scan(&n)
	return n > 0, err
}

// Sweep removes what has expired. mailsBefore is when mails stop to count.
func Sweep(ctx context.Context, tx *storage.Tx, now, mailsBefore int64) error {
	for _, step := range []struct {
		query string
		arg   int64
	}{
		{`DELETE FROM mail_sessions WHERE expires < $1`, now},
		{`DELETE FROM uia_sessions WHERE expires < $1`, now},
		{`DELETE FROM registration_tokens WHERE expires < $1`, now},
		{`DELETE FROM access_tokens WHERE expires > 0 AND expires < $1`, now - expiredTokensKept},
		{`DELETE FROM refresh_tokens WHERE expires < $1`, now},
		{`DELETE FROM short_tokens WHERE expires < $1`, now},
		{`DELETE FROM renewal_tokens WHERE expires < $1`, now},
		{`DELETE FROM sponsorships WHERE expires < $1 AND ends = 0`, now}, // an end holds as long as the account
		{`DELETE FROM mails_sent WHERE at < $1`, mailsBefore},
	} {
		if _, err := tx.Exec(ctx, step.query, step.arg); err != nil {
			return fmt.Errorf("sweep users: %w", err)
		}
	}
	return nil
}

// expiredTokensKept is how long an expired token is still known, in ms, so
// that its client is told to log in softly.
const expiredTokensKept = 30 * 24 * 3600 * 1000
