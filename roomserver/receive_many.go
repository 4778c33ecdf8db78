package roomserver

import (
	"context"
	"errors"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// maxTogether bounds the events of one commit: a transaction has no more.
const maxTogether = 50

// ReceivePDUs takes as many of some events that another server sent to a room
// as simply follow the room as it is, in one commit, and returns how many of
// the first ones are stored. The next is for [Server.ReceivePDU], which takes
// any event: what is known, forks the room, lacks something or is refused has
// its way there.
//
// They are prepared on the room in memory, which runs ahead of the database by
// what is not yet committed, as events of ours are.
func (s *Server) ReceivePDUs(ctx context.Context, origin matrix.ServerName, room matrix.RoomID, pdus [][]byte) (int, error) {
	rm, err := s.lock(ctx, room)
	if err != nil {
		return 0, nil
	}
	rules, tips := rm.rules, slices.Clone(rm.tips)
	rm.mu.Unlock()
	if rules.EventFormat == matrix.EventFormatID { // whose IDs are names: events could follow each other in a circle
		return 0, nil
	}
	events := s.inRow(rules, room, pdus[:min(len(pdus), maxTogether)])
	if len(events) == 0 || !sameSet(events[0].PrevEvents(), tips) {
		return 0, nil
	}
	servers := []matrix.ServerName{origin}
	for _, e := range events {
		if name := e.Sender().Server(); !slices.Contains(servers, name) {
			servers = append(servers, name)
		}
	}
	if s.aclAllows(ctx, room, servers...) != nil {
		return 0, nil // the one whom it concerns is told by the slow way
	}
	for i, err := range event.VerifySignatures(ctx, s.keys, events) {
		if err != nil {
			events = events[:i]
			break
		}
	}
	n, err := s.receiveInRow(ctx, events)
	if errors.Is(err, storage.ErrConflict) {
		return 0, nil
	}
	return n, err
}

// inRow returns those of the first events that are well formed and each follow
// the one before, and of a kind whose handling does not depend on what is not
// yet committed.
func (s *Server) inRow(rules *matrix.VersionRules, room matrix.RoomID, pdus [][]byte) (events []*event.Event) {
	for i, raw := range pdus {
		e, err := event.ParseUntrusted(raw, rules)
		switch {
		case err != nil || e.RoomID() != room:
			return events
		case !simple(e) || i > 0 && !follows(e, events[i-1]):
			return events
		case s.retraction(raw):
			return events
		}
		events = append(events, e)
	}
	return events
}

// simple reports whether an event changes nothing but the state, and nothing
// that decides who may send the next.
func simple(e *event.Event) bool {
	return e.Type() != "m.room.redaction" && e.Type() != "m.room.server_acl" && e.Type() != "m.room.create"
}

// follows reports whether an event follows one other and nothing else.
func follows(e, other *event.Event) bool {
	return len(e.PrevEvents()) == 1 && e.PrevEvents()[0] == other.ID()
}

// receiveInRow places the first of some events with good signatures that
// follow every tip of the room.
func (s *Server) receiveInRow(ctx context.Context, events []*event.Event) (int, error) {
	if len(events) == 0 {
		return 0, nil
	}
	rm, err := s.lock(ctx, events[0].RoomID())
	if err != nil {
		return 0, err
	}
	d := s.draft(ctx, rm)
	defer d.release()
	if !sameSet(events[0].PrevEvents(), rm.tips) {
		return 0, nil
	}
	auth, n, err := s.fresh(ctx, rm, events)
	if err != nil {
		return 0, err
	}
	for _, e := range events[:n] {
		list := authOf(e, rm, auth)
		if list == nil {
			break
		}
		status, why, err := s.verdict(ctx, d, e, list, &before{state: rm.state, linear: true})
		if err != nil {
			return 0, err
		}
		if why != nil || status != rooms.Accepted {
			break
		}
		p := &placement{Event: &rooms.Event{Event: e, Status: rooms.Accepted}, told: true, history: true}
		auth[e.ID()] = p.Event
		if err := s.placeLinear(ctx, d, p); err != nil {
			return 0, err
		}
	}
	if len(d.placed) == 0 {
		return 0, nil
	}
	return len(d.placed), s.submit(ctx, d)
}

// fresh returns how many of the first events are unknown here, with those of
// their auth events that are stored. Where accepted events lack predecessors
// as deep as these, one of these may be the one, and there are none.
func (s *Server) fresh(ctx context.Context, rm *room, events []*event.Event) (auth map[matrix.EventID]*rooms.Event, n int, err error) {
	ids := idsOf(events)
	var named []matrix.EventID
	depth := events[0].Depth()
	for _, e := range events {
		named = append(named, e.AuthEvents()...)
		depth = min(depth, e.Depth())
	}
	slices.Sort(named)
	named = slices.Compact(named)
	err = s.db.View(ctx, func(r *storage.Reader) error {
		known, err := rooms.Known(ctx, r, ids)
		if err != nil {
			return err
		}
		edges, err := rooms.Edges(ctx, r, rm.nid, depth, 1)
		if err != nil || len(edges) > 0 {
			return err
		}
		redacted, err := rooms.AnyPendingRedaction(ctx, r, rm.nid, ids)
		if err != nil || redacted {
			return err
		}
		for n < len(ids) {
			if _, ok := known[ids[n]]; ok {
				break
			}
			n++
		}
		auth, err = rooms.Events(ctx, r, named)
		return err
	})
	return auth, n, err
}

// authOf returns the auth events that an event names, from those that are
// stored and from the state of the room, or nil where one is in neither.
func authOf(e *event.Event, rm *room, stored map[matrix.EventID]*rooms.Event) []*rooms.Event {
	list := make([]*rooms.Event, 0, len(e.AuthEvents()))
	for _, id := range e.AuthEvents() {
		known := stored[id]
		if known == nil {
			if known = uncommitted(rm, id); known == nil {
				return nil
			}
		}
		list = append(list, known)
	}
	return list
}

// uncommitted returns an event of the state of a room that is on its way to
// the database.
func uncommitted(rm *room, id matrix.EventID) *rooms.Event {
	for _, r := range rm.state {
		if r.id == id && r.ev != nil {
			return &rooms.Event{Event: r.ev, Status: rooms.Accepted}
		}
	}
	return nil
}
