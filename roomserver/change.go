package roomserver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/policy"
	"beffroi/storage"
)

const (
	// maxAttempts bounds how often a change is prepared anew because others
	// were faster. A room that beats it is busier than any we have measured.
	maxAttempts = 8
	// maxPrevEvents bounds the tips of a room: so many may one event follow, and
	// every event of ours follows all of them.
	maxPrevEvents = event.MaxPrevEvents
)

// change prepares events on the room as every earlier change leaves it, and
// commits them. prepare may run several times.
func (s *Server) change(ctx context.Context, id matrix.RoomID, prepare func(ctx context.Context, d *draft) error) error {
	for range maxAttempts {
		err := s.tryChange(ctx, id, prepare)
		if !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("change %s: %w", id, storage.ErrConflict)
}

func (s *Server) tryChange(ctx context.Context, id matrix.RoomID, prepare func(ctx context.Context, d *draft) error) error {
	rm, err := s.lock(ctx, id)
	if err != nil {
		return err
	}
	d := s.draft(ctx, rm)
	defer d.release()
	if err := prepare(ctx, d); err != nil {
		return err
	}
	if d.cur.err != nil {
		return d.cur.err
	}
	if len(d.placed) == 0 {
		last := rm.last
		d.release()
		return durable(last)
	}
	return s.submit(ctx, d)
}

func (s *Server) draft(ctx context.Context, rm *room) *draft {
	return &draft{rm: rm, cur: s.current(ctx, rm), from: rm.version, fromTips: slices.Clone(rm.tips)}
}

// durable waits for the last commit of a room. An answer that rests on the room
// in memory, such as "you are in it already", must not be given before.
func durable(last *storage.Commit) error {
	if last == nil {
		return nil
	}
	if _, err := last.Wait(); err != nil {
		return storage.ErrConflict // what the answer rested on is gone
	}
	return nil
}

// submit commits drafts of different rooms, all or none. It is called with the
// locks of the rooms and gives them back while the commit is under way, so that
// the next drafts are prepared on top of these.
func (s *Server) submit(ctx context.Context, drafts ...*draft) error {
	for _, d := range drafts {
		if err := s.notify(ctx, d); err != nil {
			return err
		}
	}
	writes := make([]func(context.Context, *storage.Tx) error, len(drafts))
	for i, d := range drafts {
		rm := d.rm
		rm.inflight++
		writes[i] = d.commit(snapshot{rm.version, rm.depth, slices.Clone(rm.tips)})
	}
	// Once submitted it is done whether or not the caller waits: others build on it.
	commit := s.db.Submit(context.WithoutCancel(ctx), func(ctx context.Context, tx *storage.Tx) error {
		for _, write := range writes {
			if err := write(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
	for _, d := range drafts {
		d.rm.last = commit
		s.weigh(d.rm)
		d.released = true
		d.rm.mu.Unlock()
	}
	_, err := commit.Wait()
	for _, d := range drafts {
		s.settle(d, err)
	}
	return err
}

// settle ends a draft whose commit is over.
func (s *Server) settle(d *draft, err error) {
	rm := d.rm
	rm.mu.Lock()
	defer rm.mu.Unlock()
	rm.inflight--
	if err != nil {
		rm.drop()
	} else {
		s.keep(d)
	}
	rm.idle.Broadcast()
}

// keep puts what was committed into the cache of events.
func (s *Server) keep(d *draft) {
	for _, p := range d.placed {
		s.events.Set(p.ID(), p.Event.Event)
		if p.own != nil {
			p.own.ev = nil // from here on the cache or the database has it
		}
		for _, c := range p.deltas {
			if c.new != nil {
				c.new.ev = nil
			}
		}
	}
	for _, e := range d.replaced {
		s.events.Set(e.ID(), e)
	}
}

// build makes an event of a local user on top of the room, judges it and adds
// it to the draft.
func (s *Server) build(ctx context.Context, d *draft, p event.Proto, creating bool) (*event.Event, error) {
	e, err := s.prepare(ctx, d, p, creating)
	if err != nil {
		return nil, err
	}
	d.place(e)
	return e, s.redact(ctx, d, e)
}

// prepare makes an event of a local user on top of the room and judges it.
func (s *Server) prepare(ctx context.Context, d *draft, p event.Proto, creating bool) (*event.Event, error) {
	d.cur.follow(&p)
	if p.OriginServerTS == 0 {
		p.OriginServerTS = s.nowMS()
	}
	e, err := p.Build(d.rm.rules, s.key)
	if err != nil {
		return nil, err
	}
	if err := s.welcome(ctx, d, e); err != nil {
		return nil, err
	}
	return e, s.judge(ctx, d, e, policy.SourceClient, creating)
}

// follow gives an event that is about to be built its place after the tips of
// the room, and the auth events that the state has for it.
func (v *view) follow(p *event.Proto) {
	p.RoomID, p.PrevEvents, p.Depth = v.rm.id, slices.Clone(v.rm.tips), min(v.rm.depth+1, v.rm.rules.MaxDepth)
	p.AuthEvents = nil
	for _, tuple := range eventauth.NeededFor(eventauth.SubjectOfProto(p), v.rm.rules) {
		if id := v.id(tuple); id != "" {
			p.AuthEvents = append(p.AuthEvents, id)
		}
	}
}

// judge asks the policy, then the authorisation rules, about an event on the
// state that a draft has reached.
func (s *Server) judge(ctx context.Context, d *draft, e *event.Event, source policy.Source, creating bool) error {
	if err := s.admit(ctx, e, d.cur, source, creating); err != nil {
		return err
	}
	err := eventauth.Check(e, d.cur, d.cur.createEvent())
	if d.cur.err != nil {
		return d.cur.err
	}
	return err
}
