package users

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Device is a client of an account.
type Device struct {
	ID          matrix.DeviceID
	DisplayName string
	Created     int64 // ms
	Seen        int64 // ms; 0 is never
	SeenIP      string
}

const deviceColumns = `device_id, display_name, created, seen, seen_ip`

func (d *Device) fields() []any {
	return []any{&d.ID, &d.DisplayName, &d.Created, &d.Seen, &d.SeenIP}
}

// Devices returns the devices of an account.
func Devices(ctx context.Context, r *storage.Reader, user matrix.UserID) (list []Device, err error) {
	const q = `SELECT ` + deviceColumns + ` FROM devices WHERE user_id = $1 ORDER BY device_id`
	err = r.Each(ctx, q, []any{string(user)}, func(rows *sql.Rows) error {
		var d Device
		err := rows.Scan(d.fields()...)
		list = append(list, d)
		return err
	})
	return list, err
}

// DeviceByID returns a device, or M_NOT_FOUND.
func DeviceByID(ctx context.Context, r *storage.Reader, user matrix.UserID, id matrix.DeviceID) (d Device, err error) {
	const q = `SELECT ` + deviceColumns + ` FROM devices WHERE user_id = $1 AND device_id = $2`
	err = r.QueryRow(ctx, q, string(user), string(id)).Scan(d.fields()...)
	if storage.NoRows(err) {
		return d, matrix.NotFound("there is no device %s", id)
	}
	return d, err
}

// DevicesOf calls fn for each device of each account.
func DevicesOf(ctx context.Context, r *storage.Reader, list []matrix.UserID, fn func(matrix.UserID, Device)) error {
	const q = `SELECT user_id, ` + deviceColumns + ` FROM devices WHERE user_id IN ($LIST)`
	return storage.EachIn(ctx, r, q, nil, list, func(rows *sql.Rows) error {
		var user matrix.UserID
		var d Device
		if err := rows.Scan(append([]any{&user}, d.fields()...)...); err != nil {
			return err
		}
		fn(user, d)
		return nil
	})
}

// CountDevices returns how many devices an account has.
func CountDevices(ctx context.Context, r *storage.Reader, user matrix.UserID) (n int, err error) {
	err = r.QueryRow(ctx, `SELECT COUNT(*) FROM devices WHERE user_id = $1`, string(user)).Scan(&n)
	return n, err
}

// AddDevice adds a device, or leaves one that exists as it is.
func AddDevice(ctx context.Context, tx *storage.Tx, user matrix.UserID, d Device) error {
	const q = `
		INSERT INTO devices (user_id, ` + deviceColumns + `) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT DO NOTHING`
	if _, err := tx.Exec(ctx, q, string(user), string(d.ID), d.DisplayName, d.Created, d.Seen, d.SeenIP); err != nil {
		return fmt.Errorf("add device: %w", err)
	}
	return nil
}

// RenameDevice gives a device another name.
func RenameDevice(ctx context.Context, tx *storage.Tx, user matrix.UserID, id matrix.DeviceID, name string) error {
	const q = `UPDATE devices SET display_name = $1 WHERE user_id = $2 AND device_id = $3`
	_, err := tx.Exec(ctx, q, name, string(user), string(id))
	return err
}

// SawDevice stores when and from where a device was last seen.
func SawDevice(ctx context.Context, tx *storage.Tx, user matrix.UserID, id matrix.DeviceID, at int64, ip string) error {
	const q = `UPDATE devices SET seen = $1, seen_ip = $2 WHERE user_id = $3 AND device_id = $4 AND seen < $5`
	_, err := tx.Exec(ctx, q, at, ip, string(user), string(id), at)
	return err
}

// DeleteDevices removes devices of an account and their tokens. What else
// belongs to a device is for the caller.
func DeleteDevices(ctx context.Context, tx *storage.Tx, user matrix.UserID, ids []matrix.DeviceID) error {
	for _, q := range []string{
		`DELETE FROM access_tokens WHERE user_id = $1 AND device_id IN ($LIST)`,
		`DELETE FROM refresh_tokens WHERE user_id = $1 AND device_id IN ($LIST)`,
		`DELETE FROM pushers WHERE user_id = $1 AND device_id IN ($LIST)`,
		`DELETE FROM devices WHERE user_id = $1 AND device_id IN ($LIST)`,
	} {
		if _, err := storage.ExecIn(ctx, tx, q, []any{string(user)}, ids); err != nil {
			return fmt.Errorf("delete devices: %w", err)
		}
	}
	return MarkSessions(ctx, tx, user)
}

// Token is an access token. Hash is the SHA-256 of its text.
type Token struct {
	Hash    string
	User    matrix.UserID
	Device  matrix.DeviceID
	Created int64 // ms
	Expires int64 // ms; 0 is never
}

// AddToken adds the one token of a device. Those it had before end.
//
// https://spec.matrix.org/v1.19/client-server-api/#relationship-between-access-tokens-and-devices
func AddToken(ctx context.Context, tx *storage.Tx, t Token) error {
	const old = `DELETE FROM access_tokens WHERE user_id = $1 AND device_id = $2`
	ended, err := tx.Exec(ctx, old, string(t.User), string(t.Device))
	if err != nil {
		return fmt.Errorf("end tokens: %w", err)
	}
	const refresh = `DELETE FROM refresh_tokens WHERE user_id = $1 AND device_id = $2`
	if _, err := tx.Exec(ctx, refresh, string(t.User), string(t.Device)); err != nil {
		return fmt.Errorf("end tokens: %w", err)
	}
	if err := AddSecondToken(ctx, tx, t); err != nil || ended == 0 {
		return err
	}
	return MarkSessions(ctx, tx, t.User)
}

// Session is a token with the account it opens.
type Session struct {
	Token
	Account User
}

// SessionByToken returns what a token opens, or [storage.NoRows].
func SessionByToken(ctx context.Context, r *storage.Reader, hash string) (s Session, err error) {
	const q = `
		SELECT t.token_hash, t.device_id, t.created, t.expires,
			u.user_id, u.kind, u.password, u.created, u.valid_until, u.admin, u.locked, u.suspended, u.deactivated
		FROM access_tokens t JOIN users u ON u.user_id = t.user_id
		WHERE t.token_hash = $1`
	err = r.QueryRow(ctx, q, hash).Scan(append(
		[]any{&s.Hash, &s.Device, &s.Created, &s.Expires}, s.Account.fields()...)...)
	s.User = s.Account.ID
	return s, err
}
