package federation

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/matrix/event"
)

// maxVersions bounds the room versions that a server says to support.
const maxVersions = 100

type template struct {
	RoomVersion matrix.RoomVersion `json:"room_version"`
	Event       json.RawMessage    `json:"event"`
}

// makeJoin gives a server the template of a join.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
func (s *Server) makeJoin(ctx context.Context, who peer, r *http.Request, _ httpx.None) (template, error) {
	return s.makeMembership(ctx, who, r, "join")
}

// makeKnock gives a server the template of a knock.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid
func (s *Server) makeKnock(ctx context.Context, who peer, r *http.Request, _ httpx.None) (template, error) {
	return s.makeMembership(ctx, who, r, "knock")
}

// makeLeave gives a server the template of a leave.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid
func (s *Server) makeLeave(ctx context.Context, who peer, r *http.Request, _ httpx.None) (template, error) {
	return s.makeMembership(ctx, who, r, "leave")
}

func (s *Server) makeMembership(ctx context.Context, who peer, r *http.Request, membership string) (template, error) {
	room, err := pathRoom(r)
	if err != nil {
		return template{}, err
	}
	user, err := pathUser(r)
	if err != nil {
		return template{}, err
	}
	if err := s.gate.may(ctx, who, user, user); err != nil {
		return template{}, err
	}
	var versions []matrix.RoomVersion // a leave says none
	if membership != "leave" {
		if versions, err = queryVersions(r); err != nil {
			return template{}, err
		}
	}
	version, raw, err := s.Rooms.MakeMembership(ctx, who.origin, room, user, membership, versions)
	return template{version, raw}, err
}

// queryVersions returns the room versions that a server supports. One that
// says nothing supports version 1.
func queryVersions(r *http.Request) ([]matrix.RoomVersion, error) {
	names := r.URL.Query()["ver"]
	if len(names) > maxVersions {
		return nil, matrix.InvalidParam("at most %d room versions can be named", maxVersions)
	}
	if len(names) == 0 {
		return []matrix.RoomVersion{"1"}, nil
	}
	versions := make([]matrix.RoomVersion, len(names))
	for i, name := range names {
		versions[i] = matrix.RoomVersion(name)
	}
	return versions, nil
}

// sendJoin takes a join and answers with the state of the room before it. All
// members are in it: omit_members allows less and does not ask for it.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
func (s *Server) sendJoin(ctx context.Context, who peer, r *http.Request, pdu json.RawMessage) (httpx.Raw, error) {
	join, err := s.sendMembership(ctx, who, r, "join", pdu)
	if err != nil {
		return nil, err
	}
	state, err := s.Rooms.StateForJoin(ctx, join)
	if err != nil {
		return nil, err
	}
	chain := wholeChain(state.State, state.AuthChain)
	out := append(make(httpx.Raw, 0, sizeOf(state.State, chain)+len(join.JSON())), '{')
	out = eventList(out, "auth_chain", chain)
	if slices.Contains(join.RequiredSigners(), s.Name) { // we have signed it, and it counts only so
		out = append(member(out, "event"), join.JSON()...)
	}
	out = append(member(out, "members_omitted"), "false"...)
	out = appendString(out, "origin", string(s.Name))
	return append(eventList(out, "state", state.State), '}'), nil
}

// sendJoinV1 is sendJoin as servers of before version 1.18 of the
// specification call it.
func (s *Server) sendJoinV1(ctx context.Context, who peer, r *http.Request, pdu json.RawMessage) (httpx.Raw, error) {
	out, err := s.sendJoin(ctx, who, r, pdu)
	if err != nil {
		return nil, err
	}
	return twoHundred(out), nil
}

// sendLeave takes a leave.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid
func (s *Server) sendLeave(ctx context.Context, who peer, r *http.Request, pdu json.RawMessage) (httpx.None, error) {
	_, err := s.sendMembership(ctx, who, r, "leave", pdu)
	return httpx.None{}, err
}

// sendLeaveV1 is sendLeave as servers of before version 1.18 of the
// specification call it.
func (s *Server) sendLeaveV1(ctx context.Context, who peer, r *http.Request, pdu json.RawMessage) (httpx.Raw, error) {
	if _, err := s.sendMembership(ctx, who, r, "leave", pdu); err != nil {
		return nil, err
	}
	return twoHundred(httpx.Raw("{}")), nil
}

type knockAnswer struct {
	KnockRoomState []json.RawMessage `json:"knock_room_state"`
}

// sendKnock takes a knock and tells of the room.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid
func (s *Server) sendKnock(ctx context.Context, who peer, r *http.Request, pdu json.RawMessage) (knockAnswer, error) {
	knock, err := s.sendMembership(ctx, who, r, "knock", pdu)
	if err != nil {
		return knockAnswer{}, err
	}
	told, err := s.Rooms.Told(ctx, knock.RoomID())
	return knockAnswer{told}, err
}

// sendMembership gives the membership event of a user of another server to
// the room.
func (s *Server) sendMembership(ctx context.Context, who peer, r *http.Request, membership string, pdu json.RawMessage) (*event.Event, error) {
	room, id, err := pathRoomEvent(r)
	if err != nil {
		return nil, err
	}
	user, err := matrix.ParseUserID(textField(pdu, "sender"))
	if err != nil {
		return nil, matrix.BadJSON("the event has no sender")
	}
	if err := s.gate.may(ctx, who, user, user); err != nil {
		return nil, err
	}
	return s.Rooms.SendMembership(ctx, who.origin, room, id, membership, pdu)
}
