// Package keys reads and writes what end-to-end encryption needs of a server:
// the keys of devices, cross-signing keys and signatures, messages to devices,
// what is known of devices of remote accounts, and who has changed.
//
// Only tables that nothing reads back in the same commit are written with
// [storage.Tx.Insert]; all others go out at once.
package keys

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// DeviceKeys are the identity keys of a device, as canonical JSON.
type DeviceKeys struct {
	User   matrix.UserID
	Device matrix.DeviceID
	JSON   string
}

// DeviceKeysOf returns the identity keys of a device, "" where it has none.
func DeviceKeysOf(ctx context.Context, r *storage.Reader, user matrix.UserID, device matrix.DeviceID) (json string, err error) {
	const q = `SELECT json FROM device_keys WHERE user_id = $1 AND device_id = $2`
	err = r.QueryRow(ctx, q, string(user), string(device)).Scan(&json)
	if storage.NoRows(err) {
		return "", nil
	}
	return json, err
}

// AllDeviceKeys returns the identity keys of every device of accounts.
func AllDeviceKeys(ctx context.Context, r *storage.Reader, users []matrix.UserID) (list []DeviceKeys, err error) {
	const q = `SELECT user_id, device_id, json FROM device_keys WHERE user_id IN ($LIST)`
	err = storage.EachIn(ctx, r, q, nil, users, func(rows *sql.Rows) error {
		var k DeviceKeys
		err := rows.Scan(&k.User, &k.Device, &k.JSON)
		list = append(list, k)
		return err
	})
	return list, err
}

// SetDeviceKeys stores the identity keys of a device.
func SetDeviceKeys(ctx context.Context, tx *storage.Tx, k DeviceKeys) error {
	const q = `
		INSERT INTO device_keys (user_id, device_id, json) VALUES ($1, $2, $3)
		ON CONFLICT (user_id, device_id) DO UPDATE SET json = excluded.json`
	if _, err := tx.Exec(ctx, q, string(k.User), string(k.Device), k.JSON); err != nil {
		return fmt.Errorf("set device keys: %w", err)
	}
	return nil
}

// DeleteDevices removes everything that belongs to devices of an account, and
// notes that they are gone. The caller deletes the devices themselves in the
// same transaction.
func DeleteDevices(ctx context.Context, tx *storage.Tx, user matrix.UserID, devices []matrix.DeviceID) error {
	if _, err := tx.Snapshot(ctx); err != nil { // messages and keys of this commit go too
		return err
	}
	if err := DeleteKeys(ctx, tx, user, devices); err != nil {
		return err
	}
	for _, q := range []string{
		`DELETE FROM device_keys WHERE user_id = $1 AND device_id IN ($LIST)`,
		`DELETE FROM to_device WHERE user_id = $1 AND device_id IN ($LIST)`,
	} {
		if _, err := storage.ExecIn(ctx, tx, q, []any{string(user)}, devices); err != nil {
			return fmt.Errorf("delete devices: %w", err)
		}
	}
	for _, device := range devices {
		if err := Changed(ctx, tx, user, device); err != nil {
			return err
		}
	}
	return nil
}

// DeleteKeys removes the one-time and fallback keys of devices, and the
// signatures on and by their identity keys. It is for identity keys that were
// replaced, too.
func DeleteKeys(ctx context.Context, tx *storage.Tx, user matrix.UserID, devices []matrix.DeviceID) error {
	slots := slotsOf(user, devices...)
	for _, q := range []string{
		`DELETE FROM one_time_keys WHERE slot IN ($LIST)`,
		`DELETE FROM fallback_keys WHERE slot IN ($LIST)`,
		`DELETE FROM claimed_keys WHERE slot IN ($LIST)`,
	} {
		if _, err := storage.ExecIn(ctx, tx, q, nil, slots); err != nil {
			return fmt.Errorf("delete keys: %w", err)
		}
	}
	const on = `DELETE FROM key_signatures WHERE target_user = $1 AND target_key IN ($LIST)`
	if _, err := storage.ExecIn(ctx, tx, on, []any{string(user)}, devices); err != nil {
		return fmt.Errorf("delete signatures: %w", err)
	}
	signers := make([]string, len(devices))
	for i, device := range devices {
		signers[i] = "ed25519:" + string(device)
	}
	const by = `DELETE FROM key_signatures WHERE target_user = $1 AND signer = $2 AND signer_key IN ($LIST)`
	if _, err := storage.ExecIn(ctx, tx, by, []any{string(user), string(user)}, signers); err != nil {
		return fmt.Errorf("delete signatures: %w", err)
	}
	return nil
}
