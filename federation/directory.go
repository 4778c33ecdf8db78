package federation

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/roomserver"
)

// queryProfile returns the profile of an account of ours, or one field of it.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
func (s *Server) queryProfile(ctx context.Context, who peer, r *http.Request, _ httpx.None) (map[string]json.RawMessage, error) {
	text, err := httpx.QueryRequired(r, "user_id")
	if err != nil {
		return nil, err
	}
	user, err := matrix.ParseUserID(text)
	if err != nil {
		return nil, err
	}
	if user.Server() != s.Name {
		return nil, matrix.InvalidParam("%s is not a user of this server", user)
	}
	shares, err := s.Rooms.SharesRoom(ctx, who.origin, user)
	if err != nil {
		return nil, err
	}
	if err := s.gate.mayRead(ctx, who, user, shares); err != nil {
		return nil, err
	}
	profile, err := s.Accounts.Profile(ctx, user)
	field := r.URL.Query().Get("field")
	if err != nil || field == "" {
		return profile, err
	}
	value, ok := profile[field]
	if !ok {
		return map[string]json.RawMessage{}, nil
	}
	return map[string]json.RawMessage{field: value}, nil
}

// queryDirectory says where an alias of ours leads. Who joins there is judged
// then.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory
func (s *Server) queryDirectory(ctx context.Context, _ peer, r *http.Request, _ httpx.None) (roomserver.Directions, error) {
	text, err := httpx.QueryRequired(r, "room_alias")
	if err != nil {
		return roomserver.Directions{}, err
	}
	alias, err := matrix.ParseRoomAlias(text)
	if err != nil {
		return roomserver.Directions{}, err
	}
	if alias.Server() != s.Name {
		return roomserver.Directions{}, matrix.InvalidParam("%s is not an alias of this server", alias)
	}
	return s.Rooms.LocalAlias(ctx, alias)
}

// maxRoomsAsked is the greatest limit that is read; roomserver has its own.
const maxRoomsAsked = 10_000

// publicRooms lists the directory of this server.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1publicrooms
func (s *Server) publicRooms(ctx context.Context, who peer, r *http.Request, _ httpx.None) (roomserver.DirectoryPage, error) {
	limit, err := httpx.QueryLimit(r, "limit", 0, maxRoomsAsked)
	if err != nil {
		return roomserver.DirectoryPage{}, err
	}
	return s.Rooms.PublicRooms(ctx, roomserver.DirectoryRequest{
		Server: who.origin, Limit: limit, Since: r.URL.Query().Get("since")})
}

type roomSearch struct {
	Limit  int    `json:"limit"`
	Since  string `json:"since"`
	Filter struct {
		Term      string    `json:"generic_search_term"`
		RoomTypes []*string `json:"room_types"`
	} `json:"filter"`
}

// searchPublicRooms searches the directory of this server.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms
func (s *Server) searchPublicRooms(ctx context.Context, who peer, _ *http.Request, in roomSearch) (roomserver.DirectoryPage, error) {
	return s.Rooms.PublicRooms(ctx, roomserver.DirectoryRequest{
		Server: who.origin, Limit: in.Limit, Since: in.Since, Term: in.Filter.Term, RoomTypes: in.Filter.RoomTypes})
}
