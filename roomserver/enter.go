package roomserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// told is a room as the server tells it that let us in.
type told struct {
	helper matrix.ServerName
	join   *event.Event
	create *event.Event
	events []*event.Event // of the state and its auth chain, with good signatures
	state  map[matrix.EventID]bool
}

// enter makes the room that another server told of one of ours: every event is
// checked, the policy is asked about every member, and all is one commit.
func (s *Server) enter(ctx context.Context, helper matrix.ServerName, join *event.Event, answer *JoinAnswer) error {
	t, err := s.readTold(ctx, helper, join, answer)
	if err != nil {
		return err
	}
	for range maxAttempts {
		if err = s.tryEnter(ctx, t); !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("enter %s: %w", join.RoomID(), err)
}

func (s *Server) readTold(ctx context.Context, helper matrix.ServerName, join *event.Event, answer *JoinAnswer) (*told, error) {
	room, rules := join.RoomID(), join.Rules()
	t := &told{helper: helper, join: join, state: make(map[matrix.EventID]bool, len(answer.State))}
	pdus := append(append(make([][]byte, 0, len(answer.State)+len(answer.AuthChain)), answer.State...), answer.AuthChain...)
	keys := make(map[event.StateTuple]matrix.EventID, len(answer.State))
	events := make([]*event.Event, 0, len(pdus))
	seen := make(map[matrix.EventID]bool, len(pdus))
	for i, raw := range pdus {
		e, err := event.ParseUntrusted(raw, rules)
		if err != nil || e.RoomID() != room {
			continue
		}
		if i < len(answer.State) && e.IsState() {
			if id, again := keys[e.StateTuple()]; again && id != e.ID() {
				return nil, matrix.Forbidden("the other server told two events of one state")
			}
			keys[e.StateTuple()], t.state[e.ID()] = e.ID(), true
		}
		if !seen[e.ID()] {
			seen[e.ID()] = true
			events = append(events, e)
		}
	}
	t.events = s.signed(ctx, events)
	if t.create = createOf(t.events); t.create == nil {
		return nil, matrix.Forbidden("the other server told no create event of the room")
	}
	return t, nil
}

// createOf returns the create event among events, nil if there is not just one.
func createOf(events []*event.Event) (create *event.Event) {
	for _, e := range events {
		if e.IsStateKey("m.room.create", "") {
			if create != nil {
				return nil
			}
			create = e
		}
	}
	return create
}

// judgeTold judges what was told beside what is known of it: an event that was
// refused before stays refused.
func (s *Server) judgeTold(ctx context.Context, t *told) ([]*rooms.Event, error) {
	var known map[matrix.EventID]*rooms.Event
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		_, err := rooms.ByID(ctx, r, t.join.RoomID())
		if matrix.IsCode(err, "M_NOT_FOUND") {
			return nil
		}
		if err == nil {
			known, err = rooms.Events(ctx, r, idsOf(t.events))
		}
		return err
	}); err != nil {
		return nil, err
	}
	return s.judgeOutliers(t.events, known, t.create), nil
}

// stateIn returns the state that was told, by those of the judged events that
// were not rejected.
func (t *told) stateIn(judged []*rooms.Event) stateMap {
	state := make(stateMap, len(t.state))
	for _, e := range judged {
		if t.state[e.ID()] && e.Status != rooms.Rejected {
			state[e.StateTuple()] = &ref{id: e.ID(), nid: e.NID, ev: e.Event}
		}
	}
	return state
}

func (s *Server) tryEnter(ctx context.Context, t *told) error {
	judged, err := s.judgeTold(ctx, t)
	if err != nil {
		return err
	}
	rm, resident, err := s.lockNew(ctx, t.join.RoomID(), t.join.Rules())
	if err != nil {
		return err
	}
	d := s.draft(ctx, rm)
	defer d.release()
	if resident {
		d.release()
		return s.enterAgain(ctx, t, judged)
	}
	d.moved = true
	d.outliers = judged
	if err := s.placeEntry(ctx, d, t, judged); err != nil {
		return err
	}
	return s.submit(ctx, d)
}

// enterAgain adds the join of a user to a room that another user of this
// server has entered meanwhile. What was told is the state before it.
func (s *Server) enterAgain(ctx context.Context, t *told, judged []*rooms.Event) error {
	var row rooms.Room
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		row, err = rooms.ByID(ctx, r, t.join.RoomID())
		return err
	}); err != nil {
		return err
	}
	if err := s.appendOutliers(ctx, row.NID, judged); err != nil {
		return err
	}
	unknown, err := s.unplaced(ctx, t.join.PrevEvents())
	if err != nil {
		return err
	}
	missing := make(map[matrix.EventID]stateMap, len(unknown))
	if len(unknown) > 0 {
		state := t.stateIn(judged)
		for _, id := range unknown {
			missing[id] = state
		}
		told := s.over(ctx, s.cached(row.ID), state)
		if err := s.admitMembers(ctx, told, judged); err != nil {
			return err
		}
	}
	return s.receive(ctx, &arrival{Event: t.join, errand: newErrand(t.helper), strict: true, entry: true, missing: missing})
}

