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
	if r.PathValue("type") == typeMember {
		if done, id, err := s.sendMembership(ctx, who, room, key, content); done || err != nil {
			return eventIDResponse{id}, err
		}
	}
	id, err := s.Rooms.Send(ctx, roomserver.SendRequest{
		Sender: who.User, Device: who.Device, Room: room, Type: r.PathValue("type"), StateKey: &key, Content: content})
	return eventIDResponse{id}, err
}

const (
	typeMember    = "m.room.member"
	typeRedaction = "m.room.redaction"
)

// sendMembership takes a membership that a client writes as state. One that
// another server has to help with, an invitation of its user or a join, is
// made like any other; the rest is done where done is false.
func (s *Server) sendMembership(ctx context.Context, who *caller, room matrix.RoomID, key string,
	content json.RawMessage) (done bool, id matrix.EventID, err error) {
	user, err := matrix.ParseUserID(key)
	if err != nil {
		return false, "", err
	}
	var c struct {
		Membership string `json:"membership"`
		Reason     string `json:"reason"`
		IsDirect   bool   `json:"is_direct"`
		roomserver.Profile
	}
	if err := json.Unmarshal(content, &c); err != nil {
		return false, "", matrix.BadJSON("the content is not that of a membership")
	}
	switch {
	case c.Membership == "invite" && !s.local(user):
		err = s.Rooms.Invite(ctx, roomserver.MembershipRequest{
			Sender: who.User, Target: user, Room: room, Reason: c.Reason, IsDirect: c.IsDirect})
	case c.Membership == "join" && user == who.User && !s.joinedTo(ctx, who.User, room):
		err = s.joinAndInherit(ctx, roomserver.JoinRequest{User: user, Room: room, Reason: c.Reason, Profile: c.Profile})
	default:
		return false, "", nil
	}
	if err != nil {
		return true, "", err
	}
	event, err := s.Rooms.StateEvent(ctx, who.User, room, typeMember, key, true)
	var now eventIDResponse
	if err == nil {
		err = json.Unmarshal(event, &now)
	}
	return true, now.EventID, err
}

// joinedTo reports whether a user is in a room, as far as the user may know.
func (s *Server) joinedTo(ctx context.Context, user matrix.UserID, room matrix.RoomID) bool {
	content, err := s.Rooms.StateEvent(ctx, user, room, typeMember, string(user), false)
	var c struct {
		Membership string `json:"membership"`
	}
	return err == nil && json.Unmarshal(content, &c) == nil && c.Membership == "join"
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid
func (s *Server) redact(ctx context.Context, who *caller, r *http.Request, req struct {
	Reason string `json:"reason"`
	// Of relations that go with the event, and the name of before that.
	Related    []string `json:"with_rel_types"`
	OldRelated []string `json:"org.matrix.msc3912.with_relations"`
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
	send := roomserver.SendRequest{Sender: who.User, Device: who.Device, TxnID: r.PathValue("txnID"),
		Room: room, Type: typeRedaction, Content: content, Redacts: target}
	id, err := s.Rooms.Send(ctx, send)
	related := append(req.Related, req.OldRelated...)
	if err != nil || len(related) == 0 {
		return eventIDResponse{id}, err
	}
	if len(related) > maxRelTypes {
		related = related[:maxRelTypes]
	}
	return eventIDResponse{id}, s.Rooms.RedactRelated(ctx, send, related)
}

// maxRelTypes bounds the types of relations that a redaction names.
const maxRelTypes = 50

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
