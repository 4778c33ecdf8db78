package roomserver

import (
	"context"
	"errors"
	"fmt"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// ReceivePDU takes an event that another server sent. nil says that the event
// is stored, in whatever status; an error that it could not be judged, or is
// not an event. The numbers are the steps of the specification.
//
// https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
func (s *Server) ReceivePDU(ctx context.Context, origin matrix.ServerName, room matrix.RoomID, raw []byte) error {
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
	_, err = s.fetches.do(ctx, string(e.ID()), func() error { return s.receive(ctx, origin, e, fetchDepth, false) })
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

// receive judges an event whose signatures are good and stores it. What it
// refers to and we lack is asked of origin, at most depth events deep.
func (s *Server) receive(ctx context.Context, origin matrix.ServerName, e *event.Event, depth int, strict bool) error {
	missing, err := s.fetchPredecessors(ctx, origin, e, depth)
	if err != nil {
		return fmt.Errorf("predecessors of %s: %w", e.ID(), err)
	}
	auth, err := s.authEvents(ctx, origin, e)
	if err != nil {
		return fmt.Errorf("auth events of %s: %w", e.ID(), err)
	}
	for range maxAttempts {
		err := s.tryReceive(ctx, e, auth, missing, strict)
		if !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("receive %s: %w", e.ID(), storage.ErrConflict)
}

// lockIdle takes the lock of a room with nothing of it in flight, so that the
// database holds every event that one of theirs may follow.
func (s *Server) lockIdle(ctx context.Context, id matrix.RoomID) (*room, error) {
	for {
		rm, err := s.lock(ctx, id)
		if err != nil || rm.inflight == 0 {
			return rm, err
		}
		for rm.inflight > 0 {
			rm.idle.Wait()
		}
		rm.mu.Unlock()
	}
}

func (s *Server) tryReceive(ctx context.Context, e *event.Event, auth []*rooms.Event,
	missing map[matrix.EventID]stateMap, strict bool) error {
	rm, err := s.lockIdle(ctx, e.RoomID())
	if err != nil {
		return err
	}
	d := s.draft(ctx, rm)
	err = s.placeTheirs(ctx, d, e, auth, missing, strict)
	if err == nil {
		err = d.cur.err
	}
	if err != nil || len(d.placed) == 0 {
		if len(d.placed) > 0 {
			rm.drop()
		}
		rm.mu.Unlock()
		return err
	}
	return s.submit(ctx, d)
}

// placeTheirs decides what becomes of an event and adds it to a draft.
//
// A strict caller gives an event that this server sends on: it is told why the
// event is not accepted, and nothing is stored.
func (s *Server) placeTheirs(ctx context.Context, d *draft, e *event.Event, auth []*rooms.Event,
	missing map[matrix.EventID]stateMap, strict bool) error {
	rm := d.rm
	p := &placement{Event: &rooms.Event{Event: e, Outgoing: strict}, history: true}
	known, err := s.stored(ctx, e.ID())
	switch {
	case err != nil:
		return err
	case known != nil && known.Status != rooms.Outlier:
		return nil // somebody was faster
	case known != nil:
		p.known, p.NID = true, known.NID
	}
	before, linear, err := s.stateBefore(ctx, rm, e, missing)
	if err != nil {
		return err
	}
	if !linear {
		p.before, p.base = before, copyState(rm.state)
	}
	status, why, err := s.verdict(ctx, d, e, auth, before, linear)
	switch {
	case err != nil:
		return err
	case why != nil && strict:
		return why
	case why != nil:
		p.Reason = why.Error()
	}
	p.Status = status
	d.edges(e, missing)
	if p.Status != rooms.Accepted {
		d.add(p)
		return nil
	}
	if err := s.redactLate(ctx, d, p); err != nil {
		return err
	}
	if linear {
		return s.placeLinear(ctx, d, p)
	}
	return s.placeFork(ctx, d, p, before)
}

func copyState(state stateMap) stateMap {
	out := make(stateMap, len(state))
	for t, r := range state {
		out[t] = r
	}
	return out
}

// verdict applies steps 4 to 6 and the policy. An event that the policy denies
// is rejected, so that no later event can bring it back.
func (s *Server) verdict(ctx context.Context, d *draft, e *event.Event, auth []*rooms.Event, before stateMap,
	linear bool) (status rooms.Status, why, err error) {
	create := d.cur.createEvent()
	was := d.cur
	if !linear {
		was = s.over(ctx, d.rm, before)
	}
	// The policy comes first: who is refused by both is told what can be changed.
	if why := s.admit(ctx, e, was, policy.SourceFederation, false); why != nil {
		if was.err != nil || matrix.Answer(why).Status >= 500 {
			return 0, nil, why // no verdict: the origin sends it again
		}
		return rooms.Rejected, why, nil
	}
	// 4: allowed by the events that it names.
	if why := s.checkAuthEvents(e, auth, create); why != nil {
		return rooms.Rejected, why, d.cur.err
	}
	// 5: allowed by the state before it.
	if why := eventauth.Check(e, was, create); why != nil {
		return rooms.Rejected, why, errors.Join(was.err, d.cur.err)
	}
	// 6: allowed by the state now.
	if !linear {
		if why := eventauth.Check(e, d.cur, create); why != nil {
			return rooms.SoftFailed, why, d.cur.err
		}
	}
	return rooms.Accepted, nil, errors.Join(was.err, d.cur.err)
}

// checkAuthEvents applies the authorisation rules with the auth events of the
// event as the state.
func (s *Server) checkAuthEvents(e *event.Event, auth []*rooms.Event, create *event.Event) error {
	list := make([]*event.Event, len(auth))
	rejected := make(map[matrix.EventID]bool)
	for i, a := range auth {
		list[i] = a.Event
		rejected[a.ID()] = a.Status == rooms.Rejected
	}
	if err := eventauth.CheckAuthEvents(e, list, func(id matrix.EventID) bool { return rejected[id] }); err != nil {
		return err
	}
	return eventauth.Check(e, eventauth.AuthEvents(list), create)
}

// placeLinear adds an accepted event that follows every tip.
func (s *Server) placeLinear(ctx context.Context, d *draft, p *placement) error {
	e := p.Event.Event
	if e.IsState() {
		p.deltas = []change{d.set(e)}
	}
	d.rm.tips = nextTips(d.rm.tips, e)
	d.add(p)
	return s.redact(ctx, d, e)
}

// placeFork adds an accepted event that does not follow every tip: the state
// of the room becomes the resolution of the states after all of them.
func (s *Server) placeFork(ctx context.Context, d *draft, p *placement, before stateMap) error {
	rm, e := d.rm, p.Event.Event
	after := before
	if e.IsState() {
		after = copyState(before)
		after[e.StateTuple()] = &ref{id: e.ID(), ev: e}
	}
	tips := nextTips(rm.tips, e)
	sets := []stateMap{after}
	if len(tips) > 1 {
		others, err := s.statesOf(ctx, rm, tips[:len(tips)-1])
		if err != nil {
			return err
		}
		sets = append(sets, others...)
	}
	state, err := s.resolve(ctx, rm, sets, e)
	if err != nil {
		return err
	}
	p.deltas = d.become(state)
	rm.tips = tips
	d.add(p)
	return s.redact(ctx, d, e)
}

// statesOf returns the states after tips.
func (s *Server) statesOf(ctx context.Context, rm *room, tips []matrix.EventID) ([]stateMap, error) {
	out := make([]stateMap, len(tips))
	for i, id := range tips {
		var err error
		if out[i], err = s.stateAfter(ctx, rm, id); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// edges notes which predecessors of an event remain unknown.
func (d *draft) edges(e *event.Event, missing map[matrix.EventID]stateMap) {
	unknown := make([]matrix.EventID, 0, len(missing))
	for id := range missing {
		unknown = append(unknown, id)
	}
	id := e.ID()
	d.also(func(ctx context.Context, tx *storage.Tx) error {
		rooms.AddEdges(tx, d.rm.nid, unknown)
		return rooms.RemoveEdges(ctx, tx, d.rm.nid, []matrix.EventID{id})
	})
}
