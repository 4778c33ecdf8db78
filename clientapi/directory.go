package clientapi

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/roomserver"
)

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directoryroomroomalias
func (s *Server) resolveAlias(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (roomserver.Directions, error) {
	alias, err := roomAlias(r)
	if err != nil {
		return roomserver.Directions{}, err
	}
	return s.Rooms.ResolveAlias(ctx, alias)
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias
func (s *Server) addAlias(ctx context.Context, who *caller, r *http.Request, req struct {
	RoomID string `json:"room_id"`
}) (httpx.None, error) {
	alias, err := roomAlias(r)
	if err != nil {
		return httpx.None{}, err
	}
	if req.RoomID == "" {
		return httpx.None{}, matrix.MissingParam("room_id is missing")
	}
	room, err := matrix.ParseRoomID(req.RoomID)
	if err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Rooms.CreateAlias(ctx, who.User, alias, room)
}

// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias
func (s *Server) removeAlias(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.None, error) {
	alias, err := roomAlias(r)
	if err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Rooms.DeleteAlias(ctx, who.User, alias)
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases
func (s *Server) aliases(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (map[string][]matrix.RoomAlias, error) {
	room, err := roomID(r)
	if err != nil {
		return nil, err
	}
	list, err := orNone(s.Rooms.Aliases(ctx, who.User, room))
	return map[string][]matrix.RoomAlias{"aliases": list}, err
}

const (
	visibilityPublic  = "public"
	visibilityPrivate = "private"
)

type visibility struct {
	Visibility string `json:"visibility"`
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid
func (s *Server) published(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (visibility, error) {
	room, err := roomID(r)
	if err != nil {
		return visibility{}, err
	}
	published, err := s.Rooms.Published(ctx, room)
	if published {
		return visibility{visibilityPublic}, err
	}
	return visibility{visibilityPrivate}, err
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid
func (s *Server) publish(ctx context.Context, who *caller, r *http.Request, req visibility) (httpx.None, error) {
	room, err := roomID(r)
	if err != nil {
		return httpx.None{}, err
	}
	switch req.Visibility {
	case "", visibilityPublic, visibilityPrivate:
	default:
		return httpx.None{}, matrix.InvalidParam("visibility is public or private")
	}
	return httpx.None{}, s.Rooms.SetPublished(ctx, who.User, room, req.Visibility != visibilityPrivate)
}

type directoryRequest struct {
	Limit  *int   `json:"limit,omitempty"`
	Since  string `json:"since,omitempty"`
	Filter struct {
		Term      string    `json:"generic_search_term,omitempty"`
		RoomTypes []*string `json:"room_types,omitempty"`
	} `json:"filter,omitzero"`
	AllNetworks bool   `json:"include_all_networks,omitempty"`
	Network     string `json:"third_party_instance_id,omitempty"`
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms
func (s *Server) publicRooms(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (any, error) {
	limit, err := httpx.QueryLimit(r, "limit", 0, maxPage)
	if err != nil {
		return nil, err
	}
	req := directoryRequest{Since: r.URL.Query().Get("since")}
	if limit > 0 {
		req.Limit = &limit
	}
	return s.searchPublicRooms(ctx, who, r, req)
}

// searchPublicRooms lists published rooms, of this server or of the one that
// the query names. Other networks are not bridged, and have none.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms
func (s *Server) searchPublicRooms(ctx context.Context, who *caller, r *http.Request, req directoryRequest) (any, error) {
	if name := r.URL.Query().Get("server"); name != "" {
		at, err := matrix.ParseServerName(name)
		if err != nil {
			return nil, err
		}
		if at != s.ServerName {
			return s.remotePublicRooms(ctx, at, req)
		}
	}
	if req.Network != "" {
		return roomserver.DirectoryPage{Chunk: []roomserver.PublicRoom{}}, nil
	}
	ask := roomserver.DirectoryRequest{User: who.User, Since: req.Since, Term: req.Filter.Term, RoomTypes: req.Filter.RoomTypes}
	if req.Limit != nil {
		ask.Limit = *req.Limit
	}
	return s.Rooms.PublicRooms(ctx, ask)
}

func (s *Server) remotePublicRooms(ctx context.Context, at matrix.ServerName, req directoryRequest) (any, error) {
	raw, err := s.Remote.PublicRooms(ctx, at, req)
	if err != nil {
		return nil, err
	}
	var page json.RawMessage // an object, whatever the other server says
	err = httpx.Unmarshal(raw, &page)
	return page, err
}
