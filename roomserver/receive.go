package roomserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// receiveTimeout bounds what one event of theirs may take, with all that has
// to be asked for it.
const receiveTimeout = 2 * time.Minute

// ReceivePDU takes an event that another server sent. nil says that the event
// is stored, in whatever status; an error that it could not be judged, or is
// not an event. The numbers are the steps of the specification.
//
// https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
func (s *Server) ReceivePDU(ctx context.Context, origin matrix.ServerName, room matrix.RoomID, raw []byte) error {
	if s.retraction(raw) {
		if done, err := s.receiveRetraction(ctx, room, raw); done || err != nil {
			return err
		}
	}
	rules, err := s.rules(ctx, room)
	if err != nil {
		return err
	}
	// 1 and 3: it is well formed; what its hash does not cover is cut off.
	e, err := event.ParseUntrusted(raw, rules)
	if err != nil {
		return err
	}
	if e.RoomID() != room {
		return matrix.BadJSON("the event is of another room")
	}
	if err := s.aclAllows(ctx, room, origin, e.Sender().Server()); err != nil {
		return err
	}
	if known, err := s.stored(ctx, e.ID()); err != nil || known != nil && known.Status != rooms.Outlier {
		return err
	}
	// 2: it is signed.
	if err := event.VerifySignatures(ctx, s.keys, []*event.Event{e})[0]; err != nil {
		return err
	}
	_, err = s.fetches.do(ctx, string(e.ID()), func() error {
		return s.receive(ctx, &arrival{Event: e, errand: newErrand(origin), fill: true})
	})
	return err
}

// rules returns the rules of a room that this server is in.
func (s *Server) rules(ctx context.Context, id matrix.RoomID) (*matrix.VersionRules, error) {
	rm, err := s.lock(ctx, id)
	if err != nil {
		return nil, err
	}
	defer rm.mu.Unlock()
	return rm.rules, nil
}

// aclAllows refuses servers that the room shuts out.
func (s *Server) aclAllows(ctx context.Context, room matrix.RoomID, servers ...matrix.ServerName) error {
	for _, name := range servers {
		if err := s.AllowedByACL(ctx, room, name); err != nil {
			return err
		}
	}
	return nil
}

// arrival is an event of theirs whose signatures are good, on its way into its
// room.
type arrival struct {
	*event.Event
	*errand
	fill bool // a gap before it may be filled

	// strict says that this server sends the event on: who gave it is told why
	// it is not accepted, and then nothing is stored.
	strict bool
	// entry says that it is the join of a user of ours that another server let
	// in: like strict, but that server sends it on.
	entry bool
	// late says that accepted events which follow it have their places: it is a
	// part of the past and no tip of the room, nor does it change the state.
	late bool

	auth    []*rooms.Event              // that it names
	missing map[matrix.EventID]stateMap // states after predecessors that have no place here
}

// receive judges an event and stores it. What it refers to and we lack is
// asked of the server that sent it.
func (s *Server) receive(ctx context.Context, a *arrival) (err error) {
	ctx, cancel := context.WithTimeout(ctx, receiveTimeout)
	defer cancel()
	if !a.late {
		if a.late, err = s.isLate(ctx, a); err != nil {
			return err
		}
	}
	if a.missing == nil {
		if a.missing, err = s.fetchPredecessors(ctx, a); err != nil {
			return fmt.Errorf("predecessors of %s: %w", a.ID(), err)
		}
	}
	if a.auth, err = s.authEvents(ctx, a.errand, a.Event); err != nil {
		return fmt.Errorf("auth events of %s: %w", a.ID(), err)
	}
	for range maxAttempts {
		err := s.tryReceive(ctx, a)
		if !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("receive %s: %w", a.ID(), storage.ErrConflict)
}

func (s *Server) tryReceive(ctx context.Context, a *arrival) error {
	rm, err := s.lockIdle(ctx, a.RoomID())
	if err != nil {
		return err
	}
	d := s.draft(ctx, rm)
	defer d.release()
	if err := s.placeTheirs(ctx, d, a); err != nil {
		return err
	}
	if d.cur.err != nil {
		return d.cur.err
	}
	if len(d.placed) == 0 {
		return nil
	}
	forked := len(rm.tips) > mergeAbove
	if err := s.submit(ctx, d); err != nil {
		return err
	}
	if forked {
		s.mergeTips(ctx, rm.id)
	}
	return nil
}

// placeTheirs decides what becomes of an event and adds it to a draft.
func (s *Server) placeTheirs(ctx context.Context, d *draft, a *arrival) error {
	rm := d.rm
	p := &placement{Event: &rooms.Event{Event: a.Event, Outgoing: a.strict && !a.entry}, told: true, history: true}
	if done, err := s.meetKnown(ctx, d, a, p); done || err != nil {
		return err
	}
	before, err := s.stateBefore(ctx, rm, p.Event.Event, a.missing)
	if err != nil {
		return err
	}
	if own := rm.state[a.StateTuple()]; a.IsState() && own != nil && own.id == a.ID() {
		a.late = true // the room was told of what follows it
	}
	if !a.late { // what follows it may have come since it was asked for
		if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
			a.late, err = rooms.IsEdge(ctx, r, rm.nid, a.ID())
			return err
		}); err != nil {
			return err
		}
	}
	before.linear = before.linear && !a.late
	status, why, err := s.verdict(ctx, d, p.Event.Event, a.auth, before)
	switch {
	case err != nil:
		return err
	case why != nil && a.strict:
		return why
	case why != nil:
		p.Reason = cut(why.Error(), maxWhy)
	}
	p.Status = status
	if !before.linear {
		p.past = rm.keepPast(before)
	}
	if status != rooms.Accepted {
		d.reached(a.ID())
		d.add(p)
		return nil
	}
	d.edges(a)
	if err := s.redactLate(ctx, d, p); err != nil {
		return err
	}
	switch {
	case before.linear:
		return s.placeLinear(ctx, d, p)
	case a.late:
		d.add(p)
		return s.redact(ctx, d, p.Event.Event)
	}
	return s.placeFork(ctx, d, p, before.state)
}

// maxWhy bounds the stored reason why an event was refused, in bytes.
const maxWhy = 500

func cut(text string, limit int) string { return text[:min(len(text), limit)] }

// meetKnown looks whether the event is known already. One that has its place
// is done. Of one that is known as an outlier the whole copy is kept: a copy
// whose hash is wrong must not stand in the way of the true one.
func (s *Server) meetKnown(ctx context.Context, d *draft, a *arrival, p *placement) (done bool, err error) {
	known, err := s.stored(ctx, a.ID())
	switch {
	case err != nil || known == nil:
		return false, err
	case known.RoomNID != d.rm.nid:
		return false, matrix.BadJSON("the event ID is that of an event of another room")
	case known.Status == rooms.Outlier:
		p.known, p.NID, p.RedactedBy = true, known.NID, known.RedactedBy
		if known.RedactedBy != "" || a.HashMismatch() || known.Rules().EventFormat == matrix.EventFormatID {
			p.Event.Event = known.Event
		}
		return false, nil
	case a.strict && known.Status != rooms.Accepted: // it must not pass by being known
		return true, matrix.Forbidden("the event was refused: %s", known.Reason)
	}
	return true, nil // somebody was faster
}
