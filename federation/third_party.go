package federation

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/roomserver"
)

type exchangeRequest struct {
	Type     string        `json:"type"`
	RoomID   matrix.RoomID `json:"room_id"`
	Sender   string        `json:"sender"`
	StateKey string        `json:"state_key"`
	Content  struct {
		Membership       string `json:"membership"`
		ThirdPartyInvite struct {
			Signed json.RawMessage `json:"signed"`
		} `json:"third_party_invite"`
	} `json:"content"`
}

// exchangeThirdPartyInvite turns the third-party invitation of a user of ours
// into an invitation of a user of the server that asks.
//
// Divergence: PUT /_matrix/federation/v1/3pid/onbind is not there. It is called
// by identity servers, of which this server trusts none, and says unsigned whose
// an address is.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid
func (s *Server) exchangeThirdPartyInvite(ctx context.Context, who peer, r *http.Request, in exchangeRequest) (httpx.None, error) {
	room, err := pathRoom(r)
	if err != nil {
		return httpx.None{}, err
	}
	if in.Type != "m.room.member" || in.RoomID != room || in.Content.Membership != "invite" || len(in.Content.ThirdPartyInvite.Signed) == 0 {
		return httpx.None{}, matrix.BadJSON("the body is the invitation that a third-party invitation becomes, in the room of the path")
	}
	sender, err := matrix.ParseUserID(in.Sender)
	if err != nil {
		return httpx.None{}, err
	}
	target, err := matrix.ParseUserID(in.StateKey)
	if err != nil {
		return httpx.None{}, err
	}
	if target.Server() != who.origin {
		return httpx.None{}, matrix.Forbidden("%s is not a user of %s", target, who.origin)
	}
	if err := s.gate.may(ctx, who, sender, target); err != nil {
		return httpx.None{}, err
	}
	if err := s.Rooms.AllowedByACL(ctx, room, who.origin); err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Rooms.ExchangeThirdPartyInvite(ctx, roomserver.ThirdPartyProof{
		Room: room, Sender: sender, Target: target, Signed: in.Content.ThirdPartyInvite.Signed})
}
