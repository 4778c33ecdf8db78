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

// MakeMembership asks a resident server for the template of a membership
// event: call is make_join, make_leave or make_knock. Nothing of the template
// may be signed as it is: the caller builds the event from the few fields it
// accepts. A version of "" means 1 or 2.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid
func (c *Client) MakeMembership(ctx context.Context, call string, destination matrix.ServerName, room matrix.RoomID,
	user matrix.UserID, versions []matrix.RoomVersion) (version matrix.RoomVersion, template json.RawMessage, err error) {
	query := url.Values{}
	if call != "make_leave" {
		for _, v := range versions {
			query.Add("ver", string(v))
		}
	}
	var out struct {
		RoomVersion matrix.RoomVersion `json:"room_version"`
		Event       json.RawMessage    `json:"event"`
	}
	err = c.Do(ctx, destination, http.MethodGet,
		withQuery(path(federationV1, call, string(room), string(user)), query), nil, &out)
	if err == nil && nonNull(out.Event) == nil {
		err = matrix.NewError(http.StatusBadGateway, "M_BAD_JSON", "The answer of %s has no event", destination)
	}
	return out.RoomVersion, out.Event, err
}

func withQuery(path string, query url.Values) string {
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// JoinAnswer is the state of a room before a join. Nothing of it has been
// checked.
type JoinAnswer struct {
	State     [][]byte
	AuthChain [][]byte
	Event     []byte // the join with the signature of the peer, where it authorises it; or nil
}

// SendJoin gives a join to a resident server and returns the state of the
// room. The answer is read as a stream of at most 100 MB and 200,000 events.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
func (c *Client) SendJoin(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, id matrix.EventID,
	pdu []byte) (*JoinAnswer, error) {
	out := new(JoinAnswer)
	arrays := map[string]*[][]byte{"state": &out.State, "auth_chain": &out.AuthChain}
	err := c.do(ctx, call{
		destination: destination, method: http.MethodPut,
		path: path(federationV2, "send_join", string(room), string(id)), body: json.RawMessage(pdu),
		maxBytes: maxStateBytes, timeout: c.longTimeout(),
		read: func(r io.Reader) error {
			return lists(r, arrays, func(name string, raw json.RawMessage) {
				if name == "event" {
					out.Event = nonNull(raw)
				}
			})
		},
	})
	if err != nil {
		return nil, err
	}
	return out, nil
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
func (c *Client) SendLeave(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, id matrix.EventID, pdu []byte) error {
	return c.Do(ctx, destination, http.MethodPut, path(federationV2, "send_leave", string(room), string(id)), json.RawMessage(pdu), nil)
}

// SendKnock sends a knock and returns events that describe the room.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid
func (c *Client) SendKnock(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, id matrix.EventID,
	pdu []byte) (roomState []json.RawMessage, err error) {
	var out struct {
		KnockRoomState []json.RawMessage `json:"knock_room_state"`
	}
	err = c.Do(ctx, destination, http.MethodPut, path(federationV1, "send_knock", string(room), string(id)), json.RawMessage(pdu), &out)
	return out.KnockRoomState, err
}

// Invite hands an invite to the server of the user who is invited, and returns
// it with that server's signature, unchecked.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid
func (c *Client) Invite(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, id matrix.EventID,
	version matrix.RoomVersion, pdu []byte, inviteRoomState []json.RawMessage) (signed []byte, err error) {
	if inviteRoomState == nil {
		inviteRoomState = []json.RawMessage{}
	}
	body := struct {
		Event           json.RawMessage    `json:"event"`
		InviteRoomState []json.RawMessage  `json:"invite_room_state"`
		RoomVersion     matrix.RoomVersion `json:"room_version"`
	}{pdu, inviteRoomState, version}
	var out struct {
		Event json.RawMessage `json:"event"`
	}
	err = c.Do(ctx, destination, http.MethodPut, path(federationV2, "invite", string(room), string(id)), body, &out)
	if err == nil && nonNull(out.Event) == nil {
		err = matrix.NewError(http.StatusBadGateway, "M_BAD_JSON", "The answer of %s has no event", destination)
	}
	return out.Event, err
}