// lockNew takes the lock of a room that this server enters, with nothing of it
// in flight: one that it does not know, knows by an invitation, or has left.
// resident says that it is in it already.
func (s *Server) lockNew(ctx context.Context, id matrix.RoomID, rules *matrix.VersionRules) (rm *room, resident bool, err error) {
	rm = s.cached(id)
	rm.mu.Lock()
	rm.rest()
	ready := false
	defer func() {
		if !ready {
			rm.drop()
			rm.mu.Unlock()
		}
	}()
	rm.drop()
	switch err = s.load(ctx, rm); {
	case matrix.IsCode(err, "M_NOT_FOUND"):
		rm.begin(rules, newAudience(s.hearing.position()))
		ready = true
		return rm, false, nil
	case err != nil:
		return nil, false, err
	case rm.rules.Version != rules.Version:
		return nil, false, matrix.Forbidden("the room has version %s, not %s", rm.rules.Version, rules.Version)
	}
	err = s.db.View(ctx, func(r *storage.Reader) (err error) {
		resident, err = rooms.ServerJoined(ctx, r, rm.nid, s.self)
		return err
	})
	ready = err == nil
	return rm, resident, err
}

// placeEntry makes the state that another server told, and our join on top of
// it, the state of the room.
func (s *Server) placeEntry(ctx context.Context, d *draft, t *told, judged []*rooms.Event) error {
	rm, join := d.rm, t.join
	state := t.stateIn(judged)
	was := s.over(ctx, rm, state)
	create := was.createEvent()
	if create == nil {
		return matrix.Forbidden("the state that the other server told has no create event")
	}
	if err := s.admitMembers(ctx, was, judged); err != nil {
		return err
	}
	if err := s.admit(ctx, join, was, policy.SourceClient, false); err != nil {
		return err
	}
	if err := eventauth.Check(join, was, create); err != nil {
		return err
	}
	if was.err != nil {
		return was.err
	}
	p := &placement{Event: &rooms.Event{Event: join, Status: rooms.Accepted}, told: true, history: d.from > 0}
	known, err := s.stored(ctx, join.ID())
	if err != nil {
		return err
	}
	if known != nil { // by the state that came with the join of another
		p.known, p.NID = true, known.NID
	}
	if d.from > 0 { // what the room was when we left is not what it was before the join
		p.past = rm.keepPast(&before{state: maps.Clone(state)})
	}
	state[join.StateTuple()] = &ref{id: join.ID(), ev: join}
	after, tips, err := s.withOurs(ctx, rm, state, judged, join)
	if err != nil {
		return err
	}
	p.deltas = d.become(after)
	rm.follow(append(tips, join.ID()))
	d.add(p)
	d.also(func(ctx context.Context, tx *storage.Tx) error {
		return addUnplaced(ctx, tx, rm.nid, join.PrevEvents(), join.Depth())
	})
	d.also(func(ctx context.Context, tx *storage.Tx) error { return rooms.SettleMembers(ctx, tx, rm.nid, p.Pos) })
	return d.cur.err
}

// withOurs returns the state after our join and what users of this server did
// last, when it was in the room before, and of which the other server had not
// heard. Who has left a room must not be in it again by that. It also returns
// those events: they are tips beside the join.
func (s *Server) withOurs(ctx context.Context, rm *room, state stateMap, judged []*rooms.Event, join *event.Event) (stateMap, []matrix.EventID, error) {
	list, _, err := s.storedList(ctx, rm.tips)
	if err != nil {
		return nil, nil, err
	}
	var tips []matrix.EventID
	sets := []stateMap{state}
	for _, e := range list {
		if e.Type() != "m.room.member" || !s.local(e.Sender()) || e.Status != rooms.Accepted {
			continue
		}
		if r := state[e.StateTuple()]; r == nil || !slices.Contains(e.AuthEvents(), r.id) {
			continue // it is known there, or what came after it
		}
		f, err := s.stateAfter(ctx, rm, e.ID())
		if err != nil {
			return nil, nil, err
		}
		tips, sets = append(tips, e.ID()), append(sets, f.state)
	}
	if len(tips) == 0 {
		return state, nil, nil
	}
	unsaved := make([]*event.Event, 0, len(judged)+1)
	for _, e := range judged {
		if e.NID == 0 {
			unsaved = append(unsaved, e.Event)
		}
	}
	after, err := s.resolve(ctx, rm, sets, append(unsaved, join)...)
	return after, tips, err
}

// admitMembers refuses a room whose state holds accounts that the policy does
// not allow there.
func (s *Server) admitMembers(ctx context.Context, state *view, events []*rooms.Event) error {
	find := s.finder(ctx, events)
	for _, e := range events {
		if !present(e.Event) {
			continue
		}
		if r := state.refs[e.StateTuple()]; r == nil || r.id != e.ID() {
			continue
		}
		if err := s.admitTold(ctx, e.Event, state, find); err != nil {
			return err
		}
	}
	return state.err
}
