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

// received is the answer to every transaction.
//
// Divergence: the specification wants an error for events of rooms that shut
// the server out. A transaction is answered when it is kept, before its events
// are judged, so that none takes long and none is lost.
var received = httpx.Raw(`{"pdus":{}}`)

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
	return received, s.Inbox.receive(ctx, who.origin, txnID, &t, body)
}
