package roomserver

import (
	"context"
	"encoding/json"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// maxReceipts bounds the receipts of one EDU: no server sends more, and
	// each may be a row.
	maxReceipts = 1000
	// maxReceiptEvents bounds the events that one receipt names. One is right.
	maxReceiptEvents = 10
	// maxTS is the greatest integer that a client can read.
	maxTS = 1<<53 - 1
)

// ReceiveReceipts takes an m.receipt of another server. Receipts of users of
// other servers, of users who have not joined, in rooms that shut the origin
// out, and for events that are not known are left out; the others hold.
//
// https://spec.matrix.org/v1.19/server-server-api/#receipts
func (s *Server) ReceiveReceipts(ctx context.Context, origin matrix.ServerName, content []byte) error {
	var edu receiptEDU
	if err := json.Unmarshal(content, &edu); err != nil {
		return matrix.BadJSON("m.receipt: %v", err)
	}
	named := 0
	for room, types := range edu {
		named += len(types[receiptRead])
		if len(types[receiptRead]) == 0 {
			delete(edu, room)
		}
	}
	if named > maxReceipts {
		return matrix.TooLarge("an m.receipt of %d receipts", named)
	}
	var good []placedReceipt
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		good, err = s.placeReceipts(ctx, r, origin, edu)
		return err
	}); err != nil || len(good) == 0 {
		return err
	}
	_, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		for _, rc := range good {
			if _, err := advanceReceipt(ctx, tx, rc.Receipt, rc.place); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

type placedReceipt struct {
	rooms.Receipt
	place storage.Position
}

// placeReceipts finds the events of those receipts that hold.
func (s *Server) placeReceipts(ctx context.Context, r *storage.Reader, origin matrix.ServerName, edu receiptEDU) (good []placedReceipt, err error) {
	ids := make([]matrix.RoomID, 0, len(edu))
	for room := range edu {
		ids = append(ids, room)
	}
	known, err := rooms.ByIDs(ctx, r, ids)
	if err != nil {
		return nil, err
	}
	for id, room := range known {
		if err := s.allowedByACL(ctx, r, id, origin); err != nil {
			if matrix.IsCode(err, "M_FORBIDDEN") {
				continue
			}
			return nil, err
		}
		list, err := placeRoomReceipts(ctx, r, origin, room, edu[id][receiptRead])
		if err != nil {
			return nil, err
		}
		good = append(good, list...)
	}
	return good, nil
}

func placeRoomReceipts(ctx context.Context, r *storage.Reader, origin matrix.ServerName, room rooms.Room,
	receipts map[matrix.UserID]remoteReceipt) (good []placedReceipt, err error) {
	var users []matrix.UserID
	var ids []matrix.EventID
	for user, rc := range receipts {
		if user.Server() == origin && len(rc.EventIDs) <= maxReceiptEvents {
			users = append(users, user)
			ids = append(ids, rc.EventIDs...)
			if rc.Data.ThreadID != nil {
				ids = append(ids, matrix.EventID(*rc.Data.ThreadID))
			}
		}
	}
	joined, err := rooms.JoinedAmong(ctx, r, room.NID, users)
	if err != nil {
		return nil, err
	}
	events, err := rooms.Events(ctx, r, ids)
	if err != nil {
		return nil, err
	}
	for _, user := range users {
		if joined[user] {
			if rc, ok := placeReceipt(room, user, receipts[user], events); ok {
				good = append(good, rc)
			}
		}
	}
	return good, nil
}

// placeReceipt returns the receipt for the newest of the events that it names.
func placeReceipt(room rooms.Room, user matrix.UserID, rc remoteReceipt, events map[matrix.EventID]*rooms.Event) (out placedReceipt, ok bool) {
	out.Receipt = rooms.Receipt{RoomNID: room.NID, User: user, Type: receiptRead, TS: rc.Data.TS}
	if out.TS < 0 || out.TS > maxTS {
		return out, false
	}
	if rc.Data.ThreadID != nil {
		out.ThreadID = *rc.Data.ThreadID
		root := events[matrix.EventID(out.ThreadID)]
		if out.ThreadID != threadMain && (root == nil || root.RoomNID != room.NID) {
			return out, false // each thread is a row: only those that are
		}
	}
	for _, id := range rc.EventIDs {
		e := events[id]
		if e == nil || e.RoomNID != room.NID || e.Status != rooms.Accepted || ok && e.Pos <= out.place {
			continue
		}
		out.EventID, out.place, ok = id, e.Pos, true
	}
	return out, ok
}
