package rooms

import (
	"context"
	"database/sql"
	"encoding/json"

	"beffroi/matrix"
	"beffroi/storage"
)

// Timeline returns the accepted events of a room with from < pos ≤ to, at most
// limit, the newest first (backwards) or the oldest first.
func Timeline(ctx context.Context, r *storage.Reader, roomNID int64, from, to storage.Position, limit int,
	backwards bool) (found []*Event, err error) {
	q := `SELECT ` + eventColumns + ` FROM events e
		WHERE e.room_nid = $1 AND e.status = 1 AND e.pos > $2 AND e.pos <= $3 AND e.pos <> 0 ORDER BY e.pos LIMIT $4`
	if backwards {
		q = `SELECT ` + eventColumns + ` FROM events e
		WHERE e.room_nid = $1 AND e.status = 1 AND e.pos > $2 AND e.pos <= $3 AND e.pos <> 0 ORDER BY e.pos DESC LIMIT $4`
	}
	err = r.Each(ctx, q, []any{roomNID, int64(from), int64(to), limit}, func(rows *sql.Rows) error {
		e, err := scanEvent(rows.Scan)
		found = append(found, e)
		return err
	})
	return found, err
}

// NearTime returns the accepted events of a room at a time or after it, or
// before it where backwards, the nearest first: at most limit, after the first
// skip.
func NearTime(ctx context.Context, r *storage.Reader, roomNID, ts int64, backwards bool, skip, limit int) ([]*Event, error) {
	if backwards {
		return listEvents(ctx, r, `SELECT `+eventColumns+` FROM events e
			WHERE e.room_nid = $1 AND e.status = 1 AND e.origin_server_ts <= $2 AND e.pos <> 0
			ORDER BY e.origin_server_ts DESC, e.pos DESC LIMIT $3 OFFSET $4`, roomNID, ts, limit, skip)
	}
	return listEvents(ctx, r, `SELECT `+eventColumns+` FROM events e
		WHERE e.room_nid = $1 AND e.status = 1 AND e.origin_server_ts >= $2 AND e.pos <> 0
		ORDER BY e.origin_server_ts, e.pos LIMIT $3 OFFSET $4`, roomNID, ts, limit, skip)
}

// FollowsEdge reports whether one of some events has no place here and is
// followed by an event that has.
func FollowsEdge(ctx context.Context, r *storage.Reader, roomNID int64, ids []matrix.EventID) (found bool, err error) {
	err = storage.EachIn(ctx, r, `SELECT 1 FROM backward_edges WHERE room_nid = $1 AND event_id IN ($LIST)`,
		[]any{roomNID}, texts(ids), func(*sql.Rows) error {
			found = true
			return nil
		})
	return found, err
}

// ChangedRooms returns the rooms that got events with from < pos ≤ to, with
// the position of the last.
func ChangedRooms(ctx context.Context, r *storage.Reader, from, to storage.Position) (map[int64]storage.Position, error) {
	found := make(map[int64]storage.Position)
	const q = `SELECT room_nid, MAX(pos) FROM events WHERE status = 1 AND pos > $1 AND pos <= $2 AND pos > 0 GROUP BY room_nid`
	err := r.Each(ctx, q, []any{int64(from), int64(to)}, func(rows *sql.Rows) error {
		var nid int64
		var pos storage.Position
		err := rows.Scan(&nid, &pos)
		found[nid] = pos
		return err
	})
	return found, err
}

var insertEdge = storage.NewInsert("backward_edges", []string{"room_nid", "event_id", "depth"}, "ON CONFLICT DO NOTHING")

// AddEdges notes events that an accepted event of a depth follows and that
// have no place here.
func AddEdges(tx *storage.Tx, roomNID int64, missing []matrix.EventID, depth int64) {
	for _, id := range missing {
		tx.Insert(insertEdge, roomNID, string(id), depth)
	}
}

