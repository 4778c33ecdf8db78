package rooms

import (
	"context"
	"database/sql"

	"beffroi/matrix"
	"beffroi/storage"
)

// StandingsChanged returns the memberships of users of one server that changed
// with from < pos ≤ to, in order.
func StandingsChanged(ctx context.Context, r *storage.Reader, server matrix.ServerName,
	from, to storage.Position) (found []Standing, err error) {
	const q = `SELECT ` + standingColumns + ` FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
		WHERE m.pos > $1 AND m.pos <= $2 AND m.server = $3 ORDER BY m.pos`
	err = r.Each(ctx, q, []any{int64(from), int64(to), string(server)}, func(rows *sql.Rows) error {
		s, err := scanStanding(rows)
		found = append(found, s)
		return err
	})
	return found, err
}

// ReceiptMark says that a user moved a receipt.
type ReceiptMark struct {
	RoomNID int64
	User    matrix.UserID
	Type    string
	Pos     storage.Position
}

// ReceiptMarks returns the receipts that moved with from < pos ≤ to.
func ReceiptMarks(ctx context.Context, r *storage.Reader, from, to storage.Position) (found []ReceiptMark, err error) {
	const q = `SELECT room_nid, user_id, receipt_type, pos FROM receipts WHERE pos > $1 AND pos <= $2`
	err = r.Each(ctx, q, []any{int64(from), int64(to)}, func(rows *sql.Rows) error {
		var m ReceiptMark
		err := rows.Scan(&m.RoomNID, &m.User, &m.Type, &m.Pos)
		found = append(found, m)
		return err
	})
	return found, err
}

// JoinedRoomsOf returns the rooms that each of some users has joined.
func JoinedRoomsOf(ctx context.Context, r *storage.Reader, users []matrix.UserID) (map[matrix.UserID][]int64, error) {
	found := make(map[matrix.UserID][]int64, len(users))
	const q = `SELECT user_id, room_nid FROM memberships WHERE membership = 'join' AND user_id IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, texts(users), func(rows *sql.Rows) error {
		var user matrix.UserID
		var nid int64
		err := rows.Scan(&user, &nid)
		found[user] = append(found[user], nid)
		return err
	})
	return found, err
}
