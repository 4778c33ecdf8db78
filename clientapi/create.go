package clientapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/roomserver"
)

type createRequest struct {
	Visibility      string             `json:"visibility"`
	AliasName       string             `json:"room_alias_name"`
	Name            string             `json:"name"`
	Topic           string             `json:"topic"`
	Invite          []string           `json:"invite"`
	Invite3PID      []invite3PID       `json:"invite_3pid"`
	RoomVersion     matrix.RoomVersion `json:"room_version"`
	CreationContent json.RawMessage    `json:"creation_content"`
	InitialState    []initialState     `json:"initial_state"`
	Preset          string             `json:"preset"`
	IsDirect        bool               `json:"is_direct"`
	PowerLevels     json.RawMessage    `json:"power_level_content_override"`
}

type initialState struct {
	Type     string          `json:"type"`
	StateKey string          `json:"state_key"`
	Content  json.RawMessage `json:"content"`
}

type roomIDResponse struct {
	RoomID matrix.RoomID `json:"room_id"`
}

// maxInvites bounds the guests of a new room: each is an event, and may be a
// request to another server.
const maxInvites = 100

// createRoom makes a room. Once it exists it is the answer, even where one of
// the guests could not be invited: who is told an error makes it again.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
func (s *Server) createRoom(ctx context.Context, who *caller, r *http.Request, req createRequest) (roomIDResponse, error) {
	plan, err := req.plan(who.User)
	if err != nil {
		return roomIDResponse{}, err
	}
	for _, invite := range req.Invite3PID {
		if err := invite.check(); err != nil {
			return roomIDResponse{}, err
		}
		if err := s.askEmail(r, who, invite.Address); err != nil {
			return roomIDResponse{}, err
		}
	}
	if len(req.Invite3PID) > 0 {
		return roomIDResponse{}, errNoIdentityServer()
	}
	profile, err := s.membershipProfile(ctx, who.User)
	if err != nil {
		return roomIDResponse{}, err
	}
	guests := make(map[matrix.UserID]roomserver.Profile)
	for _, user := range plan.Invite {
		if guests[user], err = s.membershipProfile(ctx, user); err != nil {
			return roomIDResponse{}, err
		}
	}
	id, err := s.Rooms.CreateRoom(ctx, roomserver.CreateRequest{CreateRequest: plan, AliasName: req.AliasName, Profile: profile, Guests: guests})
	if answer, ok := errors.AsType[*matrix.Error](err); ok {
		err = refusedRoom(answer, id)
	}
	return roomIDResponse{id}, err
}

// refusedRoom says what a creator is told of an error. That the state of the
// room contradicts itself is the fault of the parameters, unless the policy
// refused it.
func refusedRoom(answer *matrix.Error, made matrix.RoomID) error {
	_, byPolicy := answer.Fields["org.beffroi.policy"]
	switch {
	case made != "":
		return nil
	case answer.Code == "M_FORBIDDEN" && !byPolicy:
		return matrix.NewError(http.StatusBadRequest, "M_INVALID_ROOM_STATE", "%s", answer.Text)
	}
	return answer
}

// plan parses the request.
func (req *createRequest) plan(creator matrix.UserID) (policy.CreateRequest, error) {
	out := policy.CreateRequest{
		Creator: creator, Preset: req.Preset, Visibility: req.Visibility, IsDirect: req.IsDirect,
		Name: req.Name, Topic: req.Topic, Version: req.RoomVersion,
		CreationContent: present(req.CreationContent), PowerLevels: present(req.PowerLevels),
	}
	if len(req.Invite)+len(req.Invite3PID) > maxInvites {
		return out, matrix.InvalidParam("a new room has at most %d invitations", maxInvites)
	}
	for _, st := range req.InitialState {
		if st.Type == "" || len(present(st.Content)) == 0 {
			return out, matrix.BadJSON("initial_state needs type and content")
		}
		out.InitialState = append(out.InitialState, policy.StateEvent{Type: st.Type, StateKey: st.StateKey, Content: st.Content})
	}
	for _, guest := range req.Invite {
		user, err := matrix.ParseUserID(guest)
		if err != nil {
			return out, err
		}
		out.Invite = append(out.Invite, user)
	}
	for _, invite := range req.Invite3PID {
		out.InviteEmails = append(out.InviteEmails, invite.Address)
	}
	return out, nil
}

// present returns a value that is there: null stands for one that is not.
func present(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}
