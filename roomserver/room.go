package roomserver

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// room is an active room: what the next event is prepared on. It runs ahead of
// the database by what was submitted and is not yet committed.
type room struct {
	id     matrix.RoomID
	weight atomic.Uint32 // bytes, for the cache

	mu       sync.Mutex
	idle     sync.Cond // signals that inflight has come down
	inflight int       // guarded by mu: submitted and not yet committed
	loaded   bool      // guarded by mu: false makes the next writer read the database

	// last is the last commit that was submitted. Guarded by mu.
	last *storage.Commit

	// All guarded by mu, but for the numbers in refs: those belong to the
	// committer.
	nid      int64
	rules    *matrix.VersionRules
	version  int64
	tips     []matrix.EventID
	depth    int64
	headPos  storage.Position
	state    map[event.StateTuple]*ref
	levels   *eventauth.PowerLevels // of levelsID
	levelsID matrix.EventID
}

// ref is an event of the state. nid is set by the committer, in the order of
// commits, and read by nobody else.
type ref struct {
	id  matrix.EventID
	nid int64
	ev  *event.Event // until it is committed; then the cache has it or the database
}

// entryBytes is about what one entry of the state takes in memory.
const entryBytes = 160

// cached returns the room of an ID, which may not be loaded yet and need not
// exist.
func (s *Server) cached(id matrix.RoomID) *room {
	rm, _ := s.rooms.ComputeIfAbsent(id, func() (*room, bool) {
		rm := &room{id: id}
		rm.idle.L = &rm.mu
		rm.weight.Store(entryBytes)
		return rm, false
	})
	return rm
}

// lock takes the lock of a room and makes sure that it is loaded. A room that
// does not exist, or that is known by an invitation alone, is M_NOT_FOUND.
func (s *Server) lock(ctx context.Context, id matrix.RoomID) (*room, error) {
	rm := s.cached(id)
	rm.mu.Lock()
	if rm.loaded {
		return rm, nil
	}
	for rm.inflight > 0 { // what is under way must end before the database is the truth again
		rm.idle.Wait()
	}
	if err := s.load(ctx, rm); err != nil {
		rm.mu.Unlock()
		s.rooms.Invalidate(id)
		return nil, err
	}
	return rm, nil
}

func (s *Server) load(ctx context.Context, rm *room) error {
	if rm.loaded {
		return nil
	}
	return s.db.View(ctx, func(r *storage.Reader) error {
		row, err := rooms.ByID(ctx, r, rm.id)
		if err != nil {
			return err
		}
		if row.Version == 0 {
			return matrix.NotFound("this server is not in the room")
		}
		state, err := rooms.CurrentState(ctx, r, row.NID)
		if err != nil {
			return fmt.Errorf("load state of %s: %w", rm.id, err)
		}
		return rm.fill(row, state)
	})
}

func (rm *room) fill(row rooms.Room, state map[event.StateTuple]rooms.Ref) (err error) {
	if rm.rules, err = row.RoomVersion.Rules(); err != nil {
		return err
	}
	rm.nid, rm.version, rm.tips, rm.depth, rm.headPos = row.NID, row.Version, row.Tips, row.Depth, row.HeadPos
	rm.state = make(map[event.StateTuple]*ref, len(state))
	for tuple, e := range state {
		rm.state[tuple] = &ref{id: e.ID, nid: e.NID}
	}
	rm.levels, rm.levelsID = nil, ""
	rm.weight.Store(uint32(len(state)+1) * entryBytes)
	rm.loaded = true
	return nil
}

// drop makes the next writer read the room from the database.
func (rm *room) drop() { rm.loaded = false }

// view is a state of a room as the rules and the policy read it. An error of
// the database is kept in err: the reader of a view must look at it before it
// believes an answer.
type view struct {
	ctx    context.Context
	s      *Server
	rm     *room
	refs   map[event.StateTuple]*ref
	locked bool // the lock of the room is held: its parsed levels may be used
	create *event.Event
	err    error
}

// current returns the view of the state that the next event is prepared on.
// The caller holds the lock of the room as long as it uses the view.
func (s *Server) current(ctx context.Context, rm *room) *view {
	return &view{ctx: ctx, s: s, rm: rm, refs: rm.state, locked: true}
}

// id returns the ID of an event of the state, "" where there is none.
func (v *view) id(t event.StateTuple) matrix.EventID {
	if r := v.refs[t]; r != nil {
		return r.id
	}
	return ""
}

// Event returns an event of the state, or nil.
func (v *view) Event(typ, key string) *event.Event {
	r := v.refs[event.StateTuple{Type: typ, StateKey: key}]
	if r == nil {
		return nil
	}
	return v.load(r)
}

// load returns the event of a ref.
func (v *view) load(r *ref) *event.Event {
	if r.ev != nil {
		return r.ev
	}
	if v.err != nil {
		return nil
	}
	e, err := v.s.event(v.ctx, r.id)
	if err != nil {
		v.err = err
	}
	return e
}

// Each calls fn with every event of a type in the state.
func (v *view) Each(typ string, fn func(*event.Event) bool) {
	for t, r := range v.refs {
		if t.Type != typ {
			continue
		}
		if e := v.load(r); e != nil && !fn(e) {
			return
		}
	}
}

// PowerLevels returns the levels of the state, parsed once for each event
// that sets them.
func (v *view) PowerLevels() (*eventauth.PowerLevels, error) {
	id := v.id(event.StateTuple{Type: "m.room.power_levels"})
	if v.locked && v.rm.levels != nil && v.rm.levelsID == id {
		return v.rm.levels, nil
	}
	levels, err := eventauth.EffectivePowerLevels(v.createEvent(), v.Event("m.room.power_levels", ""))
	if v.err != nil {
		return nil, v.err
	}
	if err == nil && v.locked {
		v.rm.levels, v.rm.levelsID = levels, id
	}
	return levels, err
}

// createEvent returns the create event of the room, nil before there is one.
func (v *view) createEvent() *event.Event {
	if v.create == nil {
		v.create = v.Event("m.room.create", "")
	}
	return v.create
}

// event returns a stored event by its ID, whatever became of it.
func (s *Server) event(ctx context.Context, id matrix.EventID) (*event.Event, error) {
	if e, ok := s.events.GetIfPresent(id); ok {
		return e, nil
	}
	found, err := s.eventsByID(ctx, []matrix.EventID{id})
	if err != nil {
		return nil, err
	}
	if found[id] == nil {
		return nil, fmt.Errorf("event %s of the state is not stored", id)
	}
	return found[id], nil
}

// eventsByID returns those of the events that are stored.
func (s *Server) eventsByID(ctx context.Context, ids []matrix.EventID) (map[matrix.EventID]*event.Event, error) {
	found := make(map[matrix.EventID]*event.Event, len(ids))
	var missing []matrix.EventID
	for _, id := range ids {
		if e, ok := s.events.GetIfPresent(id); ok {
			found[id] = e
		} else {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	err := s.db.View(ctx, func(r *storage.Reader) error {
		stored, err := rooms.Events(ctx, r, missing)
		for id, e := range stored {
			found[id] = e.Event
			s.events.Set(id, e.Event)
		}
		return err
	})
	return found, err
}
