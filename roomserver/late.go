package roomserver

import (
	"context"
	"net/http"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// maxConnects bounds how often history is asked for to find out whether an
	// event belongs to it.
	maxConnects = 4
	// connectLimit is how many events of it are asked for at a time.
	connectLimit = 50
)

// isLate reports whether an event is of the past of the room: whether events
// that have their places follow it. Taken for a tip it would bring back the
// state of its time.
//
// Where it may be of a part of the past that this server lacks, that part is
// asked for until the event turns up in it, or it cannot.
func (s *Server) isLate(ctx context.Context, a *arrival) (bool, error) {
	if a.strict || a.origin == s.self {
		return false, nil // it was just made
	}
	var helpers []matrix.ServerName
	for range maxConnects {
		edges, err := s.edgesAbove(ctx, a.RoomID(), a.Depth())
		if err != nil || len(edges) == 0 {
			return false, err
		}
		if slices.Contains(edges, a.ID()) {
			return true, nil
		}
		if helpers == nil {
			if helpers, err = s.historians(ctx, a.RoomID(), a.origin); err != nil {
				return false, err
			}
		}
		if more, err := s.connect(ctx, a, edges, helpers); err != nil || !more {
			return false, err
		}
	}
	edges, err := s.edgesAbove(ctx, a.RoomID(), a.Depth())
	return slices.Contains(edges, a.ID()), err
}

// connect asks servers for what is before some edges of a room, until one has
// anything to add. An event that is looked for is not taken with it: it has
// come by itself.
func (s *Server) connect(ctx context.Context, a *arrival, edges []matrix.EventID, helpers []matrix.ServerName) (more bool, err error) {
	for _, helper := range helpers {
		pdus, err := s.remote.Backfill(ctx, helper, a.RoomID(), edges, connectLimit)
		if err != nil {
			if helper == a.origin && matrix.Answer(err).Status >= http.StatusInternalServerError {
				return false, err // later: a wrong answer would stay
			}
			continue
		}
		if err := a.take(len(pdus)); err != nil {
			return false, err
		}
		events := without(a.ID(), parse(a.RoomID(), a.Rules(), pdus[:min(len(pdus), connectLimit)]))
		kept, err := s.keepHistory(ctx, &errand{helper, 0, a.events}, a.RoomID(), connected(edges, events, (*event.Event).PrevEvents))
		if err != nil || kept > 0 {
			return kept > 0, err
		}
	}
	return false, nil
}

// historians returns the servers to ask for the past of a room: one, and a few
// others that are in it, for it may not know yet that this server is.
func (s *Server) historians(ctx context.Context, room matrix.RoomID, first matrix.ServerName) ([]matrix.ServerName, error) {
	list := []matrix.ServerName{first}
	err := s.db.View(ctx, func(r *storage.Reader) error {
		row, err := rooms.ByID(ctx, r, room)
		if err != nil {
			return err
		}
		all, err := rooms.Servers(ctx, r, row.NID)
		for _, name := range all {
			if name != first && name != s.self && len(list) < maxHistorians {
				list = append(list, name)
			}
		}
		return err
	})
	return list, err
}

// maxHistorians bounds the servers that are asked whether an event is late.
const maxHistorians = 4

// edgesAbove returns the edges of a room below events that are deeper than one.
func (s *Server) edgesAbove(ctx context.Context, room matrix.RoomID, depth int64) (edges []matrix.EventID, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		row, err := rooms.ByID(ctx, r, room)
		if err != nil {
			return err
		}
		edges, err = rooms.Edges(ctx, r, row.NID, depth, maxEdges)
		return err
	})
	return edges, err
}

func without(id matrix.EventID, events []*event.Event) []*event.Event {
	return slices.DeleteFunc(events, func(e *event.Event) bool { return e.ID() == id })
}
