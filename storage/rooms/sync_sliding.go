package rooms

import (
	"context"
	"database/sql"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
)

// BumpTypes are the types of events that people would call activity.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4186
var BumpTypes = []string{"m.room.create", "m.room.message", "m.room.encrypted", "m.sticker", "m.call.invite",
	"m.poll.start", "org.matrix.msc3381.poll.start", "m.beacon_info", "org.matrix.msc3672.beacon_info"}

// Bumps returns the positions of the last activity in rooms, 0 for none.
func Bumps(ctx context.Context, r *storage.Reader, roomNIDs []int64) (map[int64]storage.Position, error) {
	found := make(map[int64]storage.Position, len(roomNIDs))
	const q = `SELECT room_nid, bump_pos FROM rooms WHERE room_nid IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, roomNIDs, func(rows *sql.Rows) error {
		var nid int64
		var pos storage.Position
		err := rows.Scan(&nid, &pos)
		found[nid] = pos
		return err
	})
	return found, err
}

// Senders returns who sent events, by their numbers.
func Senders(ctx context.Context, r *storage.Reader, nids []int64) (map[int64]matrix.UserID, error) {
	found := make(map[int64]matrix.UserID, len(nids))
	const q = `SELECT event_nid, sender FROM events WHERE event_nid IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, nids, func(rows *sql.Rows) error {
		var nid int64
		var user matrix.UserID
		err := rows.Scan(&nid, &user)
		found[nid] = user
		return err
	})
	return found, err
}

// ReceiptsOn returns the receipts for some events. Private ones are only their
// user's business: the caller leaves out the others'.
func ReceiptsOn(ctx context.Context, r *storage.Reader, ids []matrix.EventID) (found []Receipt, err error) {
	const q = `SELECT room_nid, user_id, receipt_type, thread_id, event_id, ts, pos FROM receipts WHERE event_id IN ($LIST)`
	err = storage.EachIn(ctx, r, q, nil, texts(ids), func(rows *sql.Rows) error {
		var rc Receipt
		err := rows.Scan(&rc.RoomNID, &rc.User, &rc.Type, &rc.ThreadID, &rc.EventID, &rc.TS, &rc.Pos)
		found = append(found, rc)
		return err
	})
	return found, err
}

// ReceiptsBy returns the receipts of one user in rooms.
func ReceiptsBy(ctx context.Context, r *storage.Reader, user matrix.UserID, roomNIDs []int64) (found []Receipt, err error) {
	const q = `SELECT room_nid, user_id, receipt_type, thread_id, event_id, ts, pos FROM receipts
		WHERE user_id = $1 AND room_nid IN ($LIST)`
	err = storage.EachIn(ctx, r, q, []any{string(user)}, roomNIDs, func(rows *sql.Rows) error {
		var rc Receipt
		err := rows.Scan(&rc.RoomNID, &rc.User, &rc.Type, &rc.ThreadID, &rc.EventID, &rc.TS, &rc.Pos)
		found = append(found, rc)
		return err
	})
	return found, err
}

// SpaceChildren returns the rooms that spaces name as their own.
//
// https://spec.matrix.org/v1.19/client-server-api/#mspacechild
func SpaceChildren(ctx context.Context, r *storage.Reader, roomNIDs []int64) (map[int64][]matrix.RoomID, error) {
	found := make(map[int64][]matrix.RoomID, len(roomNIDs))
	const q = `SELECT s.room_nid, s.state_key, e.json FROM current_state s JOIN events e ON e.event_nid = s.event_nid
		WHERE s.type = 'm.space.child' AND s.room_nid IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, roomNIDs, func(rows *sql.Rows) error {
		var nid int64
		var child matrix.RoomID
		var raw []byte
		if err := rows.Scan(&nid, &child, &raw); err != nil {
			return err
		}
		// A child without servers through which it is reached is none any more.
		via := canonicaljson.Field(canonicaljson.Field(raw, "content"), "via")
		if len(via) > 0 && via[0] == '[' {
			found[nid] = append(found[nid], child)
		}
		return nil
	})
	return found, err
}
