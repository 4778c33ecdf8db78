package keys

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Change says that the devices or cross-signing keys of an account changed.
type Change struct {
	Pos      storage.Position
	User     matrix.UserID
	Device   matrix.DeviceID  // "" for cross-signing keys
	OnlyFor  matrix.UserID    // who alone can see the change, "" for everybody
	Previous storage.Position // the change of a device of the account before it, 0 for none
}

// Changed notes that a device of an account changed, or with "" its
// cross-signing keys. It takes a position.
func Changed(ctx context.Context, tx *storage.Tx, user matrix.UserID, device matrix.DeviceID) error {
	previous, err := LastChange(ctx, &tx.Reader, user)
	if err != nil {
		return err
	}
	return insertChange(ctx, tx, Change{User: user, Device: device, Previous: previous})
}

// ChangedFor notes that viewer sees other signatures on keys of an account. It
// takes a position.
func ChangedFor(ctx context.Context, tx *storage.Tx, user, viewer matrix.UserID) error {
	return insertChange(ctx, tx, Change{User: user, OnlyFor: viewer})
}

func insertChange(ctx context.Context, tx *storage.Tx, c Change) error {
	const q = `INSERT INTO device_changes (pos, user_id, device_id, only_for, previous) VALUES ($1, $2, $3, $4, $5)`
	_, err := tx.Exec(ctx, q, int64(tx.Next()), string(c.User), string(c.Device), string(c.OnlyFor), int64(c.Previous))
	if err != nil {
		return fmt.Errorf("note device change: %w", err)
	}
	return nil
}

// LastChange returns the position of the last change of a device of an
// account, 0 for none. It is the stream ID of its list for other servers.
func LastChange(ctx context.Context, r *storage.Reader, user matrix.UserID) (pos storage.Position, err error) {
	const q = `SELECT COALESCE(MAX(pos), 0) FROM device_changes WHERE user_id = $1 AND device_id <> ''`
	err = r.QueryRow(ctx, q, string(user)).Scan(&pos)
	return pos, err
}

// Changes returns at most limit changes after a position and not after upto,
// in order. Whom a change concerns is for the caller: those who share a room
// with the account, and the account itself.
func Changes(ctx context.Context, r *storage.Reader, after, upto storage.Position, limit int) (list []Change, err error) {
	const q = `
		SELECT pos, user_id, device_id, only_for, previous FROM device_changes
		WHERE pos > $1 AND pos <= $2 ORDER BY pos LIMIT $3`
	err = r.Each(ctx, q, []any{int64(after), int64(upto), limit}, func(rows *sql.Rows) error {
		var c Change
		err := rows.Scan(&c.Pos, &c.User, &c.Device, &c.OnlyFor, &c.Previous)
		list = append(list, c)
		return err
	})
	return list, err
}

// ChangedUsers returns the accounts that viewer sees changed after a position
// and not after upto, each once. The caller keeps those that share a room.
func ChangedUsers(ctx context.Context, r *storage.Reader, viewer matrix.UserID, after, upto storage.Position) ([]matrix.UserID, error) {
	const q = `
		SELECT DISTINCT user_id FROM device_changes
		WHERE pos > $1 AND pos <= $2 AND (only_for = '' OR only_for = $3)`
	return storage.Column[matrix.UserID](ctx, r, q, int64(after), int64(upto), string(viewer))
}
