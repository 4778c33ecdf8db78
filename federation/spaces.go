package federation

import (
	"context"
	"math"
	"net/http"

	"beffroi/internal/httpx"
	"beffroi/roomserver"
)

// hierarchy tells of a space and its children.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
func (s *Server) hierarchy(ctx context.Context, who peer, r *http.Request, _ httpx.None) (roomserver.ToldHierarchy, error) {
	room, err := pathRoom(r)
	if err != nil {
		return roomserver.ToldHierarchy{}, err
	}
	suggested, err := httpx.QueryBool(r, "suggested_only", false)
	if err != nil {
		return roomserver.ToldHierarchy{}, err
	}
	return s.Rooms.HierarchyFor(ctx, who.origin, room, suggested)
}

// timestampToEvent returns the event of a room that is nearest to a time.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
func (s *Server) timestampToEvent(ctx context.Context, who peer, r *http.Request, _ httpx.None) (roomserver.Near, error) {
	room, err := pathRoom(r)
	if err != nil {
		return roomserver.Near{}, err
	}
	if _, err := httpx.QueryRequired(r, "ts"); err != nil {
		return roomserver.Near{}, err
	}
	ts, err := httpx.QueryInt(r, "ts", 0, math.MinInt64, math.MaxInt64)
	if err != nil {
		return roomserver.Near{}, err
	}
	if _, err := httpx.QueryRequired(r, "dir"); err != nil {
		return roomserver.Near{}, err
	}
	dir, err := httpx.QueryEnum(r, "dir", "", "f", "b")
	if err != nil {
		return roomserver.Near{}, err
	}
	return s.Rooms.NearTimeFor(ctx, who.origin, roomserver.NearRequest{Room: room, TS: ts, Backwards: dir == "b"})
}
