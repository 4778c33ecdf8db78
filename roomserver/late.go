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
	for range maxConnects {
		edges, err := s.edgesAbove(ctx, a.RoomID(), a.Depth())
		if err != nil || len(edges) == 0 {
			return false, err
		}
		if slices.Contains(edges, a.ID()) {
			return true, nil
		}
		pdus, err := s.remote.Backfill(ctx, a.origin, a.RoomID(), edges, connectLimit)
		if err != nil {
			if matrix.Answer(err).Status >= http.StatusInternalServerError {
				return false, err // later: a wrong answer would stay
			}
			return false, nil
		}
		if err := a.take(len(pdus)); err != nil {
			return false, err
		}
		events := connected(edges, without(a.ID(), parse(a.RoomID(), a.Rules(), pdus[:min(len(pdus), connectLimit)])),
			(*event.Event).PrevEvents)
		kept, err := s.keepHistory(ctx, a.errand, a.RoomID(), events)
		if err != nil || kept == 0 {
			return false, err
		}
	}
	edges, err := s.edgesAbove(ctx, a.RoomID(), a.Depth())
	return slices.Contains(edges, a.ID()), err
}

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
