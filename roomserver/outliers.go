package roomserver

import (
	"context"
	"fmt"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// parseTheirs reads PDUs of a room, drops those that are malformed, of another
// room or badly signed, and repeats. What a hostile server mixes in hurts
// nothing but itself.
func (s *Server) parseTheirs(ctx context.Context, room matrix.RoomID, rules *matrix.VersionRules, pdus [][]byte) []*event.Event {
	seen := make(map[matrix.EventID]bool, len(pdus))
	events := make([]*event.Event, 0, len(pdus))
	for _, raw := range pdus {
		e, err := event.ParseUntrusted(raw, rules)
		if err != nil || e.RoomID() != room || seen[e.ID()] {
			continue
		}
		seen[e.ID()] = true
		events = append(events, e)
	}
	good := events[:0]
	for i, err := range event.VerifySignatures(ctx, s.keys, events) {
		if err == nil {
			good = append(good, events[i])
		}
	}
	return good
}

// judgeOutliers decides, by the events that each one names, which of a set of
// signed events are authorised. Events that name others of the set come after
// them in the result. known finds what is not in the set.
func (s *Server) judgeOutliers(events []*event.Event, known map[matrix.EventID]*rooms.Event, create *event.Event) []*rooms.Event {
	judged := make(map[matrix.EventID]*rooms.Event, len(events)+len(known))
	for id, e := range known {
		judged[id] = e
	}
	out := make([]*rooms.Event, 0, len(events))
	for _, e := range inAuthOrder(events) {
		verdict := &rooms.Event{Event: e, Status: rooms.Outlier}
		if err := authorised(e, judged, create); err != nil {
			verdict.Status, verdict.Reason = rooms.Rejected, err.Error()
		}
		judged[e.ID()] = verdict
		out = append(out, verdict)
	}
	return out
}

// authorised checks an event by its auth events alone.
func authorised(e *event.Event, judged map[matrix.EventID]*rooms.Event, create *event.Event) error {
	auth := make([]*event.Event, 0, len(e.AuthEvents()))
	for _, id := range e.AuthEvents() {
		a := judged[id]
		if a == nil {
			return fmt.Errorf("auth event %s is not known", id)
		}
		auth = append(auth, a.Event)
	}
	rejected := func(id matrix.EventID) bool { return judged[id] != nil && judged[id].Status == rooms.Rejected }
	if err := eventauth.CheckAuthEvents(e, auth, rejected); err != nil {
		return err
	}
	if e.Type() == "m.room.create" {
		create = nil
	}
	return eventauth.Check(e, eventauth.AuthEvents(auth), create)
}

// inAuthOrder sorts events so that each comes after those it names among its
// auth events. Events in a cycle, which only a liar can claim, are left out.
func inAuthOrder(events []*event.Event) []*event.Event {
	waits := make(map[matrix.EventID]int, len(events))
	followers := make(map[matrix.EventID][]*event.Event, len(events))
	for _, e := range events {
		waits[e.ID()] = 0
	}
	var ready []*event.Event
	for _, e := range events {
		for _, id := range e.AuthEvents() {
			if _, ours := waits[id]; ours {
				waits[e.ID()]++
				followers[id] = append(followers[id], e)
			}
		}
		if waits[e.ID()] == 0 {
			ready = append(ready, e)
		}
	}
	sorted := make([]*event.Event, 0, len(events))
	for len(ready) > 0 {
		e := ready[0]
		ready = ready[1:]
		sorted = append(sorted, e)
		for _, next := range followers[e.ID()] {
			if waits[next.ID()]--; waits[next.ID()] == 0 {
				ready = append(ready, next)
			}
		}
	}
	return sorted
}

// storeOutliers judges signed events of a room that this server is in, and
// stores those that it does not have.
func (s *Server) storeOutliers(ctx context.Context, room matrix.RoomID, events []*event.Event) error {
	if len(events) == 0 {
		return nil
	}
	return s.appendOutliers(ctx, room, func(r *storage.Reader, row rooms.Room) ([]*rooms.Event, error) {
		known, err := rooms.Events(ctx, r, namedBy(events))
		if err != nil {
			return nil, err
		}
		create, err := rooms.StateEvent(ctx, r, row.NID, "m.room.create", "")
		if err != nil || create == nil {
			return nil, matrix.NotFound("this server does not know the create event of the room")
		}
		return s.judgeOutliers(events, known, create.Event), nil
	})
}

// namedBy returns the IDs of events and of the auth events they name.
func namedBy(events []*event.Event) []matrix.EventID {
	seen := make(map[matrix.EventID]bool)
	var ids []matrix.EventID
	add := func(id matrix.EventID) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for _, e := range events {
		add(e.ID())
		for _, id := range e.AuthEvents() {
			add(id)
		}
	}
	return ids
}

func (s *Server) appendOutliers(ctx context.Context, room matrix.RoomID,
	judge func(r *storage.Reader, row rooms.Room) ([]*rooms.Event, error)) error {
	var row rooms.Room
	var judged []*rooms.Event
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		if row, err = rooms.ByID(ctx, r, room); err != nil {
			return err
		}
		judged, err = judge(r, row)
		return err
	}); err != nil {
		return err
	}
	_, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return insertUnknown(ctx, tx, row.NID, judged)
	})
	return err
}

// insertUnknown stores those of the events that are not stored yet.
func insertUnknown(ctx context.Context, tx *storage.Tx, roomNID int64, events []*rooms.Event) error {
	ids := make([]matrix.EventID, len(events))
	for i, e := range events {
		ids[i] = e.ID()
	}
	r, err := tx.Snapshot(ctx)
	if err != nil {
		return err
	}
	known, err := rooms.Known(ctx, r, ids)
	if err != nil {
		return err
	}
	for _, e := range events {
		if ref, ok := known[e.ID()]; ok {
			e.NID = ref.NID
			continue
		}
		e.RoomNID, e.NID = roomNID, int64(tx.Next())
		rooms.InsertEvent(tx, e)
	}
	return nil
}
