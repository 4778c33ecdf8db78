package roomserver

import (
	"context"
	"encoding/json"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// ThirdPartyProof is what an identity server signed: that a user is the person
// whom a third-party invitation invites.
//
// https://spec.matrix.org/v1.19/client-server-api/#third-party-invites
type ThirdPartyProof struct {
	Room   matrix.RoomID
	Sender matrix.UserID   // of the third-party invitation
	Target matrix.UserID   // who is invited
	Signed json.RawMessage // mxid, token and signatures
}

// ExchangeThirdPartyInvite turns the third-party invitation of a user of this
// server into an invitation. The rules of rooms check the proof. Who is in the
// room already is not invited again.
//
// Divergence: whether the key of an identity server was revoked meanwhile is not
// asked at its key_validity_url: this server asks no addresses that events name.
// An invitation ends when its event is replaced by an empty one.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid
func (s *Server) ExchangeThirdPartyInvite(ctx context.Context, p ThirdPartyProof) error {
	if !s.local(p.Sender) {
		return matrix.InvalidParam("%s is not a user of this server", p.Sender)
	}
	signed := gjson.ParseBytes(p.Signed)
	if !signed.IsObject() || signed.Get("mxid").Str != string(p.Target) || signed.Get("token").Str == "" {
		return matrix.BadJSON("signed needs a token and the invited user as mxid")
	}
	name := ""
	member, _, err := s.memberOf(ctx, p.Room, p.Target)
	if err != nil || member.Membership == "join" {
		return err
	}
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		offer, err := rooms.StateEvent(ctx, r, member.RoomNID, "m.room.third_party_invite", signed.Get("token").Str)
		if offer != nil {
			name = stringField(offer.Content(), "display_name")
		}
		return err
	}); err != nil {
		return err
	}
	return s.Invite(ctx, MembershipRequest{Sender: p.Sender, Target: p.Target, Room: p.Room,
		ThirdPartyInvite: marshal(map[string]any{"display_name": name, "signed": p.Signed})})
}

// redeem gets a user the invitation that they have the proof for, before they
// join. The sender of the third-party invitation makes it, here or elsewhere.
func (s *Server) redeem(ctx context.Context, req JoinRequest) error {
	proof := ThirdPartyProof{Room: req.Room, Target: req.User}
	var in struct {
		Sender     matrix.UserID   `json:"sender"`
		MXID       matrix.UserID   `json:"mxid"`
		Token      string          `json:"token"`
		Signatures json.RawMessage `json:"signatures"`
	}
	if err := json.Unmarshal(req.ThirdPartySigned, &in); err != nil {
		return matrix.BadJSON("third_party_signed is not of its form")
	}
	var err error
	if proof.Sender, err = matrix.ParseUserID(string(in.Sender)); err != nil {
		return err
	}
	if in.MXID != req.User {
		return matrix.Forbidden("the third-party invitation is for another user")
	}
	proof.Signed = marshal(map[string]any{"mxid": in.MXID, "token": in.Token, "signatures": in.Signatures})
	if s.local(proof.Sender) {
		return s.ExchangeThirdPartyInvite(ctx, proof)
	}
	return s.remote.ExchangeThirdPartyInvite(ctx, proof.Sender.Server(), req.Room, map[string]any{
		"type": "m.room.member", "room_id": req.Room, "sender": proof.Sender, "state_key": req.User,
		"content": content{Membership: "invite", ThirdPartyInvite: marshal(map[string]any{"display_name": "", "signed": proof.Signed})}})
}
