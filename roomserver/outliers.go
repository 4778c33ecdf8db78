package roomserver

import (
	"context"
	"errors"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// parse reads PDUs of a room and drops those that are malformed or of another
// room, and repeats. What a hostile server mixes in hurts nothing but itself.
func parse(room matrix.RoomID, rules *matrix.VersionRules, pdus [][]byte) []*event.Event {
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
	return events
}

// signed returns those of some events whose signatures are good. It costs a
// signature each: what is not needed is sorted out before.
func (s *Server) signed(ctx context.Context, events []*event.Event) []*event.Event {
	good := make([]*event.Event, 0, len(events))
	for i, err := range event.VerifySignatures(ctx, s.keys, events) {
		if err == nil {
			good = append(good, events[i])
		}
	}
	return good
}

// judgeOutliers decides, by the events that each one names, which of a set of
// signed events are authorised. Events that name others of the set come after
// them in the result. known finds what is stored, in the set or not.
//
// An event whose auth events are not all known is left out: that it cannot be
// judged by what one server told must not be held against it.
func (s *Server) judgeOutliers(events []*event.Event, known map[matrix.EventID]*rooms.Event, create *event.Event) []*rooms.Event {
	judged := make(map[matrix.EventID]*rooms.Event, len(events)+len(known))
	for id, e := range known {
		judged[id] = e
	}
	out := make([]*rooms.Event, 0, len(events))
	for _, e := range inOrder(events, (*event.Event).AuthEvents) {
		verdict := known[e.ID()]
		if verdict == nil || verdict.Status == rooms.Outlier { // which an invitation is, unjudged
			delete(judged, e.ID())
			verdict = &rooms.Event{Event: e, Status: rooms.Outlier}
			switch err := authorised(e, judged, create); {
			case errors.Is(err, errUnknownAuth):
				continue
			case err != nil:
				verdict.Status, verdict.Reason = rooms.Rejected, cut(err.Error(), maxWhy)
			}
			judged[e.ID()] = verdict
		}
		out = append(out, verdict)
	}
	return out
}

// errUnknownAuth says that an event names one that nobody told.
var errUnknownAuth = errors.New("an auth event is not known")

// authorised checks an event by its auth events alone.
func authorised(e *event.Event, judged map[matrix.EventID]*rooms.Event, create *event.Event) error {
	auth := make([]*event.Event, 0, len(e.AuthEvents()))
	for _, id := range e.AuthEvents() {
		a := judged[id]
		if a == nil {
			return errUnknownAuth
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

// inOrder sorts events so that each comes after those that it names. Events in
// a cycle, which only a liar can claim, are left out.
func inOrder(events []*event.Event, names func(*event.Event) []matrix.EventID) []*event.Event {
	waits := make(map[matrix.EventID]int, len(events))
	followers := make(map[matrix.EventID][]*event.Event, len(events))
	for _, e := range events {
		waits[e.ID()] = 0
	}
	var ready []*event.Event
	for _, e := range events {
		for _, id := range names(e) {
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

// storeStep is how many outliers one commit stores, so that no other writer
// waits long.
const storeStep = 1000

// storeOutliers judges events of a room that this server is in, and stores
// those that it does not have and whose signatures are good.
func (s *Server) storeOutliers(ctx context.Context, room matrix.RoomID, events []*event.Event) error {
	events = s.signed(ctx, events)
	if len(events) == 0 {
		return nil
	}
	var row rooms.Room
	var judged []*rooms.Event
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		if row, err = rooms.ByID(ctx, r, room); err != nil {
			return err
		}
		known, err := rooms.Events(ctx, r, namedBy(events))
		if err != nil {
			return err
		}
		create, err := rooms.StateEvent(ctx, r, row.NID, "m.room.create", "")
		if err != nil {
			return err
		}
		if create == nil {
			return matrix.NotFound("this server does not know the create event of the room")
		}
		judged = s.judgeOutliers(events, known, create.Event)
		return nil
	}); err != nil {
		return err
	}
	return s.appendOutliers(ctx, row.NID, judged)
}

// appendOutliers stores judged events, each after those that it names.
func (s *Server) appendOutliers(ctx context.Context, roomNID int64, judged []*rooms.Event) error {
	for len(judged) > 0 {
		step := judged[:min(len(judged), storeStep)]
		judged = judged[len(step):]
		if _, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
			return insertUnknown(ctx, tx, roomNID, step)
		}); err != nil {
			return err
		}
	}
	return nil
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

// insertUnknown stores those of the events that are not stored yet, and gives
// all their numbers.
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
	var worse []int64
	for _, e := range events {
		ref, ok := known[e.ID()]
		switch {
		case !ok:
			e.RoomNID, e.NID = roomNID, int64(tx.Next())
			rooms.InsertEvent(tx, e)
			continue
		case ref.RoomNID != roomNID: // versions 1 and 2, where an ID is free to choose
			return matrix.BadJSON("the event ID %s is that of an event of another room", e.ID())
		case e.Status == rooms.Rejected && ref.Status == rooms.Outlier:
			worse = append(worse, ref.NID)
		}
		e.NID = ref.NID
	}
	if len(worse) == 0 {
		return nil
	}
	return rooms.RejectOutliers(ctx, tx, worse, "not allowed by its auth events")
}
