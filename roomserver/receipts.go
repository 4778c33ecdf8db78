package roomserver

import (
	"context"
	"encoding/json"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// The types of receipts. m.fully_read is account data.
const (
	receiptRead    = "m.read"
	receiptPrivate = "m.read.private"
)

// threadMain is the thread of what is in none.
const threadMain = "main"

// maxThreadHops is how many relations lead from an event to its thread.
const maxThreadHops = 3

// ReceiptRequest says how far a user of this server has read.
type ReceiptRequest struct {
	User   matrix.UserID
	Room   matrix.RoomID
	Type   string  // m.read or m.read.private
	Thread *string // nil: the whole room, "main", or the root of a thread
	Event  matrix.EventID
}

// SetReceipt notes how far a user has read, and tells the other servers unless
// it is private. It never goes back: a receipt for an older event than the one
// before changes nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid
func (s *Server) SetReceipt(ctx context.Context, req ReceiptRequest) error {
	if req.Type != receiptRead && req.Type != receiptPrivate {
		return matrix.InvalidParam("%q is not a type of receipt", req.Type)
	}
	rc := rooms.Receipt{User: req.User, Type: req.Type, EventID: req.Event, TS: s.nowMS()}
	if req.Thread != nil {
		rc.ThreadID = *req.Thread
		if rc.ThreadID != threadMain && !isEventID(rc.ThreadID) {
			return matrix.InvalidParam("thread_id must be %q or the ID of an event", threadMain)
		}
	}
	var place storage.Position
	var servers []matrix.ServerName
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		room, err := s.joined(ctx, r, req.User, req.Room)
		if err != nil {
			return err
		}
		rc.RoomNID = room.NID
		e, _, err := s.seenEvent(ctx, r, req.User, req.Room, req.Event)
		if err != nil {
			return err
		}
		place = e.Pos
		if err := inThread(ctx, r, e, rc.ThreadID); err != nil || req.Type == receiptPrivate {
			return err
		}
		servers, err = rooms.Servers(ctx, r, room.NID)
		return err
	}); err != nil {
		return err
	}
	var moved bool
	if _, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
		moved, err = advanceReceipt(ctx, tx, rc, place)
		return err
	}); err != nil || !moved {
		return err
	}
	s.tellReceipt(req.Room, rc, servers)
	return nil
}

func isEventID(id string) bool {
	_, err := matrix.ParseEventID(id)
	return err == nil
}

// advanceReceipt writes a receipt unless the one before is for an event that
// stands later in the room.
func advanceReceipt(ctx context.Context, tx *storage.Tx, rc rooms.Receipt, place storage.Position) (moved bool, err error) {
	was, known, err := rooms.ReceiptPlace(ctx, tx, rc)
	if err != nil || known && was >= place {
		return false, err
	}
	return true, rooms.SetReceipt(ctx, tx, rc)
}

// inThread refuses a receipt for an event that is not in the thread it names.
// The root counts as a part of its own thread, as clients mark it so.
//
// https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts
func inThread(ctx context.Context, r *storage.Reader, e *rooms.Event, thread string) error {
	if thread == "" || thread == string(e.ID()) {
		return nil
	}
	root, err := threadOf(ctx, r, e)
	if err != nil {
		return err
	}
	if root != thread {
		return matrix.InvalidParam("the event is not in this thread")
	}
	return nil
}

// threadOf returns the root of the thread that an event is in, or "main".
func threadOf(ctx context.Context, r *storage.Reader, e *rooms.Event) (string, error) {
	for range maxThreadHops {
		relation := canonicaljson.Field(e.Content(), "m.relates_to")
		target := stringField(relation, "event_id")
		if target == "" {
			return threadMain, nil
		}
		if stringField(relation, "rel_type") == "m.thread" {
			return target, nil
		}
		found, err := rooms.Events(ctx, r, []matrix.EventID{matrix.EventID(target)})
		if err != nil {
			return "", err
		}
		next := found[matrix.EventID(target)]
		if next == nil || next.RoomNID != e.RoomNID {
			return threadMain, nil
		}
		e = next
	}
	return threadMain, nil
}

// stringField returns a string of an object of an event, or "".
func stringField(object []byte, key string) string {
	s, _ := canonicaljson.Unquote(canonicaljson.Field(object, key))
	return s
}

// receiptEDU is the content of m.receipt between servers, by room, type and user.
//
// https://spec.matrix.org/v1.19/server-server-api/#receipts
type receiptEDU map[matrix.RoomID]map[string]map[matrix.UserID]remoteReceipt

type remoteReceipt struct {
	Data struct {
		TS       int64   `json:"ts"`
		ThreadID *string `json:"thread_id,omitempty"`
	} `json:"data"`
	EventIDs []matrix.EventID `json:"event_ids"`
}

func (s *Server) tellReceipt(room matrix.RoomID, rc rooms.Receipt, servers []matrix.ServerName) {
	others := slices.DeleteFunc(servers, func(name matrix.ServerName) bool { return name == s.self })
	if rc.Type == receiptPrivate || len(others) == 0 || s.edus == nil {
		return
	}
	one := remoteReceipt{EventIDs: []matrix.EventID{rc.EventID}}
	one.Data.TS = rc.TS
	if rc.ThreadID != "" {
		one.Data.ThreadID = &rc.ThreadID
	}
	content, err := json.Marshal(receiptEDU{room: {receiptRead: {rc.User: one}}})
	if err != nil {
		return // strings and numbers always marshal
	}
	key := "receipt " + string(room) + " " + string(rc.User) + " " + rc.ThreadID
	s.edus.SendEphemeral(others, "m.receipt", key, content)
}
