package roomserver

import (
	"context"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// missingLimit is how many events of a gap are asked for at a time. Other
	// servers give no more.
	missingLimit = 20
	// maxGap bounds the events of one gap, and maxGapBytes what they take. A
	// server that was away for long must catch up: behind a gap that stays open
	// the old tips remain, and the next event of ours brings their state back.
	maxGap      = 2000
	maxGapBytes = 16 << 20
)

// gap is the events before one that were told and have no place here.
type gap struct {
	floor int64 // the depth where the room begins for this server
	told  []*event.Event
	have  map[matrix.EventID]bool // told, or known here
	bytes int
}

// open returns the events with predecessors that nobody has told of.
func (g *gap) open() (ends []matrix.EventID) {
	for _, e := range g.told {
		lacks := func(id matrix.EventID) bool { return !g.have[id] }
		if e.Depth() > g.floor && slices.ContainsFunc(e.PrevEvents(), lacks) {
			ends = append(ends, e.ID())
		}
	}
	return ends[max(0, len(ends)-missingLimit):]
}

// fillGap asks for the events between the tips of the room and an event, and
// receives them, the oldest first. What fails leaves a gap, which its caller
// sees.
func (s *Server) fillGap(ctx context.Context, a *arrival) {
	g := &gap{told: []*event.Event{a.Event}, have: map[matrix.EventID]bool{a.ID(): true}}
	helpers, err := s.historians(ctx, a.RoomID(), a.origin)
	if err == nil {
		g.floor, err = s.floor(ctx, a.RoomID())
	}
	if err != nil {
		return
	}
	for len(helpers) > 0 && len(g.told) < maxGap && g.bytes < maxGapBytes {
		ends, err := s.ends(ctx, g)
		if err != nil || len(ends) == 0 {
			break
		}
		more, err := s.askGap(ctx, a, helpers[0], g, ends)
		if err != nil {
			s.log.InfoContext(ctx, "gap not filled", "room_id", a.RoomID(), "destination", helpers[0], "error", err)
		}
		if !more { // perhaps another server has what this one lacks
			helpers = helpers[1:]
		}
	}
	events := s.signed(ctx, g.told[1:])
	for left := inOrder(events, (*event.Event).PrevEvents); len(left) > 0; {
		if n := s.receiveRow(ctx, a, left); n > 0 {
			left = left[n:]
			continue
		}
		if err := s.receive(ctx, &arrival{Event: left[0], errand: a.errand, late: a.late}); err != nil {
			s.log.InfoContext(ctx, "event of a gap refused", "event_id", left[0].ID(), "origin", a.origin, "error", err)
		}
		left = left[1:]
	}
}

// receiveRow stores the first of the events of a gap together, where they
// simply follow the room, and returns how many.
func (s *Server) receiveRow(ctx context.Context, a *arrival, events []*event.Event) int {
	if a.late || a.Rules().EventFormat == matrix.EventFormatID {
		return 0
	}
	row := events[:0:0]
	for _, e := range events[:min(len(events), maxTogether)] {
		if !simple(e) || len(row) > 0 && !follows(e, row[len(row)-1]) {
			break
		}
		row = append(row, e)
	}
	n, err := s.receiveInRow(ctx, row)
	if err != nil {
		return 0 // one by one they may pass, or say why not
	}
	return n
}

// floor returns the depth below which the events of a room are history: that
// of the deepest event behind which events are missing.
func (s *Server) floor(ctx context.Context, room matrix.RoomID) (depth int64, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		row, err := rooms.ByID(ctx, r, room)
		if err != nil {
			return err
		}
		depth, err = rooms.DeepestEdge(ctx, r, row.NID)
		return err
	})
	return depth, err
}

// ends returns where a gap is still open, after a look at what is known here.
func (s *Server) ends(ctx context.Context, g *gap) ([]matrix.EventID, error) {
	var ask []matrix.EventID
	for _, e := range g.told {
		for _, id := range e.PrevEvents() {
			if !g.have[id] {
				ask = append(ask, id)
			}
		}
	}
	known, err := s.known(ctx, ask)
	for id, ref := range known {
		if ref.Status != rooms.Outlier {
			g.have[id] = true
		}
	}
	return g.open(), err
}

// known returns what is stored of some events.
func (s *Server) known(ctx context.Context, ids []matrix.EventID) (found map[matrix.EventID]rooms.Ref, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	err = s.db.View(ctx, func(r *storage.Reader) (err error) {
		found, err = rooms.Known(ctx, r, ids)
		return err
	})
	return found, err
}

// askGap asks a server for what is before the open ends of a gap. more says
// that it told something new.
func (s *Server) askGap(ctx context.Context, a *arrival, helper matrix.ServerName, g *gap, ends []matrix.EventID) (more bool, err error) {
	rm, err := s.lock(ctx, a.RoomID())
	if err != nil {
		return false, err
	}
	tips := slices.Clone(rm.tips)
	rm.mu.Unlock()
	pdus, err := s.remote.MissingEvents(ctx, helper, a.RoomID(), tips, ends, missingLimit, g.floor)
	if err != nil {
		return false, err
	}
	if err := a.take(len(pdus)); err != nil {
		return false, err
	}
	var wanted []matrix.EventID
	for _, e := range g.told {
		wanted = append(wanted, e.PrevEvents()...)
	}
	fresh, err := s.unknown(ctx, g, parse(a.RoomID(), a.Rules(), pdus[:min(len(pdus), missingLimit)]))
	if err != nil {
		return false, err
	}
	for _, e := range connected(wanted, fresh, (*event.Event).PrevEvents) {
		g.have[e.ID()], g.bytes, more = true, g.bytes+len(e.JSON()), true
		g.told = append(g.told, e)
	}
	return more, nil
}

// unknown returns those of some events that were not told before and have no
// place here, nor in the past. What is reached by known events only is no part
// of a gap.
func (s *Server) unknown(ctx context.Context, g *gap, events []*event.Event) ([]*event.Event, error) {
	known, err := s.known(ctx, idsOf(events))
	return slices.DeleteFunc(events, func(e *event.Event) bool {
		ref, ok := known[e.ID()]
		return g.have[e.ID()] || ok && ref.Status != rooms.Outlier
	}), err
}
