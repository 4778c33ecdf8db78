package keys

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// RemoteList is what we know of the devices of a remote account.
type RemoteList struct {
	User     matrix.UserID
	StreamID int64
	Stale    bool // an update was missed: ask before it is used
	At       int64
}

// RemoteDevice is a device of a remote account.
type RemoteDevice struct {
	User        matrix.UserID
	ID          matrix.DeviceID
	DisplayName string
	JSON        string // its keys, "" where it has none
}

// RemoteLists returns the lists of accounts; those we never asked for are absent.
func RemoteLists(ctx context.Context, r *storage.Reader, users []matrix.UserID) (map[matrix.UserID]RemoteList, error) {
	found := make(map[matrix.UserID]RemoteList, len(users))
	const q = `SELECT user_id, stream_id, stale, at FROM remote_lists WHERE user_id IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, users, func(rows *sql.Rows) error {
		l, err := scanList(rows)
		found[l.User] = l
		return err
	})
	return found, err
}

// StaleLists returns at most limit lists to ask for anew, the oldest first.
func StaleLists(ctx context.Context, r *storage.Reader, limit int) (list []RemoteList, err error) {
	const q = `SELECT user_id, stream_id, stale, at FROM remote_lists WHERE stale = 1 ORDER BY at LIMIT $1`
	err = r.Each(ctx, q, []any{limit}, func(rows *sql.Rows) error {
		l, err := scanList(rows)
		list = append(list, l)
		return err
	})
	return list, err
}

func scanList(rows *sql.Rows) (l RemoteList, err error) {
	var stale int
	err = rows.Scan(&l.User, &l.StreamID, &stale, &l.At)
	l.Stale = stale != 0
	return l, err
}

// RemoteDevices returns the devices of accounts.
func RemoteDevices(ctx context.Context, r *storage.Reader, users []matrix.UserID) (list []RemoteDevice, err error) {
	const q = `SELECT user_id, device_id, display_name, json FROM remote_devices WHERE user_id IN ($LIST)`
	err = storage.EachIn(ctx, r, q, nil, users, func(rows *sql.Rows) error {
		var d RemoteDevice
		err := rows.Scan(&d.User, &d.ID, &d.DisplayName, &d.JSON)
		list = append(list, d)
		return err
	})
	return list, err
}

// SharingRoom returns those of accounts that are joined to a room of which a
// server has a joined member.
func SharingRoom(ctx context.Context, r *storage.Reader, server matrix.ServerName, list []matrix.UserID) (found []matrix.UserID, err error) {
	const q = `
		SELECT DISTINCT m.user_id FROM memberships m
		WHERE m.membership = 'join' AND EXISTS (
			SELECT 1 FROM memberships o WHERE o.room_nid = m.room_nid AND o.membership = 'join' AND o.server = $1)
		AND m.user_id IN ($LIST)`
	err = storage.EachIn(ctx, r, q, []any{string(server)}, list, func(rows *sql.Rows) error {
		var user matrix.UserID
		err := rows.Scan(&user)
		found = append(found, user)
		return err
	})
	return found, err
}

// SetRemoteList stores how far a list goes, and whether it may be used.
func SetRemoteList(ctx context.Context, tx *storage.Tx, l RemoteList) error {
	stale := 0
	if l.Stale {
		stale = 1
	}
	const q = `
		INSERT INTO remote_lists (user_id, stream_id, stale, at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (user_id) DO UPDATE SET stream_id = excluded.stream_id, stale = excluded.stale, at = excluded.at`
	if _, err := tx.Exec(ctx, q, string(l.User), l.StreamID, stale, l.At); err != nil {
		return fmt.Errorf("set remote list: %w", err)
	}
	return nil
}

// SetRemoteDevice stores one device of a list.
func SetRemoteDevice(ctx context.Context, tx *storage.Tx, d RemoteDevice) error {
	const q = `
		INSERT INTO remote_devices (user_id, device_id, display_name, json) VALUES ($1, $2, $3, $4)
		ON CONFLICT (user_id, device_id) DO UPDATE SET display_name = excluded.display_name, json = excluded.json`
	if _, err := tx.Exec(ctx, q, string(d.User), string(d.ID), d.DisplayName, d.JSON); err != nil {
		return fmt.Errorf("set remote device: %w", err)
	}
	return nil
}

// DeleteRemoteDevice removes one device of a list.
func DeleteRemoteDevice(ctx context.Context, tx *storage.Tx, user matrix.UserID, device matrix.DeviceID) error {
	_, err := tx.Exec(ctx, `DELETE FROM remote_devices WHERE user_id = $1 AND device_id = $2`, string(user), string(device))
	return err
}

// ForgetRemote removes what is known of accounts: nobody tells us of their
// changes any more.
func ForgetRemote(ctx context.Context, tx *storage.Tx, users []matrix.UserID) error {
	for _, q := range []string{
		`DELETE FROM remote_lists WHERE user_id IN ($LIST)`,
		`DELETE FROM remote_devices WHERE user_id IN ($LIST)`,
	} {
		if _, err := storage.ExecIn(ctx, tx, q, nil, users); err != nil {
			return fmt.Errorf("forget remote devices: %w", err)
		}
	}
	return nil
}
