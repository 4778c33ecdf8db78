// Package users reads and writes the accounts of this server: their devices
// and sessions, profiles, account data, addresses and the conversations in
// which somebody proves who they are.
//
// What changes here goes out with [storage.Tx.Exec], never buffered, so that
// every function sees what the writers before it in a commit have done.
package users

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// The kinds of accounts.
const (
	KindPerson  = ""
	KindGuest   = "guest"
	KindBot     = "bot"
	KindSupport = "support"
)

// User is an account.
type User struct {
	ID          matrix.UserID
	Kind        string
	Password    string // a hash, "" where there is no password
	Created     int64  // ms
	ValidUntil  int64  // ms; 0 is for ever
	Admin       bool
	Locked      bool
	Suspended   bool
	Deactivated bool
}

const userColumns = `user_id, kind, password, created, valid_until, admin, locked, suspended, deactivated`

func (u *User) fields() []any {
	return []any{&u.ID, &u.Kind, &u.Password, &u.Created, &u.ValidUntil,
		(*flag)(&u.Admin), (*flag)(&u.Locked), (*flag)(&u.Suspended), (*flag)(&u.Deactivated)}
}

// flag is a boolean in a SMALLINT column.
type flag bool

// Scan implements [sql.Scanner].
func (f *flag) Scan(value any) error {
	n, ok := value.(int64)
	if !ok {
		return fmt.Errorf("scan flag: %T", value)
	}
	*f = n != 0
	return nil
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ByID returns an account, or M_NOT_FOUND.
func ByID(ctx context.Context, r *storage.Reader, id matrix.UserID) (u User, err error) {
	const q = `SELECT ` + userColumns + ` FROM users WHERE user_id = $1`
	err = r.QueryRow(ctx, q, string(id)).Scan(u.fields()...)
	if storage.NoRows(err) {
		return u, matrix.NotFound("there is no account %s", id)
	}
	return u, err
}

// Existing returns those of the accounts that exist and are not deactivated.
func Existing(ctx context.Context, r *storage.Reader, ids []matrix.UserID) (map[matrix.UserID]bool, error) {
	found := make(map[matrix.UserID]bool, len(ids))
	const q = `SELECT user_id FROM users WHERE deactivated = 0 AND user_id IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, ids, func(rows *sql.Rows) error {
		var id matrix.UserID
		err := rows.Scan(&id)
		found[id] = true
		return err
	})
	return found, err
}

// List returns at most limit accounts after one, in the order of their names.
func List(ctx context.Context, r *storage.Reader, after matrix.UserID, limit int) (list []User, err error) {
	const q = `SELECT ` + userColumns + ` FROM users WHERE user_id > $1 ORDER BY user_id LIMIT $2`
	err = r.Each(ctx, q, []any{string(after), limit}, func(rows *sql.Rows) error {
		var u User
		err := rows.Scan(u.fields()...)
		list = append(list, u)
		return err
	})
	return list, err
}

// Create adds an account, or reports that the name is taken: also by one that
// was deactivated.
func Create(ctx context.Context, tx *storage.Tx, u User) (created bool, err error) {
	const q = `
		INSERT INTO users (` + userColumns + `, sessions) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT DO NOTHING`
	n, err := tx.Exec(ctx, q, string(u.ID), u.Kind, u.Password, u.Created, u.ValidUntil,
		number(u.Admin), number(u.Locked), number(u.Suspended), number(u.Deactivated), int64(tx.Next()))
	if err != nil {
		return false, fmt.Errorf("create user: %w", err)
	}
	return n > 0, nil
}

// SetPassword stores a hash.
func SetPassword(ctx context.Context, tx *storage.Tx, id matrix.UserID, hash string) error {
	_, err := tx.Exec(ctx, `UPDATE users SET password = $1 WHERE user_id = $2`, hash, string(id))
	return err
}

// ReplacePassword stores a hash in place of a known one, and does nothing if
// another password was set in between.
func ReplacePassword(ctx context.Context, tx *storage.Tx, id matrix.UserID, old, hash string) error {
	_, err := tx.Exec(ctx, `UPDATE users SET password = $1 WHERE user_id = $2 AND password = $3`, hash, string(id), old)
	return err
}

// SetStatus stores what an account may do. Its sessions change with it.
func SetStatus(ctx context.Context, tx *storage.Tx, u User) error {
	const q = `
		UPDATE users SET valid_until = $1, admin = $2, locked = $3, suspended = $4, deactivated = $5, sessions = $6
		WHERE user_id = $7`
	_, err := tx.Exec(ctx, q, u.ValidUntil, number(u.Admin), number(u.Locked), number(u.Suspended),
		number(u.Deactivated), int64(tx.Next()), string(u.ID))
	return err
}

// MarkSessions notes that sessions of an account ended or changed, for the
// other nodes.
func MarkSessions(ctx context.Context, tx *storage.Tx, id matrix.UserID) error {
	_, err := tx.Exec(ctx, `UPDATE users SET sessions = $1 WHERE user_id = $2`, int64(tx.Next()), string(id))
	return err
}

// SessionChange is an account whose sessions changed, and when.
type SessionChange struct {
	User matrix.UserID
	Pos  storage.Position
}

// SessionChanges returns at most limit accounts whose sessions changed after
// a position, in order. Only the last change of each is known.
func SessionChanges(ctx context.Context, r *storage.Reader, after storage.Position, limit int) (list []SessionChange, err error) {
	const q = `SELECT user_id, sessions FROM users WHERE sessions > $1 ORDER BY sessions LIMIT $2`
	err = r.Each(ctx, q, []any{int64(after), limit}, func(rows *sql.Rows) error {
		var c SessionChange
		err := rows.Scan(&c.User, &c.Pos)
		list = append(list, c)
		return err
	})
	return list, err
}
