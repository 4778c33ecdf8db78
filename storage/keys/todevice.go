package keys

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Message is a message to a device.
type Message struct {
	Pos     storage.Position
	User    matrix.UserID
	Device  matrix.DeviceID
	Sender  matrix.UserID
	Type    string
	Content string // a JSON object
}

var messageRow = storage.NewInsert("to_device",
	[]string{"pos", "user_id", "device_id", "sender", "type", "content", "at"}, "")

// AddMessage puts a message into the queue of a device. It takes a position.
func AddMessage(tx *storage.Tx, m Message, now int64) {
	tx.Insert(messageRow, int64(tx.Next()), string(m.User), string(m.Device), string(m.Sender), m.Type, m.Content, now)
}

// Messages returns at most limit messages to a device after a position and not
// after upto, oldest first.
func Messages(ctx context.Context, r *storage.Reader, user matrix.UserID, device matrix.DeviceID,
	after, upto storage.Position, limit int) (list []Message, err error) {
	const q = `
		SELECT pos, sender, type, content FROM to_device
		WHERE user_id = $1 AND device_id = $2 AND pos > $3 AND pos <= $4 ORDER BY pos LIMIT $5`
	args := []any{string(user), string(device), int64(after), int64(upto), limit}
	err = r.Each(ctx, q, args, func(rows *sql.Rows) error {
		m := Message{User: user, Device: device}
		err := rows.Scan(&m.Pos, &m.Sender, &m.Type, &m.Content)
		list = append(list, m)
		return err
	})
	return list, err
}

// MessagesFor returns the devices to which a message came after a position and
// not after upto, for waking those who wait.
func MessagesFor(ctx context.Context, r *storage.Reader, after, upto storage.Position) (list []DeviceAt, err error) {
	const q = `SELECT pos, user_id, device_id FROM to_device WHERE pos > $1 AND pos <= $2 ORDER BY pos`
	err = r.Each(ctx, q, []any{int64(after), int64(upto)}, func(rows *sql.Rows) error {
		var d DeviceAt
		err := rows.Scan(&d.Pos, &d.User, &d.Device)
		list = append(list, d)
		return err
	})
	return list, err
}

// HasMessages reports whether a device has messages up to a position.
func HasMessages(ctx context.Context, r *storage.Reader, user matrix.UserID, device matrix.DeviceID, upto storage.Position) (bool, error) {
	var pos int64
	const q = `SELECT pos FROM to_device WHERE user_id = $1 AND device_id = $2 AND pos <= $3 LIMIT 1`
	err := r.QueryRow(ctx, q, string(user), string(device), int64(upto)).Scan(&pos)
	if storage.NoRows(err) {
		return false, nil
	}
	return err == nil, err
}

// DeleteMessages removes at most limit messages to a device up to a position
// that it has acknowledged, oldest first.
func DeleteMessages(ctx context.Context, tx *storage.Tx, user matrix.UserID, device matrix.DeviceID, upto storage.Position, limit int) (int64, error) {
	const q = `
		DELETE FROM to_device WHERE pos IN (
			SELECT pos FROM to_device WHERE user_id = $1 AND device_id = $2 AND pos <= $3 ORDER BY pos LIMIT $4)`
	n, err := tx.Exec(ctx, q, string(user), string(device), int64(upto), limit)
	if err != nil {
		return 0, fmt.Errorf("delete messages: %w", err)
	}
	return n, nil
}

// Done notes that a sending was done, or reports that it had been.
func Done(ctx context.Context, tx *storage.Tx, scope, id string, now int64) (first bool, err error) {
	const q = `INSERT INTO to_device_done (scope, id, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
	n, err := tx.Exec(ctx, q, scope, id, now)
	if err != nil {
		return false, fmt.Errorf("note sending: %w", err)
	}
	return n > 0, nil
}

// IsDone reports whether a sending was done.
func IsDone(ctx context.Context, r *storage.Reader, scope, id string) (bool, error) {
	var n int
	err := r.QueryRow(ctx, `SELECT COUNT(*) FROM to_device_done WHERE scope = $1 AND id = $2`, scope, id).Scan(&n)
	return n > 0, err
}

// FullQueues returns at most limit devices with more than most messages, and
// for each the position up to which the messages are too many.
func FullQueues(ctx context.Context, r *storage.Reader, most, limit int) (list []DeviceAt, err error) {
	const q = `SELECT user_id, device_id FROM to_device GROUP BY user_id, device_id HAVING COUNT(*) > $1 LIMIT $2`
	err = r.Each(ctx, q, []any{most, limit}, func(rows *sql.Rows) error {
		var d DeviceAt
		err := rows.Scan(&d.User, &d.Device)
		list = append(list, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	const last = `
		SELECT pos FROM to_device WHERE user_id = $1 AND device_id = $2 ORDER BY pos DESC LIMIT 1 OFFSET $3`
	for i, d := range list { // at most limit of them
		if err := r.QueryRow(ctx, last, string(d.User), string(d.Device), most).Scan(&list[i].Pos); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Expired says when what is kept for a while goes. Times are in ms.
type Expired struct {
	Messages  int64 // sent before
	Done      int64 // done before
	Claimed   int64 // claimed before
	KeyCounts storage.Position
}

// Sweep removes at most limit rows of each kind that have expired.
func Sweep(ctx context.Context, tx *storage.Tx, before Expired, limit int) error {
	for _, step := range []struct {
		query string
		arg   int64
	}{
		{`DELETE FROM to_device WHERE pos IN (SELECT pos FROM to_device WHERE at < $1 LIMIT $2)`, before.Messages},
		{`DELETE FROM to_device_done WHERE (scope, id) IN (SELECT scope, id FROM to_device_done WHERE at < $1 LIMIT $2)`, before.Done},
		{`DELETE FROM claimed_keys WHERE (slot, key_id) IN (SELECT slot, key_id FROM claimed_keys WHERE at < $1 LIMIT $2)`, before.Claimed},
		{`DELETE FROM key_counts WHERE pos IN (SELECT pos FROM key_counts WHERE pos < $1 ORDER BY pos LIMIT $2)`, int64(before.KeyCounts)},
	} {
		if _, err := tx.Exec(ctx, step.query, step.arg, limit); err != nil {
			return fmt.Errorf("sweep keys: %w", err)
		}
	}
	return nil
}
