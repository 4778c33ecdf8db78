package users

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Pusher is where an application wants to hear of notifications.
type Pusher struct {
	User           matrix.UserID
	AppID, PushKey string
	Device         matrix.DeviceID // whose end is the pusher's, too
	Content        string          // as clients see it: a JSON object
	Created        int64
}

// Pushers returns the pushers of an account as clients see them.
func Pushers(ctx context.Context, r *storage.Reader, user matrix.UserID) (list []Pusher, err error) {
	const q = `SELECT user_id, app_id, pushkey, device_id, content, created FROM pushers
		WHERE user_id = $1 ORDER BY created, app_id, pushkey`
	err = r.Each(ctx, q, []any{string(user)}, func(rows *sql.Rows) error {
		var p Pusher
		err := rows.Scan(&p.User, &p.AppID, &p.PushKey, &p.Device, &p.Content, &p.Created)
		list = append(list, p)
		return err
	})
	return list, err
}

// SetPusher adds a pusher, or replaces the one of the same key. alone removes
// those of other accounts with the key.
func SetPusher(ctx context.Context, tx *storage.Tx, p Pusher, alone bool) error {
	if alone {
		const q = `DELETE FROM pushers WHERE app_id = $1 AND pushkey = $2 AND user_id <> $3`
		if _, err := tx.Exec(ctx, q, p.AppID, p.PushKey, string(p.User)); err != nil {
			return fmt.Errorf("remove the pushers of others: %w", err)
		}
	}
	const q = `INSERT INTO pushers (user_id, app_id, pushkey, device_id, content, created) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (user_id, app_id, pushkey) DO UPDATE SET device_id = excluded.device_id, content = excluded.content`
	if _, err := tx.Exec(ctx, q, string(p.User), p.AppID, p.PushKey, string(p.Device), p.Content, p.Created); err != nil {
		return fmt.Errorf("set pusher: %w", err)
	}
	return nil
}

// DeletePusher removes a pusher. One that is not there is no error.
func DeletePusher(ctx context.Context, tx *storage.Tx, user matrix.UserID, appID, pushKey string) error {
	_, err := tx.Exec(ctx, `DELETE FROM pushers WHERE user_id = $1 AND app_id = $2 AND pushkey = $3`, string(user), appID, pushKey)
	return err
}

// HasPusher reports whether an account has a pusher of this key.
func HasPusher(ctx context.Context, r *storage.Reader, user matrix.UserID, appID, pushKey string) (bool, error) {
	var one int
	const q = `SELECT 1 FROM pushers WHERE user_id = $1 AND app_id = $2 AND pushkey = $3`
	err := r.QueryRow(ctx, q, string(user), appID, pushKey).Scan(&one)
	if storage.NoRows(err) {
		return false, nil
	}
	return err == nil, err
}
