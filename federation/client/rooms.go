package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"beffroi/matrix"
)

const (
	federationV1 = "/_matrix/federation/v1"
	federationV2 = "/_matrix/federation/v2"
)

// path joins a prefix and segments, which are escaped.
func path(prefix string, segments ...string) string {
	for _, s := range segments {
		prefix += "/" + url.PathEscape(s)
	}
	return prefix
}

// MakeResponse is the template of a membership event. Nothing of it may be
// signed as it is: the caller builds the event from the few fields it accepts.
type MakeResponse struct {
	RoomVersion matrix.RoomVersion `json:"room_version"` // "" means 1 or 2
	Event       json.RawMessage    `json:"event"`
}

// MakeJoin asks for the template of a join.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
func (c *Client) MakeJoin(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, user matrix.UserID,
	versions []matrix.RoomVersion) (out MakeResponse, err error) {
	err = c.Do(ctx, destination, http.MethodGet, makePath("make_join", room, user, versions), nil, &out)
	return out, err
}

// MakeLeave asks for the template of a leave, which rejects an invite or
// takes back a knock.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid
func (c *Client) MakeLeave(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, user matrix.UserID) (out MakeResponse, err error) {
	err = c.Do(ctx, destination, http.MethodGet, makePath("make_leave", room, user, nil), nil, &out)
	return out, err
}

// MakeKnock asks for the template of a knock.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid
func (c *Client) MakeKnock(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, user matrix.UserID,
	versions []matrix.RoomVersion) (out MakeResponse, err error) {
	err = c.Do(ctx, destination, http.MethodGet, makePath("make_knock", room, user, versions), nil, &out)
	return out, err
}

func makePath(verb string, room matrix.RoomID, user matrix.UserID, versions []matrix.RoomVersion) string {
	query := url.Values{}
	for _, v := range versions {
		query.Add("ver", string(v))
	}
	return withQuery(path(federationV1, verb, string(room), string(user)), query)
}

func withQuery(path string, query url.Values) string {
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// SendJoinResponse is the state of a room before a join. Nothing of it has
// been checked, and there may be too little of it.
type SendJoinResponse struct {
	Event     json.RawMessage // the join, signed by the peer too where it authorises it; or nil
	State     []json.RawMessage
	AuthChain []json.RawMessage
	Origin    matrix.ServerName
	// MembersOmitted and ServersInRoom are of partial answers, which this
	// client does not ask for.
	MembersOmitted bool
	ServersInRoom  []matrix.ServerName
}

// SendJoin sends a join and returns the state of the room. The answer is read
// as a stream of at most 100 MB and 200,000 events.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
func (c *Client) SendJoin(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, id matrix.EventID,
	event []byte) (out SendJoinResponse, err error) {
	arrays := map[string]*[]json.RawMessage{"state": &out.State, "auth_chain": &out.AuthChain}
	err = c.do(ctx, call{
		destination: destination, method: http.MethodPut,
		path: path(federationV2, "send_join", string(room), string(id)), body: json.RawMessage(event),
		maxBytes: maxStateBytes, timeout: c.longTimeout(),
		read: func(r io.Reader) error {
			return lists(r, arrays, func(name string, raw json.RawMessage) error {
				switch name {
				case "event":
					out.Event = nonNull(raw)
				case "origin":
					return json.Unmarshal(raw, &out.Origin)
				case "members_omitted":
					return json.Unmarshal(raw, &out.MembersOmitted)
				case "servers_in_room":
					return json.Unmarshal(raw, &out.ServersInRoom)
				}
				return nil
			})
		},
	})
	return out, err
}

// nonNull returns raw, or nil for null.
func nonNull(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// SendLeave sends a leave that was made from a template.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid
func (c *Client) SendLeave(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, id matrix.EventID, event []byte) error {
	return c.Do(ctx, destination, http.MethodPut, path(federationV2, "send_leave", string(room), string(id)), json.RawMessage(event), nil)
}

// SendKnock sends a knock and returns events that describe the room.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid
func (c *Client) SendKnock(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, id matrix.EventID,
	event []byte) (roomState []json.RawMessage, err error) {
	var out struct {
		KnockRoomState []json.RawMessage `json:"knock_room_state"`
	}
	err = c.Do(ctx, destination, http.MethodPut, path(federationV1, "send_knock", string(room), string(id)), json.RawMessage(event), &out)
	return out.KnockRoomState, err
}

// Invite hands an invite to the server of the user who is invited, and returns
// it with that server's signature, unchecked.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid
func (c *Client) Invite(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, id matrix.EventID, event []byte,
	version matrix.RoomVersion, inviteRoomState []json.RawMessage) (signed []byte, err error) {
	if inviteRoomState == nil {
		inviteRoomState = []json.RawMessage{}
	}
	body := struct {
		Event           json.RawMessage    `json:"event"`
		InviteRoomState []json.RawMessage  `json:"invite_room_state"`
		RoomVersion     matrix.RoomVersion `json:"room_version"`
	}{event, inviteRoomState, version}
	var out struct {
		Event json.RawMessage `json:"event"`
	}
	err = c.Do(ctx, destination, http.MethodPut, path(federationV2, "invite", string(room), string(id)), body, &out)
	if err == nil && nonNull(out.Event) == nil {
		err = matrix.NewError(http.StatusBadGateway, "M_BAD_JSON", "The answer of %s has no event", destination)
	}
	return out.Event, err
}
