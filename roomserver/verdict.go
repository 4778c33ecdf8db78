package roomserver

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// verdict applies steps 4 to 6 and the policy. An event that the policy denies
// is rejected, so that no later event can bring it back.
func (s *Server) verdict(ctx context.Context, d *draft, e *event.Event, auth []*rooms.Event, b *before) (status rooms.Status, why, err error) {
	create := d.cur.createEvent()
	if create == nil {
		return 0, nil, errors.Join(d.cur.err, errors.New("the room has no create event")) // it has one: fail closed
	}
	was := d.cur
	if !b.linear {
		was = s.over(ctx, d.rm, b.state)
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
	if !b.linear {
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
	d.rm.follow(nextTips(d.rm.tips, e.PrevEvents(), e.ID()))
	d.add(p)
	return s.redact(ctx, d, e)
}

// maxFollowed bounds the refused events that are passed through to find the
// tips that an event follows.
const maxFollowed = 500

// followed returns the events that an event follows: its predecessors, and
// those of predecessors that were refused when they came, which are no tips.
func (s *Server) followed(ctx context.Context, rm *room, e *event.Event) ([]matrix.EventID, error) {
	all := slices.Clone(e.PrevEvents())
	level := all
	for len(level) > 0 && len(all) < maxFollowed {
		var ask []matrix.EventID
		for _, id := range level {
			if !slices.Contains(rm.tips, id) {
				ask = append(ask, id)
			}
		}
		level = nil
		list, _, err := s.storedList(ctx, ask)
		if err != nil {
			return nil, err
		}
		for _, refused := range list {
			if refused.Status != rooms.SoftFailed && refused.Status != rooms.Rejected {
				continue
			}
			for _, id := range refused.PrevEvents() {
				if !slices.Contains(all, id) {
					all, level = append(all, id), append(level, id)
				}
			}
		}
	}
	return all, nil
}

// placeFork adds an accepted event that does not follow every tip: the state
// of the room becomes the resolution of the states after all of them.
func (s *Server) placeFork(ctx context.Context, d *draft, p *placement, before stateMap) error {
	rm, e := d.rm, p.Event.Event
	behind, err := s.followed(ctx, rm, e)
	if err != nil {
		return err
	}
	tips := nextTips(rm.tips, behind, e.ID())
	if len(tips) > maxPrevEvents && len(tips) > len(rm.tips) {
		return errTooForked
	}
	after := before
	if e.IsState() {
		p.own = &ref{id: e.ID(), ev: e}
		after = maps.Clone(before)
		after[e.StateTuple()] = p.own
	}
	sets := []stateMap{after}
	for _, id := range tips[:len(tips)-1] {
		f, err := s.stateAfter(ctx, rm, id)
		if err != nil {
			return err
		}
		rm.remember(id, f)
		sets = append(sets, f.state)
	}
	state, err := s.resolve(ctx, rm, sets, e)
	if err != nil {
		return err
	}
	p.deltas = d.become(state)
	d.moved = true
	rm.follow(tips)
	if len(tips) > 1 {
		rm.remember(e.ID(), fork{state: after, event: p.Event})
	}
	d.add(p)
	return s.redact(ctx, d, e)
}

// errTooForked refuses an event that would leave the room with more tips than
// one event can follow. It is for a moment: the next event of anybody ties
// some of them together.
var errTooForked = matrix.LimitExceeded(10 * time.Second)

// edges notes which predecessors of an accepted event remain unknown, and that
// it is known itself.
func (d *draft) edges(a *arrival) {
	unknown := make([]matrix.EventID, 0, len(a.missing))
	for id := range a.missing {
		unknown = append(unknown, id)
	}
	depth := a.Depth()
	d.also(func(ctx context.Context, tx *storage.Tx) error { return addUnplaced(ctx, tx, d.rm.nid, unknown, depth) })
	d.reached(a.ID())
}

// reached notes that an event has its place.
func (d *draft) reached(id matrix.EventID) {
	d.also(func(ctx context.Context, tx *storage.Tx) error {
		return rooms.RemoveEdges(ctx, tx, d.rm.nid, []matrix.EventID{id})
	})
}

// addUnplaced adds those of some events that have no place in their room, nor
// in its past, to its edges.
func addUnplaced(ctx context.Context, tx *storage.Tx, roomNID int64, ids []matrix.EventID, depth int64) error {
	if len(ids) == 0 {
		return nil
	}
	r, err := tx.Snapshot(ctx)
	if err != nil {
		return err
	}
	known, err := rooms.Known(ctx, r, ids)
	if err != nil {
		return err
	}
	var unknown []matrix.EventID
	for _, id := range ids {
		if ref, ok := known[id]; !ok || ref.Status == rooms.Outlier {
			unknown = append(unknown, id)
		}
	}
	rooms.AddEdges(tx, roomNID, unknown, depth)
	return nil
}
