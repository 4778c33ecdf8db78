package federation

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

// invitation is the body of an invitation.
type invitation struct {
	RoomVersion matrix.RoomVersion `json:"room_version"`
	Event       json.RawMessage    `json:"event"`
	// RoomState tells of the room.
	RoomState []json.RawMessage `json:"invite_room_state"`
}

// invite takes an invitation of a user of this server and returns it with our
// signature.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid
func (s *Server) invite(ctx context.Context, who peer, r *http.Request, in invitation) (httpx.Raw, error) {
	room, id, err := pathRoomEvent(r)
	switch {
	case err != nil:
		return nil, err
	case in.RoomVersion == "":
		return nil, matrix.MissingParam("the body lacks room_version")
	case len(in.Event) == 0 || in.Event[0] != '{':
		return nil, matrix.MissingParam("the body lacks an event")
	}
	if err := s.mayInvite(ctx, who, in.Event); err != nil {
		return nil, err
	}
	signed, err := s.Rooms.ReceiveInvite(ctx, who.origin, room, id, in.RoomVersion, in.Event, in.RoomState)
	if err != nil {
		return nil, err
	}
	return append(append(member(httpx.Raw{'{'}, "event"), signed...), '}'), nil
}

// inviteV1 is invite for rooms of the first two versions, which do not say
// which of them they have: their events are alike.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid
func (s *Server) inviteV1(ctx context.Context, who peer, r *http.Request, pdu json.RawMessage) (httpx.Raw, error) {
	in := invitation{RoomVersion: "1", Event: pdu}
	told := canonicaljson.Array(canonicaljson.Field(canonicaljson.Field(pdu, "unsigned"), "invite_room_state"))
	for raw, ok := told.NextElement(); ok; raw, ok = told.NextElement() {
		in.RoomState = append(in.RoomState, raw)
	}
	out, err := s.invite(ctx, who, r, in)
	if err != nil {
		return nil, err
	}
	return twoHundred(out), nil
}

// mayInvite asks the policy about both accounts, and whether the guest is one
// of ours.
func (s *Server) mayInvite(ctx context.Context, who peer, pdu json.RawMessage) error {
	host, err := matrix.ParseUserID(textField(pdu, "sender"))
	if err != nil {
		return matrix.BadJSON("the event has no sender")
	}
	guest, err := matrix.ParseUserID(textField(pdu, "state_key"))
	if err != nil {
		return matrix.InvalidParam("the event invites nobody")
	}
	if err := s.gate.may(ctx, who, host, guest); err != nil {
		return err
	}
	if guest.Server() != s.Name {
		return matrix.InvalidParam("%s is not a user of this server", guest)
	}
	account, err := s.Accounts.User(ctx, guest)
	switch {
	case matrix.IsCode(err, "M_NOT_FOUND"), err == nil && account.Deactivated:
		return matrix.Forbidden("there is no account %s", guest)
	}
	return err
}
