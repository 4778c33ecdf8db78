package roomserver

import (
	"cmp"
	"context"
	"math"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// backfill asks other servers for events before the oldest that this server
// has, at most limit. more is false when there is nothing to ask for or nobody
// gave anything.
//
// https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
func (s *Server) backfill(ctx context.Context, id matrix.RoomID, limit int) (more bool, err error) {
	var edges []matrix.EventID
	var servers []matrix.ServerName
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		row, err := rooms.ByID(ctx, r, id)
		if err != nil {
			return err
		}
		if edges, err = rooms.Edges(ctx, r, row.NID, math.MinInt64, maxEdges); err != nil || len(edges) == 0 {
			return err
		}
		servers, err = rooms.Servers(ctx, r, row.NID)
		return err
	}); err != nil || len(edges) == 0 {
		return false, err
	}
	ran, err := s.fetches.do(ctx, "backfill "+string(id), func() error {
		more, err = s.backfillFrom(ctx, id, servers, edges, limit)
		return err
	})
	return more || !ran, err
}

func (s *Server) backfillFrom(ctx context.Context, id matrix.RoomID, servers []matrix.ServerName, edges []matrix.EventID, limit int) (bool, error) {
	rules, err := s.rules(ctx, id)
	if err != nil {
		return false, err
	}
	asked := 0
	for _, server := range servers {
		if server == s.self || asked >= maxHelpers {
			continue
		}
		asked++
		pdus, err := s.remote.Backfill(ctx, server, id, edges, limit)
		if err != nil {
			s.log.InfoContext(ctx, "backfill failed", "room_id", id, "destination", server, "error", err)
			continue
		}
		// Only what our events follow is history: else anybody could add to it.
		events := connected(edges, parse(id, rules, pdus[:min(len(pdus), maxHistory)]), (*event.Event).PrevEvents)
		n, err := s.keepHistory(ctx, newErrand(server), id, events)
		if err != nil || n > 0 {
			return n > 0, err
		}
	}
	return false, nil
}

// maxEdges bounds the ends of history that are asked for at a time.
const maxEdges = 10

// keepHistory stores events of the past: in the timeline before all others,
// the newest first, and in no state.
func (s *Server) keepHistory(ctx context.Context, er *errand, id matrix.RoomID, events []*event.Event) (kept int, err error) {
	events = s.signed(ctx, events)
	slices.SortStableFunc(events, func(a, b *event.Event) int { return cmp.Compare(b.Depth(), a.Depth()) })
	stored, _, err := s.storedList(ctx, idsOf(events))
	if err != nil {
		return 0, err
	}
	have := make(map[matrix.EventID]*event.Event, len(stored))
	for _, e := range stored {
		have[e.ID()] = e.Event
	}
	judged := make([]*rooms.Event, 0, len(events))
	for _, e := range events {
		if ours := have[e.ID()]; ours != nil {
			e = ours // an event of the state, which the other server may give without its content
		}
		verdict, err := s.judgeHistory(ctx, er, e)
		if err != nil {
			return 0, err
		}
		if verdict != nil {
			judged = append(judged, verdict)
		}
	}
	if len(judged) == 0 {
		return 0, nil
	}
	_, err = s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
		kept, err = s.writeHistory(ctx, tx, id, judged)
		return err
	})
	return kept, err
}

// judgeHistory decides about an event of the past by the events that it names
// and by the policy, on the state that the room has now: that of then is not
// known. nil means that it cannot be judged.
func (s *Server) judgeHistory(ctx context.Context, er *errand, e *event.Event) (*rooms.Event, error) {
	out := &rooms.Event{Event: e, Status: rooms.Accepted}
	auth, err := s.authEvents(ctx, er, e)
	if err != nil {
		return nil, nil //nolint:nilerr // one that cannot be judged hides no other
	}
	find := s.finder(ctx, auth)
	rm, err := s.lock(ctx, e.RoomID())
	if err != nil {
		return nil, err
	}
	defer rm.mu.Unlock()
	now := s.current(ctx, rm)
	create := now.createEvent()
	if e.Type() == "m.room.create" {
		create = nil
	}
	if why := s.checkAuthEvents(e, auth, create); why != nil {
		out.Status, out.Reason = rooms.Rejected, cut(why.Error(), maxWhy)
	} else if why := s.admitTold(ctx, e, now, find); why != nil {
		if matrix.Answer(why).Status >= 500 {
			return nil, why
		}
		out.Status, out.Reason = rooms.Rejected, cut(why.Error(), maxWhy)
	}
	return out, now.err
}

func (s *Server) writeHistory(ctx context.Context, tx *storage.Tx, id matrix.RoomID, judged []*rooms.Event) (kept int, err error) {
	r, err := tx.Snapshot(ctx)
	if err != nil {
		return 0, err
	}
	row, err := rooms.ByID(ctx, r, id)
	if err != nil {
		return 0, err
	}
	known, err := rooms.Known(ctx, r, eventIDs(judged))
	if err != nil {
		return 0, err
	}
	place, err := rooms.TakeFirst(ctx, tx, row.NID, len(judged))
	if err != nil {
		return 0, err
	}
	for _, e := range judged {
		ref, have := known[e.ID()]
		if have && (ref.Status != rooms.Outlier || ref.RoomNID != row.NID) {
			continue
		}
		e.RoomNID, e.Pos = row.NID, storage.Position(place)
		place--
		if have {
			e.NID = ref.NID
			err = rooms.PlaceEvent(ctx, tx, e)
		} else {
			e.NID = int64(tx.Next())
			rooms.InsertEvent(tx, e)
		}
		if err != nil {
			return 0, err
		}
		kept++
	}
	return kept, s.moveEdges(ctx, tx, row.NID, judged)
}

// moveEdges replaces the edges that were reached by those behind them.
func (s *Server) moveEdges(ctx context.Context, tx *storage.Tx, roomNID int64, reached []*rooms.Event) error {
	if err := rooms.RemoveEdges(ctx, tx, roomNID, eventIDs(reached)); err != nil {
		return err
	}
	r, err := tx.Snapshot(ctx)
	if err != nil {
		return err
	}
	var named []matrix.EventID
	for _, e := range reached {
		named = append(named, e.PrevEvents()...)
	}
	known, err := rooms.Known(ctx, r, named)
	if err != nil {
		return err
	}
	for _, e := range reached {
		var unknown []matrix.EventID
		for _, id := range e.PrevEvents() {
			if ref, ok := known[id]; !ok || ref.Status == rooms.Outlier {
				unknown = append(unknown, id)
			}
		}
		rooms.AddEdges(tx, roomNID, unknown, e.Depth())
	}
	return nil
}

func eventIDs(events []*rooms.Event) []matrix.EventID {
	ids := make([]matrix.EventID, len(events))
	for i, e := range events {
		ids[i] = e.ID()
	}
	return ids
}

func idsOf(events []*event.Event) []matrix.EventID {
	ids := make([]matrix.EventID, len(events))
	for i, e := range events {
		ids[i] = e.ID()
	}
	return ids
}
