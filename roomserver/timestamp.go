package roomserver

import (
	"context"
	"slices"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// nearPage is how many events are read at a time to find one that may be
	// seen, and maxNear how many are looked at.
	nearPage = 50
	maxNear  = 1000
	// maxNearServers bounds the servers that are asked for an event near a
	// time, and maxNearFetches how often history is asked for to reach it, each
	// time nearFetch events.
	maxNearServers = 3
	maxNearFetches = 10
	nearFetch      = 100
)

// NearRequest asks for the event nearest to a time.
type NearRequest struct {
	User      matrix.UserID
	Room      matrix.RoomID
	TS        int64 // ms
	Backwards bool  // at the time or before it, else at it or after it
}

// Near is an event near a time.
type Near struct {
	EventID matrix.EventID `json:"event_id"`
	TS      int64          `json:"origin_server_ts"`
}

// NearTime returns the event nearest to a time that a user may see. Where this
// server's copy of the history has a gap there, it asks others which event is
// nearer, and for the history up to it. None is 404 M_NOT_FOUND.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
func (s *Server) NearTime(ctx context.Context, req NearRequest) (Near, error) {
	var better *Near
	for n := 0; ; n++ {
		found, gap, servers, err := s.nearHere(ctx, req)
		if err != nil {
			return Near{}, err
		}
		if gap && n == 0 {
			better = s.nearElsewhere(ctx, req, found, servers)
		}
		there := better == nil || found != nil && (found.EventID == better.EventID || !nearer(req, better, found))
		if !gap || there || n >= maxNearFetches || !s.fetchMore(ctx, req.Room, nearFetch) {
			return found.orNone(req)
		}
	}
}

func (n *Near) orNone(req NearRequest) (Near, error) {
	if n == nil {
		direction := "at or after"
		if req.Backwards {
			direction = "at or before"
		}
		return Near{}, matrix.NotFound("there is no event %s %d", direction, req.TS)
	}
	return *n, nil
}

// nearer reports whether a is nearer to the time than b.
func nearer(req NearRequest, a, b *Near) bool {
	if req.Backwards {
		return a.TS > b.TS
	}
	return a.TS < b.TS
}

// nearHere returns the nearest event that this server has, whether there may be
// one in a gap of its history that is nearer, and who has that.
func (s *Server) nearHere(ctx context.Context, req NearRequest) (found *Near, gap bool, servers []matrix.ServerName, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		a, err := s.reach(ctx, r, req.User, req.Room)
		if err != nil {
			return err
		}
		sees := func(list []*rooms.Event) ([]*rooms.Event, error) { return a.sights.Visible(list), nil }
		if found, err = near(ctx, r, a.room.NID, req, sees); err != nil || a.until > 0 || a.peeking {
			return err
		}
		after, err := rooms.NearTime(ctx, r, a.room.NID, req.TS, false, 0, 1)
		if err != nil || len(after) == 0 {
			return err
		}
		if gap, err = rooms.FollowsEdge(ctx, r, a.room.NID, after[0].PrevEvents()); err != nil || !gap {
			return err
		}
		servers, err = rooms.Servers(ctx, r, a.room.NID)
		return err
	})
	return found, gap, servers, err
}

// near returns the nearest event of a room that somebody sees, or nil.
func near(ctx context.Context, r *storage.Reader, roomNID int64, req NearRequest,
	sees func([]*rooms.Event) ([]*rooms.Event, error)) (*Near, error) {
	for skip, limit := 0, 1; skip < maxNear; skip, limit = skip+limit, nearPage { // it is nearly always the first
		list, err := rooms.NearTime(ctx, r, roomNID, req.TS, req.Backwards, skip, limit)
		if err != nil || len(list) == 0 {
			return nil, err
		}
		seen, err := sees(list)
		if err != nil {
			return nil, err
		}
		if len(seen) > 0 {
			return &Near{seen[0].ID(), seen[0].OriginServerTS()}, nil
		}
	}
	return nil, nil
}

// nearElsewhere asks other servers for an event that is nearer than one of
// ours, nil for none.
func (s *Server) nearElsewhere(ctx context.Context, req NearRequest, ours *Near, servers []matrix.ServerName) *Near {
	ctx, cancel := context.WithTimeout(ctx, backfillTimeout)
	defer cancel()
	dir := "f"
	if req.Backwards {
		dir = "b"
	}
	servers = slices.DeleteFunc(servers, func(name matrix.ServerName) bool { return name == s.self })
	for _, server := range servers[:min(len(servers), maxNearServers)] {
		id, ts, err := s.remote.TimestampToEvent(ctx, server, req.Room, req.TS, dir)
		if err != nil {
			s.log.InfoContext(ctx, "no event near a time", "room_id", req.Room, "destination", server, "error", err)
			continue
		}
		theirs := &Near{id, ts}
		if onWay := ts >= req.TS != req.Backwards || ts == req.TS; onWay && (ours == nil || nearer(req, theirs, ours)) {
			return theirs
		}
	}
	return nil
}

// NearTimeFor answers timestamp_to_event: the event nearest to a time that
// this server has and another may see.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
func (s *Server) NearTimeFor(ctx context.Context, origin matrix.ServerName, req NearRequest) (Near, error) {
	if err := s.member(ctx, origin, req.Room); err != nil {
		return Near{}, err
	}
	var found *Near
	err := s.db.View(ctx, func(r *storage.Reader) error {
		room, err := rooms.ByID(ctx, r, req.Room)
		if err != nil {
			return err
		}
		found, err = near(ctx, r, room.NID, req, func(list []*rooms.Event) (seen []*rooms.Event, err error) {
			g, err := lookFor(ctx, r, room.NID, origin, list)
			if err != nil {
				return nil, err
			}
			for _, e := range list {
				if g.sees(e) {
					seen = append(seen, e)
				}
			}
			return seen, nil
		})
		return err
	})
	if err != nil {
		return Near{}, err
	}
	return found.orNone(req)
}
