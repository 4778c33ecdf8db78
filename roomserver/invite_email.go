package roomserver

import (
	"context"

	"beffroi/matrix"
	"beffroi/policy"
)

// AdmitEmailInvite asks whether a member may invite whoever has an e-mail
// address into a room: the address decides which organisation it would be.
//
// https://spec.matrix.org/v1.19/client-server-api/#third-party-invites
func (s *Server) AdmitEmailInvite(ctx context.Context, sender matrix.UserID, room matrix.RoomID, address string) error {
	rm, err := s.lock(ctx, room)
	if err != nil {
		return err
	}
	v := s.current(ctx, rm)
	facts := policy.Facts(v, v.createEvent(), "")
	member := v.Event("m.room.member", string(sender))
	rm.mu.Unlock()
	switch {
	case v.err != nil:
		return v.err
	case member == nil || member.Membership() != "join":
		return matrix.Forbidden("%s is not in the room", sender)
	}
	facts.ID = room
	return s.gate.Check(ctx, &policy.Request{Action: policy.ActionInvite3PID, Actor: sender, Room: &facts,
		Source: policy.SourceClient, Email: address, Now: s.now()})
}
