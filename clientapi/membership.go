package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/roomserver"
)

type joinRequest struct {
	Reason           string          `json:"reason"`
	ThirdPartySigned json.RawMessage `json:"third_party_signed"`
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin
func (s *Server) joinRoom(ctx context.Context, who *caller, r *http.Request, req joinRequest) (roomIDResponse, error) {
	room, err := roomID(r)
	if err != nil {
		return roomIDResponse{}, err
	}
	return s.enter(ctx, who, r, s.joinAndInherit, room, nil, req)
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias
func (s *Server) join(ctx context.Context, who *caller, r *http.Request, req joinRequest) (roomIDResponse, error) {
	return s.enterByName(ctx, who, r, s.joinAndInherit, req)
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias
func (s *Server) knock(ctx context.Context, who *caller, r *http.Request, req joinRequest) (roomIDResponse, error) {
	return s.enterByName(ctx, who, r, s.Rooms.Knock, req)
}

// enterFunc is a join or a knock.
type enterFunc = func(context.Context, roomserver.JoinRequest) error

// enterByName joins or knocks on the room that a path names by ID or alias.
func (s *Server) enterByName(ctx context.Context, who *caller, r *http.Request, fn enterFunc, req joinRequest) (roomIDResponse, error) {
	name := r.PathValue("room")
	if !strings.HasPrefix(name, "#") {
		room, err := matrix.ParseRoomID(name)
		if err != nil {
			return roomIDResponse{}, err
		}
		return s.enter(ctx, who, r, fn, room, nil, req)
	}
	alias, err := matrix.ParseRoomAlias(name)
	if err != nil {
		return roomIDResponse{}, err
	}
	to, err := s.Rooms.ResolveAlias(ctx, alias)
	if err != nil {
		return roomIDResponse{}, err
	}
	return s.enter(ctx, who, r, fn, to.RoomID, to.Servers, req)
}

// joinAndInherit makes the caller a member of a room and gives them there what
// they had in the one that it replaces.
func (s *Server) joinAndInherit(ctx context.Context, req roomserver.JoinRequest) error {
	if err := s.Rooms.Join(ctx, req); err != nil {
		return err
	}
	old, err := s.Rooms.Predecessor(ctx, req.Room)
	if err != nil {
		return err
	}
	return s.inherit(ctx, req.User, old, req.Room)
}

func (s *Server) enter(ctx context.Context, who *caller, r *http.Request, fn enterFunc, room matrix.RoomID,
	servers []matrix.ServerName, req joinRequest) (roomIDResponse, error) {
	via, err := viaServers(r)
	if err != nil {
		return roomIDResponse{}, err
	}
	profile, err := s.membershipProfile(ctx, who.User)
	if err != nil {
		return roomIDResponse{}, err
	}
	return roomIDResponse{room}, fn(ctx, roomserver.JoinRequest{
		User: who.User, Room: room, Via: append(via, servers...), Reason: req.Reason, Profile: profile,
		ThirdPartySigned: present(req.ThirdPartySigned),
	})
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave
func (s *Server) leave(ctx context.Context, who *caller, r *http.Request, req memberRequest) (httpx.None, error) {
	room, err := roomID(r)
	if err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Rooms.Leave(ctx, roomserver.MembershipRequest{Sender: who.User, Target: who.User, Room: room, Reason: req.Reason})
}

type memberRequest struct {
	UserID string `json:"user_id"`
	Reason string `json:"reason"`
}

// target returns the change of a membership that a request is about.
func (req *memberRequest) target(who *caller, r *http.Request) (m roomserver.MembershipRequest, err error) {
	if m.Room, err = roomID(r); err != nil {
		return m, err
	}
	if req.UserID == "" {
		return m, matrix.MissingParam("user_id is missing")
	}
	m.Sender, m.Reason = who.User, req.Reason
	m.Target, err = matrix.ParseUserID(req.UserID)
	return m, err
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick
func (s *Server) kick(ctx context.Context, who *caller, r *http.Request, req memberRequest) (httpx.None, error) {
	m, err := req.target(who, r)
	if err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Rooms.Kick(ctx, m)
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidban
func (s *Server) ban(ctx context.Context, who *caller, r *http.Request, req memberRequest) (httpx.None, error) {
	m, err := req.target(who, r)
	if err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Rooms.Ban(ctx, m)
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidunban
func (s *Server) unban(ctx context.Context, who *caller, r *http.Request, req memberRequest) (httpx.None, error) {
	m, err := req.target(who, r)
	if err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Rooms.Unban(ctx, m)
}

type inviteRequest struct {
	memberRequest
	invite3PID
}

// invite3PID invites whom nobody knows by a user ID.
type invite3PID struct {
	IDServer      string `json:"id_server"`
	IDAccessToken string `json:"id_access_token"`
	Medium        string `json:"medium"`
	Address       string `json:"address"`
}

// invite invites a user, or an address.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite
func (s *Server) invite(ctx context.Context, who *caller, r *http.Request, req inviteRequest) (httpx.None, error) {
	if req.UserID == "" && (req.Medium != "" || req.Address != "") {
		return httpx.None{}, s.inviteAddress(ctx, who, r, req.invite3PID)
	}
	m, err := req.target(who, r)
	if err != nil {
		return httpx.None{}, err
	}
	if m.Profile, err = s.membershipProfile(ctx, m.Target); err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Rooms.Invite(ctx, m)
}

// inviteAddress refuses an invitation of an address: with the reason of the
// policy where that refuses it, and else because there is no identity server.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite-1
func (s *Server) inviteAddress(ctx context.Context, who *caller, r *http.Request, invite invite3PID) error {
	room, err := roomID(r)
	if err != nil {
		return err
	}
	if err := invite.check(); err != nil {
		return err
	}
	if err := s.Rooms.AdmitEmailInvite(ctx, who.User, room, invite.Address); err != nil {
		return err
	}
	return errNoIdentityServer()
}

func (i *invite3PID) check() error {
	switch {
	case i.Medium == "" || i.Address == "":
		return matrix.MissingParam("medium and address are needed")
	case i.Medium != "email":
		return matrix.NewError(http.StatusBadRequest, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "Only e-mail addresses can be invited")
	}
	return nil
}

func errNoIdentityServer() error {
	return matrix.NewError(http.StatusForbidden, "M_THREEPID_DENIED",
		"This server has no identity server: invite a person by their user ID")
}
