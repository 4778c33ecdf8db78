package keys

import (
	"context"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Dehydrated is a device of an account that no client runs.
type Dehydrated struct {
	Device matrix.DeviceID
	Data   string // a JSON object
}

// DehydratedOf returns the dehydrated device of an account, or M_NOT_FOUND.
func DehydratedOf(ctx context.Context, r *storage.Reader, user matrix.UserID) (d Dehydrated, err error) {
	const q = `SELECT h.device_id, h.data FROM dehydrated_devices h
		JOIN devices d ON d.user_id = h.user_id AND d.device_id = h.device_id WHERE h.user_id = $1`
	err = r.QueryRow(ctx, q, string(user)).Scan(&d.Device, &d.Data)
	if storage.NoRows(err) {
		return d, matrix.NotFound("there is no dehydrated device")
	}
	return d, err
}

// SetDehydrated makes a device the dehydrated one of an account.
func SetDehydrated(ctx context.Context, tx *storage.Tx, user matrix.UserID, d Dehydrated) error {
	const q = `INSERT INTO dehydrated_devices (user_id, device_id, data) VALUES ($1, $2, $3)
		ON CONFLICT (user_id) DO UPDATE SET device_id = excluded.device_id, data = excluded.data`
	if _, err := tx.Exec(ctx, q, string(user), string(d.Device), d.Data); err != nil {
		return fmt.Errorf("set dehydrated device: %w", err)
	}
	return nil
}

// DeleteDehydrated forgets which device of an account is dehydrated.
func DeleteDehydrated(ctx context.Context, tx *storage.Tx, user matrix.UserID) error {
	_, err := tx.Exec(ctx, `DELETE FROM dehydrated_devices WHERE user_id = $1`, string(user))
	return err
}
