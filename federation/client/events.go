package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"beffroi/matrix"
)

// longTimeout is for answers that carry the state of a room.
func (c *Client) longTimeout() time.Duration { return max(c.timeout, min(joinTimeout, 10*c.timeout)) }

// events asks for an object with lists of events.
func (c *Client) events(ctx context.Context, destination matrix.ServerName, method, path string, body any,
	maxBytes int64, arrays map[string]*[][]byte) error {
	timeout := c.timeout
	if maxBytes == maxStateBytes {
		timeout = c.longTimeout()
	}
	return c.do(ctx, call{
		destination: destination, method: method, path: path, body: body, maxBytes: maxBytes, timeout: timeout,
		read: func(r io.Reader) error { return lists(r, arrays, nil) },
	})
}

// Event fetches one event, unchecked. A peer that does not have it, or does
// not show it to us, gives M_NOT_FOUND.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid
func (c *Client) Event(ctx context.Context, destination matrix.ServerName, id matrix.EventID) (pdu []byte, err error) {
	var pdus [][]byte
	err = c.events(ctx, destination, http.MethodGet, path(federationV1, "event", string(id)), nil, maxAnswerBytes,
		map[string]*[][]byte{"pdus": &pdus})
	if err == nil && len(pdus) == 0 {
		err = matrix.NotFound("the server %s does not have the event", destination)
	}
	if err != nil {
		return nil, err
	}
	return pdus[0], nil
}

// State fetches the state of a room before an event, and the auth chain of
// that state, unchecked.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid
func (c *Client) State(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, event matrix.EventID) (state, authChain [][]byte, err error) {
	err = c.events(ctx, destination, http.MethodGet, atEvent("state", room, event), nil, maxStateBytes,
		map[string]*[][]byte{"pdus": &state, "auth_chain": &authChain})
	return state, authChain, err
}

func atEvent(verb string, room matrix.RoomID, event matrix.EventID) string {
	return withQuery(path(federationV1, verb, string(room)), url.Values{"event_id": {string(event)}})
}

// StateIDs is [Client.State] with only the IDs of the events.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid
func (c *Client) StateIDs(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, event matrix.EventID) (state, authChain []matrix.EventID, err error) {
	var rawState, rawAuth [][]byte
	err = c.events(ctx, destination, http.MethodGet, atEvent("state_ids", room, event), nil, maxStateBytes,
		map[string]*[][]byte{"pdu_ids": &rawState, "auth_chain_ids": &rawAuth})
	if err != nil {
		return nil, nil, err
	}
	if state, err = eventIDs(destination, rawState); err != nil {
		return nil, nil, err
	}
	authChain, err = eventIDs(destination, rawAuth)
	return state, authChain, err
}

func eventIDs(destination matrix.ServerName, raw [][]byte) ([]matrix.EventID, error) {
	ids := make([]matrix.EventID, len(raw))
	for i := range raw {
		var s string
		err := json.Unmarshal(raw[i], &s)
		if err == nil {
			ids[i], err = matrix.ParseEventID(s)
		}
		if err != nil {
			return nil, matrix.NewError(http.StatusBadGateway, "M_BAD_JSON", "The answer of %s has what is no event ID", destination)
		}
	}
	return ids, nil
}

// Backfill fetches at most limit events that lead up to the given ones,
// with those, newest first, unchecked.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid
func (c *Client) Backfill(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, before []matrix.EventID, limit int) (events [][]byte, err error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	for _, id := range before {
		query.Add("v", string(id))
	}
	err = c.events(ctx, destination, http.MethodGet, withQuery(path(federationV1, "backfill", string(room)), query), nil,
		2*maxAnswerBytes, map[string]*[][]byte{"pdus": &events})
	return events, err
}

// MissingEvents fetches at most limit events between those we have (earliest)
// and those we were sent (latest), unchecked.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid
func (c *Client) MissingEvents(ctx context.Context, destination matrix.ServerName, room matrix.RoomID,
	earliest, latest []matrix.EventID, limit int, minDepth int64) (events [][]byte, err error) {
	if earliest == nil {
		earliest = []matrix.EventID{}
	}
	body := struct {
		Earliest []matrix.EventID `json:"earliest_events"`
		Latest   []matrix.EventID `json:"latest_events"`
		Limit    int              `json:"limit"`
		MinDepth int64            `json:"min_depth"`
	}{earliest, latest, limit, minDepth}
	err = c.events(ctx, destination, http.MethodPost, path(federationV1, "get_missing_events", string(room)), body,
		2*maxAnswerBytes, map[string]*[][]byte{"events": &events})
	return events, err
}

// EventAuth fetches the auth chain of an event, unchecked.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid
func (c *Client) EventAuth(ctx context.Context, destination matrix.ServerName, room matrix.RoomID, event matrix.EventID) (chain [][]byte, err error) {
	err = c.events(ctx, destination, http.MethodGet, path(federationV1, "event_auth", string(room), string(event)), nil,
		maxStateBytes, map[string]*[][]byte{"auth_chain": &chain})
	return chain, err
}
