package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"beffroi/matrix"
)

// QueryProfile asks for the profile of a user, or one field of it.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
func (c *Client) QueryProfile(ctx context.Context, destination matrix.ServerName, user matrix.UserID, field string) (profile map[string]json.RawMessage, err error) {
	query := url.Values{"user_id": {string(user)}}
	if field != "" {
		query.Set("field", field)
	}
	err = c.Do(ctx, destination, http.MethodGet, withQuery(federationV1+"/query/profile", query), nil, &profile)
	return profile, err
}

// QueryDirectory asks where a room alias of the destination leads. Names in
// the answer that are not of servers are left out.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory
func (c *Client) QueryDirectory(ctx context.Context, destination matrix.ServerName, alias matrix.RoomAlias) (room matrix.RoomID, servers []matrix.ServerName, err error) {
	var out struct {
		RoomID  string   `json:"room_id"`
		Servers []string `json:"servers"`
	}
	if err := c.Do(ctx, destination, http.MethodGet,
		withQuery(federationV1+"/query/directory", url.Values{"room_alias": {string(alias)}}), nil, &out); err != nil {
		return "", nil, err
	}
	if room, err = matrix.ParseRoomID(out.RoomID); err != nil {
		return "", nil, matrix.NewError(http.StatusBadGateway, "M_BAD_JSON", "The answer of %s has no room ID", destination)
	}
	for _, s := range out.Servers {
		if name, err := matrix.ParseServerName(s); err == nil {
			servers = append(servers, name)
		}
	}
	return room, servers, nil
}

// PublicRooms asks for the published rooms of a server. The filter is the
// body of the call, the answer is its body.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms
func (c *Client) PublicRooms(ctx context.Context, destination matrix.ServerName, filter any) (out json.RawMessage, err error) {
	err = c.Do(ctx, destination, http.MethodPost, federationV1+"/publicRooms", filter, &out)
	return out, err
}

// Hierarchy asks for the summary of a space and its children.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
func (c *Client) Hierarchy(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, suggestedOnly bool) (out json.RawMessage, err error) {
	query := url.Values{}
	if suggestedOnly {
		query.Set("suggested_only", "true")
	}
	err = c.Do(ctx, destination, http.MethodGet, withQuery(path(federationV1, "hierarchy", string(room)), query), nil, &out)
	return out, err
}

// TimestampToEvent asks for the event nearest to a time, looking forwards ("f")
// or backwards ("b").
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
func (c *Client) TimestampToEvent(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, ts int64,
	dir string) (matrix.EventID, int64, error) {
	query := url.Values{"ts": {strconv.FormatInt(ts, 10)}, "dir": {dir}}
	var out struct {
		EventID string `json:"event_id"`
		TS      int64  `json:"origin_server_ts"`
	}
	err := c.Do(ctx, destination, http.MethodGet, withQuery(path(federationV1, "timestamp_to_event", string(room)), query), nil, &out)
	if err != nil {
		return "", 0, err
	}
	id, err := matrix.ParseEventID(out.EventID)
	return id, out.TS, err
}

// ExchangeThirdPartyInvite asks a server to make the invitation that the
// third-party invitation of one of its users has become.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid
func (c *Client) ExchangeThirdPartyInvite(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, invite any) error {
	return c.Do(ctx, destination, http.MethodPut, path(federationV1, "exchange_third_party_invite", string(room)), invite, nil)
}

// UserDevices asks for the devices of a user.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid
func (c *Client) UserDevices(ctx context.Context, destination matrix.ServerName, user matrix.UserID) (out json.RawMessage, err error) {
	err = c.Do(ctx, destination, http.MethodGet, path(federationV1, "user", "devices", string(user)), nil, &out)
	return out, err
}

// UserKeysQuery asks for device and cross-signing keys.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery
func (c *Client) UserKeysQuery(ctx context.Context, destination matrix.ServerName, body any) (out json.RawMessage, err error) {
	err = c.Do(ctx, destination, http.MethodPost, federationV1+"/user/keys/query", body, &out)
	return out, err
}

// UserKeysClaim takes one-time keys.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim
func (c *Client) UserKeysClaim(ctx context.Context, destination matrix.ServerName, body any) (out json.RawMessage, err error) {
	err = c.Do(ctx, destination, http.MethodPost, federationV1+"/user/keys/claim", body, &out)
	return out, err
}

// SendTransaction sends events and ephemeral messages. It returns what was
// wrong with single events; the transaction as a whole has then still arrived.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid
func (c *Client) SendTransaction(ctx context.Context, destination matrix.ServerName, txnID string, pdus, edus []json.RawMessage) (map[matrix.EventID]string, error) {
	if pdus == nil {
		pdus = []json.RawMessage{}
	}
	body := struct {
		Origin         matrix.ServerName `json:"origin"`
		OriginServerTS int64             `json:"origin_server_ts"`
		PDUs           []json.RawMessage `json:"pdus"`
		EDUs           []json.RawMessage `json:"edus,omitempty"`
	}{c.name, time.Now().UnixMilli(), pdus, edus}
	var out struct {
		PDUs map[matrix.EventID]struct {
			Error string `json:"error"`
		} `json:"pdus"`
	}
	if err := c.Do(ctx, destination, http.MethodPut, path(federationV1, "send", txnID), body, &out); err != nil {
		return nil, err
	}
	failed := make(map[matrix.EventID]string)
	for id, result := range out.PDUs {
		if result.Error != "" {
			failed[id] = result.Error
		}
	}
	return failed, nil
}

// ServerKeys asks a server for its keys. The answer is as it was sent and
// unchecked.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
func (c *Client) ServerKeys(ctx context.Context, destination matrix.ServerName) (out json.RawMessage, err error) {
	err = c.do(ctx, call{
		destination: destination, method: http.MethodGet, path: "/_matrix/key/v2/server",
		unsigned: true, maxBytes: maxKeyBytes, read: into(&out),
	})
	return out, err
}

// maxKeyBytes is the longest answer with the keys of one server: a hundred
// keys have 20 kB.
const maxKeyBytes = 256 << 10

// NotaryKeys asks a notary for the keys of other servers: for each server
// the key IDs wanted, none meaning all, and until when they have to be valid,
// in milliseconds. The answers are unchecked.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query
func (c *Client) NotaryKeys(ctx context.Context, notary matrix.ServerName,
	wanted map[matrix.ServerName]map[matrix.KeyID]int64) (answers []json.RawMessage, err error) {
	type criteria struct {
		MinimumValidUntilTS int64 `json:"minimum_valid_until_ts"`
	}
	servers := make(map[matrix.ServerName]map[matrix.KeyID]criteria, len(wanted))
	for server, ids := range wanted {
		servers[server] = make(map[matrix.KeyID]criteria, len(ids))
		for id, until := range ids {
			servers[server][id] = criteria{until}
		}
	}
	var out struct {
		ServerKeys []json.RawMessage `json:"server_keys"`
	}
	err = c.do(ctx, call{
		destination: notary, method: http.MethodPost, path: "/_matrix/key/v2/query",
		body: map[string]any{"server_keys": servers}, unsigned: true, read: into(&out),
	})
	return out.ServerKeys, err
}

// Version says which software a server runs.
type Version struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Version asks a server which software it runs.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version
func (c *Client) Version(ctx context.Context, destination matrix.ServerName) (Version, error) {
	var out struct {
		Server Version `json:"server"`
	}
	err := c.do(ctx, call{
		destination: destination, method: http.MethodGet, path: federationV1 + "/version", unsigned: true, read: into(&out),
	})
	return out.Server, err
}
