package federation

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

const (
	// maxPDUs and maxEDUs are those of the specification.
	//
	// https://spec.matrix.org/v1.19/server-server-api/#transactions
	maxPDUs = 50
	maxEDUs = 100
	// maxPDUBytes bounds an event before it is parsed: 65,536 bytes, and what
	// stands beside them unsigned.
	maxPDUBytes = 128 << 10
	// maxEDUBytes bounds another message. Those of ours have 64 KiB; old
	// servers put messages to many devices into one.
	maxEDUBytes = 1 << 20
	// maxTxnIDBytes bounds the name of a transaction.
	maxTxnIDBytes = 255
)

// transaction is what a server sends at once.
type transaction struct {
	Origin matrix.ServerName `json:"origin"`
	PDUs   []json.RawMessage `json:"pdus"`
	EDUs   []json.RawMessage `json:"edus"`
}

// check refuses a transaction as a whole. What is wrong with a single event or
// message hurts only that.
func (t *transaction) check(origin matrix.ServerName, txnID string) error {
	switch {
	case txnID == "" || len(txnID) > maxTxnIDBytes || !utf8.ValidString(txnID) || strings.ContainsRune(txnID, 0):
		return matrix.InvalidParam("a transaction ID has 1 to %d bytes of text", maxTxnIDBytes)
	case t.Origin != "" && t.Origin != origin:
		return matrix.InvalidParam("the body is of another server than the signature")
	case len(t.PDUs) > maxPDUs || len(t.EDUs) > maxEDUs:
		return matrix.BadJSON("a transaction has at most %d PDUs and %d EDUs", maxPDUs, maxEDUs)
	}
	return nil
}

// roomOf returns the room that an event says to be of. One without a room can
// only be a create event of version 12, which nobody sends so.
func roomOf(pdu json.RawMessage) (matrix.RoomID, error) {
	switch {
	case len(pdu) == 0 || pdu[0] != '{':
		return "", matrix.BadJSON("an event is an object")
	case len(pdu) > maxPDUBytes:
		return "", matrix.TooLarge("an event is longer than %d bytes", maxPDUBytes)
	}
	return matrix.ParseRoomID(textField(pdu, "room_id"))
}

// edu is a message that is no event.
type edu struct {
	typ     string
	content json.RawMessage
}

// parseEDU reads a message of a canonical body.
func parseEDU(raw json.RawMessage) (edu, error) {
	e := edu{textField(raw, "edu_type"), canonicaljson.Field(raw, "content")}
	switch {
	case len(raw) > maxEDUBytes:
		return edu{}, matrix.TooLarge("an EDU is longer than %d bytes", maxEDUBytes)
	case len(raw) == 0 || raw[0] != '{' || e.typ == "" || len(e.content) == 0 || e.content[0] != '{':
		return edu{}, matrix.BadJSON("an EDU has edu_type and content")
	}
	return e, nil
}

// send takes a transaction. It answers once the transaction is kept; the same
// again gets the same answer and is not kept.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid
func (s *Server) send(ctx context.Context, who peer, r *http.Request, t transaction) (httpx.Raw, error) {
	txnID := r.PathValue("txnID")
	if err := t.check(who.origin, txnID); err != nil {
		return nil, err
	}
	body, err := httpx.Body(r, maxTransaction)
	if err != nil {
		return nil, err
	}
	if err := s.Inbox.receive(ctx, who.origin, txnID, &t, body); err != nil {
		return nil, err
	}
	return s.received(ctx, who.origin, t.PDUs)
}

// received is the answer to a transaction: its events by their IDs, each with
// an error where the room shuts the server out.
//
// Divergence: the specification says what became of each event. A transaction
// is answered when it is kept, before its events are judged, so that none takes
// long and none is lost; the server hears of nothing else that is wrong.
func (s *Server) received(ctx context.Context, origin matrix.ServerName, pdus []json.RawMessage) (httpx.Raw, error) {
	byRoom := make(map[matrix.RoomID][][]byte)
	var order []matrix.RoomID
	for _, pdu := range pdus {
		room, err := roomOf(pdu)
		if err != nil {
			continue
		}
		if byRoom[room] == nil {
			order = append(order, room)
		}
		byRoom[room] = append(byRoom[room], pdu)
	}
	out := append(member(httpx.Raw{'{'}, "pdus"), '{')
	said := make(map[matrix.EventID]bool, len(pdus))
	for _, room := range order {
		list, err := s.Rooms.Identify(ctx, origin, room, byRoom[room])
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if e.ID == "" || said[e.ID] {
				continue
			}
			said[e.ID] = true
			out = append(member(out, string(e.ID)), '{')
			if e.Err != nil {
				out = appendString(out, "error", e.Err.Error())
			}
			out = append(out, '}')
		}
	}
	return append(out, '}', '}'), nil
}
