package users

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Profile returns the fields of a profile as JSON values.
func Profile(ctx context.Context, r *storage.Reader, user matrix.UserID) (map[string]string, error) {
	fields := map[string]string{}
	const q = `SELECT field, value FROM profiles WHERE user_id = $1 AND value <> ''`
	err := r.Each(ctx, q, []any{string(user)}, func(rows *sql.Rows) error {
		var field, value string
		err := rows.Scan(&field, &value)
		fields[field] = value
		return err
	})
	return fields, err
}

// ProfileField returns one field as JSON, "" where the profile has none.
func ProfileField(ctx context.Context, r *storage.Reader, user matrix.UserID, field string) (value string, err error) {
	const q = `SELECT value FROM profiles WHERE user_id = $1 AND field = $2`
	err = r.QueryRow(ctx, q, string(user), field).Scan(&value)
	if storage.NoRows(err) {
		return "", nil
	}
	return value, err
}

// ProfilesField returns one field of many profiles; those without it are absent.
func ProfilesField(ctx context.Context, r *storage.Reader, field string, list []matrix.UserID) (map[matrix.UserID]string, error) {
	found := make(map[matrix.UserID]string, len(list))
	const q = `SELECT user_id, value FROM profiles WHERE field = $1 AND value <> '' AND user_id IN ($LIST)`
	err := storage.EachIn(ctx, r, q, []any{field}, list, func(rows *sql.Rows) error {
		var user matrix.UserID
		var value string
		err := rows.Scan(&user, &value)
		found[user] = value
		return err
	})
	return found, err
}

// SetProfileField stores a JSON value, or removes the field with "". It takes
// a position.
func SetProfileField(ctx context.Context, tx *storage.Tx, user matrix.UserID, field, value string) error {
	const q = `
		INSERT INTO profiles (user_id, field, value, pos) VALUES ($1, $2, $3, $4)
		ON CONFLICT (user_id, field) DO UPDATE SET value = excluded.value, pos = excluded.pos`
	if _, err := tx.Exec(ctx, q, string(user), field, value, int64(tx.Next())); err != nil {
		return fmt.Errorf("set profile: %w", err)
	}
	return nil
}

// DeleteProfile removes every field, and says nothing of it to followers: an
// account that has no profile is no longer in any room either.
func DeleteProfile(ctx context.Context, tx *storage.Tx, user matrix.UserID) error {
	_, err := tx.Exec(ctx, `DELETE FROM profiles WHERE user_id = $1`, string(user))
	return err
}

// ProfileChange is a field that changed.
type ProfileChange struct {
	Pos   storage.Position
	User  matrix.UserID
	Field string
	Value string // JSON; "" where the field was removed
}

// ProfileChanges returns at most limit changes after a position, in order.
// Only the last change of a field is known.
func ProfileChanges(ctx context.Context, r *storage.Reader, after storage.Position, limit int) (list []ProfileChange, err error) {
	const q = `SELECT pos, user_id, field, value FROM profiles WHERE pos > $1 ORDER BY pos LIMIT $2`
	err = r.Each(ctx, q, []any{int64(after), limit}, func(rows *sql.Rows) error {
		var c ProfileChange
		err := rows.Scan(&c.Pos, &c.User, &c.Field, &c.Value)
		list = append(list, c)
		return err
	})
	return list, err
}
