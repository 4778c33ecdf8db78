package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/search"
)

const (
	// defaultPeople and maxPeople are how many people one answer has.
	defaultPeople = 10
	maxPeople     = 100
	// defaultAround is how many events stand on each side of a result.
	defaultAround = 5
	// maxGroups bounds by what results are grouped: there are two such things.
	maxGroups = 2
)

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch
func (s *Server) searchPeople(ctx context.Context, who *caller, _ *http.Request, req struct {
	Term  *string `json:"search_term"`
	Limit *int    `json:"limit"`
}) (search.People, error) {
	if req.Term == nil {
		return search.People{}, matrix.MissingParam("search_term is missing")
	}
	limit := defaultPeople
	if req.Limit != nil {
		limit = *req.Limit
	}
	if limit < 0 {
		return search.People{}, matrix.InvalidParam("limit must not be negative")
	}
	return s.Search.People(ctx, who.User, *req.Term, min(limit, maxPeople))
}

type searchRequest struct {
	Categories *struct {
		RoomEvents *roomEventsSearch `json:"room_events"`
	} `json:"search_categories"`
}

type roomEventsSearch struct {
	Term    *string         `json:"search_term"`
	Keys    []string        `json:"keys"`
	Filter  json.RawMessage `json:"filter"`
	Order   string          `json:"order_by"`
	State   bool            `json:"include_state"`
	Context *struct {
		Before   *int `json:"before_limit"`
		After    *int `json:"after_limit"`
		Profiles bool `json:"include_profile"`
	} `json:"event_context"`
	Groupings struct {
		By []struct {
			Key string `json:"key"`
		} `json:"group_by"`
	} `json:"groupings"`
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search
func (s *Server) search(ctx context.Context, who *caller, r *http.Request, body searchRequest) (map[string]any, error) {
	if body.Categories == nil {
		return nil, matrix.MissingParam("search_categories is missing")
	}
	asked := body.Categories.RoomEvents
	if asked == nil {
		return map[string]any{"search_categories": map[string]any{}}, nil
	}
	req, err := asked.request()
	if err != nil {
		return nil, err
	}
	req.User, req.Device, req.From = who.User, who.Device, r.URL.Query().Get("next_batch")
	if err := s.Search.Level(ctx); err != nil {
		return nil, err
	}
	found, err := s.Rooms.Search(ctx, req)
	if err != nil {
		return nil, err
	}
	type answer struct {
		roomserver.Found
		Groups map[string]map[string]*group `json:"groups,omitempty"`
	}
	out := answer{found, asked.groups(found)}
	return map[string]any{"search_categories": map[string]any{"room_events": out}}, nil
}

// request checks what is asked for.
func (q *roomEventsSearch) request() (req roomserver.SearchRequest, err error) {
	if q.Term == nil {
		return req, matrix.MissingParam("search_term is missing")
	}
	req = roomserver.SearchRequest{Term: *q.Term, State: q.State}
	switch q.Order {
	case "", "rank":
		req.ByRank = true
	case "recent":
	default:
		return req, matrix.InvalidParam("order_by must be rank or recent")
	}
	for _, key := range q.Keys {
		field, ok := strings.CutPrefix(key, "content.")
		if !ok || field != "body" && field != "name" && field != "topic" {
			return req, matrix.InvalidParam("keys may be content.body, content.name and content.topic")
		}
		if !slices.Contains(req.Fields, field) {
			req.Fields = append(req.Fields, field)
		}
	}
	if len(q.Groupings.By) > maxGroups {
		return req, matrix.InvalidParam("results are grouped by at most %d keys", maxGroups)
	}
	for _, by := range q.Groupings.By {
		if by.Key != "room_id" && by.Key != "sender" {
			return req, matrix.InvalidParam("results are grouped by room_id or sender")
		}
	}
	if q.Context != nil {
		before, after := defaultAround, defaultAround
		req.Before, req.After, req.Profiles = &before, &after, q.Context.Profiles
		if q.Context.Before != nil {
			before = *q.Context.Before
		}
		if q.Context.After != nil {
			after = *q.Context.After
		}
		if before < 0 || after < 0 {
			return req, matrix.InvalidParam("a limit must not be negative")
		}
	}
	req.Filter, err = roomserver.ParseFilter(q.Filter)
	return req, err
}

// group is the results of one room or one sender.
type group struct {
	Order   int              `json:"order"`
	Results []matrix.EventID `json:"results"`
}

// groups partitions the results as the client asks. The groups are in the order
// of their first results.
func (q *roomEventsSearch) groups(found roomserver.Found) map[string]map[string]*group {
	out := make(map[string]map[string]*group)
	for _, by := range q.Groupings.By {
		groups := make(map[string]*group)
		for _, res := range found.Results {
			value := string(res.Room)
			if by.Key == "sender" {
				value = string(res.Sender)
			}
			if groups[value] == nil {
				groups[value] = &group{Order: len(groups) + 1}
			}
			groups[value].Results = append(groups[value].Results, res.ID)
		}
		out[by.Key] = groups
	}
	return out
}
