package roomserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// LeaveAll takes a user of this server out of every room, and declines every
// invitation. A room that will not let them go keeps them: its error is told
// once all others are done, unless it can never be another.
func (s *Server) LeaveAll(ctx context.Context, user matrix.UserID) error {
	var list []matrix.RoomID
	err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		list, err = rooms.PresentRooms(ctx, r, user)
		return err
	})
	for _, room := range list {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed := s.Leave(ctx, MembershipRequest{Sender: user, Target: user, Room: room})
		switch {
		case failed == nil:
		case matrix.Answer(failed).Status < http.StatusInternalServerError:
			s.log.WarnContext(ctx, "room not left", "room_id", room, "user_id", user, "error", failed)
		default:
			err = errors.Join(err, fmt.Errorf("leave %s: %w", room, failed))
		}
	}
	return err
}

// leaveRemote declines an invitation, or takes a knock back, in a room that
// this server is not in. The servers that know the room are told; if none
// answers, the user has left all the same.
//
// https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites
func (s *Server) leaveRemote(ctx context.Context, req MembershipRequest, member rooms.Member) error {
	helpers, err := s.helpers(ctx, nil, req.Room, member)
	if err != nil {
		return err
	}
	c := req.content("leave")
	for _, helper := range helpers {
		e, _, err := s.makeMembership(ctx, "make_leave", helper, req.Room, req.Sender, c)
		if err == nil {
			err = s.remote.SendLeave(ctx, helper, req.Room, e.ID(), e.JSON())
		}
		if err == nil {
			return s.keepOffer(ctx, e, nil)
		}
		s.log.InfoContext(ctx, "leave not told", "room_id", req.Room, "destination", helper, "error", err)
	}
	return s.leaveAlone(ctx, req, member, c)
}

// leaveAlone ends a membership that no other server can be told of.
func (s *Server) leaveAlone(ctx context.Context, req MembershipRequest, member rooms.Member, c content) error {
	var offer *rooms.Event
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		found, err := rooms.EventsByNID(ctx, r, []int64{member.EventNID})
		offer = found[member.EventNID]
		return err
	}); err != nil {
		return err
	}
	if offer == nil {
		return matrix.NotFound("no such room")
	}
	p, err := memberProto(req.Sender, req.Sender, c)
	if err != nil {
		return err
	}
	p.RoomID, p.OriginServerTS, p.Depth = req.Room, s.nowMS(), min(offer.Depth()+1, offer.Rules().MaxDepth)
	p.PrevEvents, p.AuthEvents = []matrix.EventID{offer.ID()}, []matrix.EventID{offer.ID()}
	e, err := p.Build(offer.Rules(), s.key)
	if err != nil {
		return err
	}
	return s.keepOffer(ctx, e, nil)
}

// Knock asks for an invitation.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias
func (s *Server) Knock(ctx context.Context, req JoinRequest) error {
	if len(req.Reason) > maxReason {
		return matrix.TooLarge("a reason has at most %d bytes", maxReason)
	}
	c := content{Membership: "knock", Profile: req.Profile, Reason: req.Reason}
	member, resident, err := s.memberOf(ctx, req.Room, req.User)
	if err != nil && !matrix.IsCode(err, "M_NOT_FOUND") {
		return err
	}
	if resident {
		m := MembershipRequest{Sender: req.User, Target: req.User, Room: req.Room, Reason: req.Reason}
		return s.setMembership(ctx, m, c)
	}
	helpers, err := s.helpers(ctx, req.Via, req.Room, member)
	if err != nil {
		return err
	}
	err = matrix.NotFound("this server is not in the room and knows no server that is")
	for _, helper := range helpers {
		if err = s.knockVia(ctx, req, helper, c); err == nil || final(err) {
			return err
		}
	}
	return err
}

func (s *Server) knockVia(ctx context.Context, req JoinRequest, helper matrix.ServerName, c content) error {
	e, _, err := s.makeMembership(ctx, "make_knock", helper, req.Room, req.User, c)
	if err != nil {
		return err
	}
	if err := s.admitStripped(ctx, e, policy.RoomFacts{}, policy.SourceClient); err != nil {
		return err
	}
	told, err := s.remote.SendKnock(ctx, helper, req.Room, e.ID(), e.JSON())
	if err != nil {
		return err
	}
	list, _, err := stripped(told)
	if err != nil {
		return err
	}
	return s.keepOffer(ctx, e, list)
}
