package clientapi

import (
	"context"
	"math"
	"net/http"
	"strings"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/roomserver"
)

type hierarchyResponse struct {
	Rooms     []roomserver.SpaceRoom `json:"rooms"`
	NextBatch string                 `json:"next_batch,omitempty"`
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
func (s *Server) hierarchy(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (hierarchyResponse, error) {
	room, err := roomID(r)
	if err != nil {
		return hierarchyResponse{}, err
	}
	req := roomserver.HierarchyRequest{User: who.User, Room: room, From: r.URL.Query().Get("from")}
	if req.SuggestedOnly, err = httpx.QueryBool(r, "suggested_only", false); err != nil {
		return hierarchyResponse{}, err
	}
	limit, err := httpx.QueryInt(r, "limit", 0, 1, math.MaxInt32)
	if err != nil {
		return hierarchyResponse{}, err
	}
	req.Limit = int(limit)
	depth, err := httpx.QueryInt(r, "max_depth", -1, 0, math.MaxInt32)
	if err != nil {
		return hierarchyResponse{}, err
	}
	if depth >= 0 {
		req.MaxDepth = new(int(depth))
	}
	list, next, err := s.Rooms.Hierarchy(ctx, req)
	return hierarchyResponse{list, next}, err
}

// summaryResponse has fields by the names of before version 1.15 too.
type summaryResponse struct {
	roomserver.UserSummary
	OldVersion    matrix.RoomVersion `json:"im.nheko.summary.room_version,omitempty"`
	OldEncryption string             `json:"im.nheko.summary.encryption,omitempty"`
}

// roomSummary tells of a room that the caller may not be in.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
func (s *Server) roomSummary(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (summaryResponse, error) {
	via, err := viaServers(r)
	if err != nil {
		return summaryResponse{}, err
	}
	name := r.PathValue("room")
	var room matrix.RoomID
	if strings.HasPrefix(name, "#") {
		alias, err := matrix.ParseRoomAlias(name)
		if err != nil {
			return summaryResponse{}, err
		}
		to, err := s.Rooms.ResolveAlias(ctx, alias)
		if err != nil {
			return summaryResponse{}, err
		}
		room, via = to.RoomID, append(via, to.Servers...)
	} else if room, err = matrix.ParseRoomID(name); err != nil {
		return summaryResponse{}, err
	}
	sum, err := s.Rooms.RoomSummary(ctx, who.User, room, via)
	return summaryResponse{sum, sum.RoomVersion, sum.Encryption}, err
}

// timestampToEvent returns the event of a room that is nearest to a time.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
func (s *Server) timestampToEvent(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (roomserver.Near, error) {
	room, err := roomID(r)
	if err != nil {
		return roomserver.Near{}, err
	}
	q := r.URL.Query()
	if q.Get("ts") == "" || q.Get("dir") == "" {
		return roomserver.Near{}, matrix.MissingParam("ts and dir are needed")
	}
	ts, err := httpx.QueryInt(r, "ts", 0, math.MinInt64, math.MaxInt64)
	if err != nil {
		return roomserver.Near{}, err
	}
	dir, err := httpx.QueryEnum(r, "dir", "", "f", "b")
	if err != nil {
		return roomserver.Near{}, err
	}
	return s.Rooms.NearTime(ctx, roomserver.NearRequest{User: who.User, Room: room, TS: ts, Backwards: dir == "b"})
}
