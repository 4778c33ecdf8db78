package users

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Connection names a connection of sliding sync.
type Connection struct {
	User   matrix.UserID
	Device matrix.DeviceID
	ID     string
}

const (
	// keptAnswers is how many answers to one request are remembered: a client
	// that gives a request up may still have its answer made.
	keptAnswers = 3
	// keptConnections is how many connections a device has. Clients have three.
	keptConnections = 16
)

// ConnectionState returns what a client had got with an answer over a
// connection. ok is false where it is not known, or was never of this
// connection.
func ConnectionState(ctx context.Context, r *storage.Reader, c Connection, serial int64) (state string, ok bool, err error) {
	const q = `SELECT state FROM sliding_connections WHERE serial = $1 AND user_id = $2 AND device_id = $3 AND conn_id = $4`
	err = r.QueryRow(ctx, q, serial, string(c.User), string(c.Device), c.ID).Scan(&state)
	if storage.NoRows(err) {
		return "", false, nil
	}
	return state, err == nil, err
}

// SetConnectionState keeps what a client gets with an answer. parent is what
// its request named: all that is older goes. With 0 the connection begins anew.
// ok is false where the parent is gone, because a newer request has been
// answered; nothing is kept then.
func SetConnectionState(ctx context.Context, tx *storage.Tx, c Connection, serial, parent int64, state string, now int64) (ok bool, err error) {
	if parent != 0 {
		if _, ok, err = ConnectionState(ctx, &tx.Reader, c, parent); err != nil || !ok {
			return false, err
		}
	}
	const old = `
		DELETE FROM sliding_connections WHERE user_id = $1 AND device_id = $2 AND conn_id = $3 AND serial <> $4 AND (
			parent <> $5 OR parent = 0 OR serial IN (
				SELECT serial FROM sliding_connections WHERE parent = $6 ORDER BY made DESC, serial LIMIT 100 OFFSET $7))`
	if _, err := tx.Exec(ctx, old, string(c.User), string(c.Device), c.ID, parent, parent, parent, keptAnswers-1); err != nil {
		return false, fmt.Errorf("forget old answers: %w", err)
	}
	const q = `
		INSERT INTO sliding_connections (serial, parent, user_id, device_id, conn_id, made, state)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`
	if _, err := tx.Exec(ctx, q, serial, parent, string(c.User), string(c.Device), c.ID, now, state); err != nil {
		return false, fmt.Errorf("keep connection: %w", err)
	}
	if parent != 0 {
		return true, nil
	}
	const many = `
		DELETE FROM sliding_connections WHERE user_id = $1 AND device_id = $2 AND conn_id IN (
			SELECT conn_id FROM sliding_connections WHERE user_id = $3 AND device_id = $4
			GROUP BY conn_id ORDER BY MAX(made) DESC, conn_id LIMIT 100 OFFSET $5)`
	_, err = tx.Exec(ctx, many, string(c.User), string(c.Device), string(c.User), string(c.Device), keptConnections)
	return err == nil, err
}

// SweepConnections removes connections whose devices are gone, and what was
// kept before a time, at most limit of each.
func SweepConnections(ctx context.Context, tx *storage.Tx, before int64, limit int) error {
	const gone = `
		DELETE FROM sliding_connections WHERE serial IN (
			SELECT c.serial FROM sliding_connections c
			LEFT JOIN devices d ON d.user_id = c.user_id AND d.device_id = c.device_id
			WHERE d.user_id IS NULL LIMIT $1)`
	if _, err := tx.Exec(ctx, gone, limit); err != nil {
		return fmt.Errorf("sweep connections: %w", err)
	}
	const old = `
		DELETE FROM sliding_connections WHERE serial IN (
			SELECT serial FROM sliding_connections WHERE made < $1 ORDER BY made LIMIT $2)`
	if _, err := tx.Exec(ctx, old, before, limit); err != nil {
		return fmt.Errorf("sweep connections: %w", err)
	}
	return nil
}

// RoomData returns what an account keeps under one type for each of its rooms.
func RoomData(ctx context.Context, r *storage.Reader, user matrix.UserID, typ string) (map[matrix.RoomID]string, error) {
	found := make(map[matrix.RoomID]string)
	const q = `SELECT room_id, content FROM account_data WHERE user_id = $1 AND room_id <> '' AND type = $2`
	err := r.Each(ctx, q, []any{string(user), typ}, func(rows *sql.Rows) error {
		var room matrix.RoomID
		var content string
		err := rows.Scan(&room, &content)
		found[room] = content
		return err
	})
	return found, err
}

// AccountDataIn returns the account data of a user for some rooms, and with ""
// for the account as a whole.
func AccountDataIn(ctx context.Context, r *storage.Reader, user matrix.UserID, ids []matrix.RoomID) (list []AccountData, err error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = string(id)
	}
	const q = `SELECT pos, room_id, type, content FROM account_data WHERE user_id = $1 AND room_id IN ($LIST)`
	err = storage.EachIn(ctx, r, q, []any{string(user)}, texts, func(rows *sql.Rows) error {
		var d AccountData
		err := rows.Scan(&d.Pos, &d.Room, &d.Type, &d.Content)
		list = append(list, d)
		return err
	})
	return list, err
}
