package roomserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// SendRequest is an event that a user of this server sends.
type SendRequest struct {
	Sender   matrix.UserID
	Room     matrix.RoomID
	Type     string
	StateKey *string // nil: not state
	Content  json.RawMessage
	Redacts  matrix.EventID // for m.room.redaction
	// Device and TxnID make a repeated request send nothing twice. An empty
	// TxnID stands for a request that cannot be repeated, as for state.
	Device matrix.DeviceID
	TxnID  string
}

// Send adds an event of a local user to a room and returns its ID once it is
// durable.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
func (s *Server) Send(ctx context.Context, req SendRequest) (id matrix.EventID, err error) {
	if err := checkSend(req); err != nil {
		return "", err
	}
	if req.TxnID == "" {
		return s.send(ctx, req)
	}
	// A request that is repeated while the first is under way waits for it: its
	// commit would fail, and take with it whatever was prepared on top.
	key := fmt.Sprintf("send %q %q %q", req.Sender, req.Device, req.TxnID)
	for {
		ran, err := s.sends.do(ctx, key, func() (err error) {
			id, err = s.send(ctx, req)
			return err
		})
		if ran {
			return id, err
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
}

// send is Send for a request that is not under way already in this process.
func (s *Server) send(ctx context.Context, req SendRequest) (id matrix.EventID, err error) {
	if id, err := s.repeated(ctx, req); err != nil || id != "" {
		return id, err
	}
	if err := s.checkThread(ctx, req); err != nil {
		return "", err
	}
	if err := s.checkAliases(ctx, req); err != nil { // before the lock of the room is taken: it may ask another server
		return "", err
	}
	err = s.change(ctx, req.Room, func(ctx context.Context, d *draft) error {
		if same := s.unchanged(d, req); same != "" {
			id = same
			return nil
		}
		if err := s.mayRedact(ctx, d, req); err != nil {
			return err
		}
		p := event.Proto{Sender: req.Sender, Type: req.Type, StateKey: req.StateKey, Content: req.Content, Redacts: req.Redacts}
		e, err := s.build(ctx, d, p, false)
		if err != nil {
			return err
		}
		id = e.ID()
		if req.TxnID != "" {
			d.also(func(_ context.Context, tx *storage.Tx) error {
				rooms.AddTransaction(tx, req.Sender, req.Device, req.TxnID, e.ID(), e.OriginServerTS())
				return nil
			})
		}
		return nil
	})
	if err != nil {
		// The same request at the same time on another node: the one that was first is the answer to both.
		if first, _ := s.repeated(ctx, req); first != "" {
			return first, nil
		}
		return "", err
	}
	return id, nil
}

// checkSend refuses what no client may send by this call.
func checkSend(req SendRequest) error {
	switch {
	case req.Type == "":
		return matrix.InvalidParam("an event has a type")
	case len(req.Type) > matrix.MaxIDBytes:
		return matrix.TooLarge("an event type has at most %d bytes", matrix.MaxIDBytes)
	case req.StateKey != nil && len(*req.StateKey) > matrix.MaxIDBytes:
		return matrix.TooLarge("a state key has at most %d bytes", matrix.MaxIDBytes)
	case len(req.TxnID) > matrix.MaxIDBytes:
		return matrix.InvalidParam("a transaction ID has at most %d bytes", matrix.MaxIDBytes)
	case req.Type == "m.room.create":
		return matrix.NewError(http.StatusBadRequest, "M_BAD_STATE", "a create event can only be the first of a room")
	case req.Type == "m.room.member" && req.StateKey == nil:
		return matrix.BadJSON("a membership has a state key")
	}
	return nil
}

// repeated returns what an earlier request with the same transaction ID sent.
func (s *Server) repeated(ctx context.Context, req SendRequest) (id matrix.EventID, err error) {
	if req.TxnID == "" {
		return "", nil
	}
	err = s.db.View(ctx, func(r *storage.Reader) (err error) {
		id, err = rooms.Transaction(ctx, r, req.Sender, req.Device, req.TxnID)
		return err
	})
	return id, err
}

// unchanged returns the event that already is the state which a request sends
// again, so that a client that repeats itself does not fill the room.
func (s *Server) unchanged(d *draft, req SendRequest) matrix.EventID {
	if req.StateKey == nil {
		return ""
	}
	now := d.cur.Event(req.Type, *req.StateKey)
	if now == nil || now.Sender() != req.Sender {
		return ""
	}
	content, err := canonicaljson.Canonicalise(req.Content, canonicaljson.Lenient)
	if err != nil || !bytes.Equal(content, now.Content()) {
		return ""
	}
	return now.ID()
}
