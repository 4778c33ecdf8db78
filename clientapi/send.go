package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/roomserver"
)

type eventIDResponse struct {
	EventID matrix.EventID `json:"event_id"`
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
func (s *Server) send(ctx context.Context, who *caller, r *http.Request, content json.RawMessage) (eventIDResponse, error) {
	room, err := roomID(r)
	if err != nil {
		return eventIDResponse{}, err
	}
	if len(content) == 0 {
		return eventIDResponse{}, matrix.NotJSON("the body is the content of the event")
	}
	typ, txn := r.PathValue("type"), r.PathValue("txnID")
	req := roomserver.SendRequest{Sender: who.User, Device: who.Device, TxnID: txn, Room: room, Type: typ, Content: content}
	if typ == typeRedaction {
		var target struct {
			Redacts string `json:"redacts"`
		}
		if err := json.Unmarshal(content, &target); err != nil {
			return eventIDResponse{}, matrix.BadJSON("redacts must be a string")
		}
		if req.Redacts, err = matrix.ParseEventID(target.Redacts); err != nil {
			return eventIDResponse{}, err
		}
	}
	id, err := s.Rooms.Send(ctx, req)
	return eventIDResponse{id}, err
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
func (s *Server) sendState(ctx context.Context, who *caller, r *http.Request, content json.RawMessage) (eventIDResponse, error) {
	room, err := roomID(r)
	if err != nil {
		return eventIDResponse{}, err
	}
	if len(content) == 0 {
		return eventIDResponse{}, matrix.NotJSON("the body is the content of the event")
	}
	key := r.PathValue("stateKey")
	id, err := s.Rooms.Send(ctx, roomserver.SendRequest{
		Sender: who.User, Device: who.Device, Room: room, Type: r.PathValue("type"), StateKey: &key, Content: content})
	return eventIDResponse{id}, err
}

const typeRedaction = "m.room.redaction"

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid
func (s *Server) redact(ctx context.Context, who *caller, r *http.Request, req struct {
	Reason string `json:"reason"`
}) (eventIDResponse, error) {
	room, target, err := roomAndEvent(r)
	if err != nil {
		return eventIDResponse{}, err
	}
	content, err := json.Marshal(map[string]string{"reason": req.Reason})
	if req.Reason == "" {
		content = json.RawMessage("{}")
	}
	if err != nil {
		return eventIDResponse{}, err
	}
	id, err := s.Rooms.Send(ctx, roomserver.SendRequest{Sender: who.User, Device: who.Device, TxnID: r.PathValue("txnID"),
		Room: room, Type: typeRedaction, Content: content, Redacts: target})
	return eventIDResponse{id}, err
}

type typingRequest struct {
	Typing  *bool `json:"typing"`
	Timeout int64 `json:"timeout"` // ms
}

// maxTypingMS bounds what a client can ask for; the room server holds a notice
// for less.
const maxTypingMS = 1 << 32

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid
func (s *Server) typing(ctx context.Context, who *caller, r *http.Request, req typingRequest) (httpx.None, error) {
	room, err := roomID(r)
	if err != nil {
		return httpx.None{}, err
	}
	if req.Typing == nil {
		return httpx.None{}, matrix.MissingParam("typing is missing")
	}
	timeout := time.Duration(min(max(req.Timeout, 0), maxTypingMS)) * time.Millisecond
	return httpx.None{}, s.Rooms.SetTyping(ctx, who.User, room, *req.Typing, timeout)
}
