package federation

import (
	"context"
	"net/http"
	"time"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/roomserver"
)

const (
	// maxNamed bounds the events that a question names: as many as a room has
	// tips, and more.
	maxNamed = 100
	// maxPage is how many events are asked for at most; roomserver may give
	// fewer.
	maxPage = 100
	// defaultMissing is how many missing events are returned where the server
	// does not say.
	//
	// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid
	defaultMissing = 10
)

// event returns one event.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid
func (s *Server) event(ctx context.Context, who peer, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	id, err := pathEvent(r)
	if err != nil {
		return nil, err
	}
	e, err := s.Rooms.EventFor(ctx, who.origin, id)
	if err != nil {
		return nil, err
	}
	return s.page([]*event.Event{e}), nil
}

// page is the form in which some calls return events.
func (s *Server) page(events []*event.Event) httpx.Raw {
	out := append(make(httpx.Raw, 0, sizeOf(events)), '{')
	out = appendString(out, "origin", string(s.Name))
	out = appendInt(out, "origin_server_ts", time.Now().UnixMilli())
	return append(eventList(out, "pdus", events), '}')
}

// state returns the state of a room before an event.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid
func (s *Server) state(ctx context.Context, who peer, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	state, err := s.stateAt(ctx, who, r)
	if err != nil {
		return nil, err
	}
	out := append(make(httpx.Raw, 0, sizeOf(state.State, state.AuthChain)), '{')
	out = eventList(out, "auth_chain", state.AuthChain)
	return append(eventList(out, "pdus", state.State), '}'), nil
}

// stateIDs returns the IDs of the same.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid
func (s *Server) stateIDs(ctx context.Context, who peer, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	state, err := s.stateAt(ctx, who, r)
	if err != nil {
		return nil, err
	}
	out := idList(httpx.Raw{'{'}, "auth_chain_ids", state.AuthChain)
	return append(idList(out, "pdu_ids", state.State), '}'), nil
}

func (s *Server) stateAt(ctx context.Context, who peer, r *http.Request) (state roomserver.RoomState, err error) {
	room, err := pathRoom(r)
	if err != nil {
		return state, err
	}
	text, err := httpx.QueryRequired(r, "event_id")
	if err != nil {
		return state, err
	}
	at, err := matrix.ParseEventID(text)
	if err != nil {
		return state, err
	}
	state, err = s.Rooms.StateAt(ctx, who.origin, room, at)
	state.AuthChain = wholeChain(state.State, state.AuthChain)
	return state, err
}

// eventAuth returns the auth chain of an event.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid
func (s *Server) eventAuth(ctx context.Context, who peer, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	room, id, err := pathRoomEvent(r)
	if err != nil {
		return nil, err
	}
	chain, err := s.Rooms.EventAuth(ctx, who.origin, room, id)
	if err != nil {
		return nil, err
	}
	out := append(make(httpx.Raw, 0, sizeOf(chain)), '{')
	return append(eventList(out, "auth_chain", chain), '}'), nil
}

// backfill returns events that lead up to others.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid
func (s *Server) backfill(ctx context.Context, who peer, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	room, err := pathRoom(r)
	if err != nil {
		return nil, err
	}
	from, err := eventIDs("v", r.URL.Query()["v"])
	if err != nil {
		return nil, err
	}
	if len(from) == 0 {
		return nil, matrix.MissingParam("the query lacks v")
	}
	if _, err := httpx.QueryRequired(r, "limit"); err != nil {
		return nil, err
	}
	limit, err := httpx.QueryLimit(r, "limit", maxPage, maxPage)
	if err != nil {
		return nil, err
	}
	events, err := s.Rooms.BackfillFor(ctx, who.origin, room, from, limit)
	if err != nil {
		return nil, err
	}
	return s.page(events), nil
}

type missingQuestion struct {
	Earliest []string `json:"earliest_events"`
	Latest   []string `json:"latest_events"`
	Limit    *int     `json:"limit"`
	MinDepth int64    `json:"min_depth"`
}

// missingEvents returns the events between some that a server has and some
// that it was sent.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid
func (s *Server) missingEvents(ctx context.Context, who peer, r *http.Request, in missingQuestion) (httpx.Raw, error) {
	room, err := pathRoom(r)
	if err != nil {
		return nil, err
	}
	earliest, err := eventIDs("earliest_events", in.Earliest)
	if err != nil {
		return nil, err
	}
	latest, err := eventIDs("latest_events", in.Latest)
	if err != nil {
		return nil, err
	}
	limit := defaultMissing
	if in.Limit != nil {
		limit = min(max(*in.Limit, 0), maxPage)
	}
	events, err := s.Rooms.MissingFor(ctx, who.origin, room, earliest, latest, limit, in.MinDepth)
	if err != nil {
		return nil, err
	}
	out := append(make(httpx.Raw, 0, sizeOf(events)), '{')
	return append(eventList(out, "events", events), '}'), nil
}

// eventIDs reads a list of a question.
func eventIDs(name string, texts []string) ([]matrix.EventID, error) {
	if len(texts) > maxNamed {
		return nil, matrix.InvalidParam("%s names more than %d events", name, maxNamed)
	}
	ids := make([]matrix.EventID, len(texts))
	for i, text := range texts {
		var err error
		if ids[i], err = matrix.ParseEventID(text); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