// RemoveEdges forgets edges whose events have come.
func RemoveEdges(ctx context.Context, tx *storage.Tx, roomNID int64, ids []matrix.EventID) error {
	_, err := storage.ExecIn(ctx, tx, `DELETE FROM backward_edges WHERE room_nid = $1 AND event_id IN ($LIST)`,
		[]any{roomNID}, texts(ids))
	return err
}

// IsEdge reports whether an event is one that an accepted event follows and
// that has no place here yet.
func IsEdge(ctx context.Context, r *storage.Reader, roomNID int64, id matrix.EventID) (bool, error) {
	var one int
	err := r.QueryRow(ctx, `SELECT 1 FROM backward_edges WHERE room_nid = $1 AND event_id = $2`, roomNID, string(id)).Scan(&one)
	if storage.NoRows(err) {
		return false, nil
	}
	return err == nil, err
}

// DeepestEdge returns the depth of the deepest event that follows an edge, 0
// where there is no edge.
func DeepestEdge(ctx context.Context, r *storage.Reader, roomNID int64) (depth int64, err error) {
	const q = `SELECT COALESCE(MAX(depth), 0) FROM backward_edges WHERE room_nid = $1`
	err = r.QueryRow(ctx, q, roomNID).Scan(&depth)
	return depth, err
}

// Edges returns where the history of a room can be asked for, below events
// deeper than a depth, the latest first.
func Edges(ctx context.Context, r *storage.Reader, roomNID, deeper int64, limit int) ([]matrix.EventID, error) {
	const q = `SELECT event_id FROM backward_edges WHERE room_nid = $1 AND depth > $2 ORDER BY depth DESC, event_id LIMIT $3`
	return storage.Column[matrix.EventID](ctx, r, q, roomNID, deeper, limit)
}

var insertTransaction = storage.NewInsert("transactions",
	[]string{"user_id", "device_id", "txn_id", "event_id", "created_at"}, "")

// AddTransaction notes what a client's transaction ID became. A repeated ID
// breaks the commit.
func AddTransaction(tx *storage.Tx, user matrix.UserID, device matrix.DeviceID, txnID string, id matrix.EventID, now int64) {
	tx.Insert(insertTransaction, string(user), string(device), txnID, string(id), now)
}

// Transaction returns what a client's transaction ID became, or "".
func Transaction(ctx context.Context, r *storage.Reader, user matrix.UserID, device matrix.DeviceID,
	txnID string) (id matrix.EventID, err error) {
	const q = `SELECT event_id FROM transactions WHERE user_id = $1 AND device_id = $2 AND txn_id = $3`
	err = r.QueryRow(ctx, q, string(user), string(device), txnID).Scan(&id)
	if storage.NoRows(err) {
		return "", nil
	}
	return id, err
}

// TransactionIDs returns the transaction IDs by which a device sent events.
//
// https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers
func TransactionIDs(ctx context.Context, r *storage.Reader, user matrix.UserID, device matrix.DeviceID,
	ids []matrix.EventID) (map[matrix.EventID]string, error) {
	found := make(map[matrix.EventID]string)
	const q = `SELECT event_id, txn_id FROM transactions WHERE user_id = $1 AND device_id = $2 AND event_id IN ($LIST)`
	err := storage.EachIn(ctx, r, q, []any{string(user), string(device)}, texts(ids), func(rows *sql.Rows) error {
		var id matrix.EventID
		var txn string
		err := rows.Scan(&id, &txn)
		found[id] = txn
		return err
	})
	return found, err
}

// SetStripped keeps what another server told of a room that a user is invited
// to or knocks on.
func SetStripped(ctx context.Context, tx *storage.Tx, roomNID int64, user matrix.UserID, stripped []json.RawMessage) error {
	raw, err := json.Marshal(stripped)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE memberships SET stripped = $1 WHERE room_nid = $2 AND user_id = $3`,
		string(raw), roomNID, string(user))
	return err
}
