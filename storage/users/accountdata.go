package users

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// AccountData is one thing that clients of an account keep on the server.
type AccountData struct {
	Pos     storage.Position
	Room    matrix.RoomID // "" for the account as a whole
	Type    string
	Content string // a JSON object
}

// AccountDataOf returns the content of one type, or M_NOT_FOUND.
func AccountDataOf(ctx context.Context, r *storage.Reader, user matrix.UserID, room matrix.RoomID, typ string) (content string, err error) {
	const q = `SELECT content FROM account_data WHERE user_id = $1 AND room_id = $2 AND type = $3`
	err = r.QueryRow(ctx, q, string(user), string(room), typ).Scan(&content)
	if storage.NoRows(err) {
		return "", matrix.NotFound("no account data of this type")
	}
	return content, err
}

// InvitePermission returns whom an account lets invite it.
func InvitePermission(ctx context.Context, r *storage.Reader, user matrix.UserID) (p matrix.InvitePermission, err error) {
	const q = `SELECT type, content FROM account_data WHERE user_id = $1 AND room_id = '' AND type IN ($2, $3, $4)`
	args := []any{string(user), matrix.TypeInvitePermission, matrix.TypeInvitePermissionBefore, matrix.TypeInviteFilter}
	err = r.Each(ctx, q, args, func(rows *sql.Rows) error {
		var typ, content string
		err := rows.Scan(&typ, &content)
		p.Read(typ, []byte(content))
		return err
	})
	return p, err
}

// AccountDataAfter returns the account data of a user, global and of rooms,
// that changed after a position and not after upto, in order.
func AccountDataAfter(ctx context.Context, r *storage.Reader, user matrix.UserID, after, upto storage.Position) (list []AccountData, err error) {
	const q = `
		SELECT pos, room_id, type, content FROM account_data
		WHERE user_id = $1 AND pos > $2 AND pos <= $3 ORDER BY pos`
	err = r.Each(ctx, q, []any{string(user), int64(after), int64(upto)}, func(rows *sql.Rows) error {
		var d AccountData
		err := rows.Scan(&d.Pos, &d.Room, &d.Type, &d.Content)
		list = append(list, d)
		return err
	})
	return list, err
}

// UsersWithAccountData returns the accounts whose account data changed after a
// position and not after upto, for waking those who wait.
func UsersWithAccountData(ctx context.Context, r *storage.Reader, after, upto storage.Position) ([]matrix.UserID, error) {
	const q = `SELECT DISTINCT user_id FROM account_data WHERE pos > $1 AND pos <= $2`
	return storage.Column[matrix.UserID](ctx, r, q, int64(after), int64(upto))
}

// AccountDataSize returns how many entries an account has and their bytes,
// without the one that is about to be replaced.
func AccountDataSize(ctx context.Context, r *storage.Reader, user matrix.UserID, room matrix.RoomID, typ string) (entries, bytes int64, err error) {
	const q = `
		SELECT COUNT(*), COALESCE(SUM(LENGTH(content)), 0) FROM account_data
		WHERE user_id = $1 AND NOT (room_id = $2 AND type = $3)`
	err = r.QueryRow(ctx, q, string(user), string(room), typ).Scan(&entries, &bytes)
	return entries, bytes, err
}

// SetAccountData stores the content of one type. It takes a position.
func SetAccountData(ctx context.Context, tx *storage.Tx, user matrix.UserID, room matrix.RoomID, typ, content string) error {
	const q = `
		INSERT INTO account_data (user_id, room_id, type, content, pos) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (user_id, room_id, type) DO UPDATE SET content = excluded.content, pos = excluded.pos`
	if _, err := tx.Exec(ctx, q, string(user), string(room), typ, content, int64(tx.Next())); err != nil {
		return fmt.Errorf("set account data: %w", err)
	}
	return nil
}

// Filter returns a filter of an account, or M_NOT_FOUND.
func Filter(ctx context.Context, r *storage.Reader, user matrix.UserID, id string) (content string, err error) {
	const q = `SELECT content FROM filters WHERE user_id = $1 AND filter_id = $2`
	err = r.QueryRow(ctx, q, string(user), id).Scan(&content)
	if storage.NoRows(err) {
		return "", matrix.NotFound("no such filter")
	}
	return content, err
}

// AddFilter stores a filter under the ID that its content gives it. Beyond keep
// filters of the account, those that were added longest ago go.
func AddFilter(ctx context.Context, tx *storage.Tx, user matrix.UserID, id, content string, now int64, keep int) error {
	const q = `
		INSERT INTO filters (user_id, filter_id, content, used) VALUES ($1, $2, $3, $4)
		ON CONFLICT (user_id, filter_id) DO UPDATE SET used = excluded.used`
	if _, err := tx.Exec(ctx, q, string(user), id, content, now); err != nil {
		return fmt.Errorf("add filter: %w", err)
	}
	const old = `
		DELETE FROM filters WHERE user_id = $1 AND filter_id IN (
			SELECT filter_id FROM filters WHERE user_id = $2 ORDER BY used DESC, filter_id LIMIT 1000 OFFSET $3)`
	_, err := tx.Exec(ctx, old, string(user), string(user), keep)
	return err
}
