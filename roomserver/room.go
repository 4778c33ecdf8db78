package roomserver

import (
	"context"
	"fmt"
	"math"
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
	idle     sync.Cond // signals that inflight has come down, or that a turn has come
	inflight int       // guarded by mu: submitted and not yet committed
	wanted   int       // guarded by mu: who waits until nothing is in flight
	turns    int       // guarded by mu: how often one of them had the room
	loaded   bool      // guarded by mu: false makes the next writer read the database

	// last is the last commit that was submitted since the room was read.
	// Guarded by mu.
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
	forks    map[matrix.EventID]fork // the states after tips, where there are several and they are known
	levels   *eventauth.PowerLevels  // of levelsID
	levelsID matrix.EventID
	joined   int64     // how many members are joined
	audience *audience // who of them are of this server
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
	// Who waits for a room at rest comes first, once: else busy writers would
	// keep it waiting for ever. And before a room is read again what is under
	// way must end, so that the database is the truth.
	for turn := rm.turns; rm.wanted > 0 && rm.turns == turn || !rm.loaded && rm.inflight > 0; {
		rm.idle.Wait()
	}
	return s.locked(ctx, rm)
}

// lockIdle takes the lock of a room with nothing of it in flight, so that the
// database holds every event that one of theirs may follow.
func (s *Server) lockIdle(ctx context.Context, id matrix.RoomID) (*room, error) {
	rm := s.cached(id)
	rm.mu.Lock()
	rm.rest()
	return s.locked(ctx, rm)
}

// rest waits until nothing of the room is in flight.
func (rm *room) rest() {
	rm.wanted++
	for rm.inflight > 0 {
		rm.idle.Wait()
	}
	rm.wanted--
	rm.turns++
	rm.idle.Broadcast()
}

// locked reads a room whose lock was just taken, and gives the lock back where
// that fails.
func (s *Server) locked(ctx context.Context, rm *room) (*room, error) {
	read := false
	defer func() {
		if !read {
			rm.mu.Unlock()
		}
	}()
	if err := s.load(ctx, rm); err != nil {
		s.rooms.Invalidate(rm.id)
		return nil, err
	}
	read = true
	return rm, nil
}

func (s *Server) load(ctx context.Context, rm *room) error {
	if rm.loaded {
		return nil
	}
	seen := s.hearing.position()
	err := s.db.View(ctx, func(r *storage.Reader) error {
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
		if err := s.loadAudience(ctx, r, rm, row.NID, seen); err != nil {
			return fmt.Errorf("load audience of %s: %w", rm.id, err)
		}
		return rm.fill(row, state)
	})
	if err == nil {
		s.weigh(rm)
	}
	return err
}

// weigh tells the cache what a room takes, which weighs an entry only when it
// is set.
func (s *Server) weigh(rm *room) {
	entries := len(rm.state) + 1
	for _, f := range rm.forks {
		entries += len(f.state) / 2 // the refs are shared
	}
	weight := uint32(min(entries*entryBytes, math.MaxUint32))
	if was := rm.weight.Load(); weight > was+was/4 || weight < was/2 {
		rm.weight.Store(weight)
		s.rooms.Set(rm.id, rm)
	}
}

func (rm *room) fill(row rooms.Room, state map[event.StateTuple]rooms.Ref) (err error) {
	if rm.rules, err = row.RoomVersion.Rules(); err != nil {
		return err
	}
	rm.nid, rm.version, rm.tips, rm.depth, rm.headPos = row.NID, row.Version, row.Tips, row.Depth, row.HeadPos
	rm.joined = row.Joined
	rm.state = make(map[event.StateTuple]*ref, len(state))
	for tuple, e := range state {
		rm.state[tuple] = &ref{id: e.ID, nid: e.NID}
	}
	rm.levels, rm.levelsID, rm.forks, rm.last = nil, "", nil, nil
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
	v.eachOf(typ, func(string) bool { return true }, fn)
}

// eachOf calls fn with every event of a type whose state key is wanted. It
// reads the database once, not for each event.
func (v *view) eachOf(typ string, wanted func(key string) bool, fn func(*event.Event) bool) {
	var list []*ref
	for t, r := range v.refs {
		if t.Type == typ && wanted(t.StateKey) {
			list = append(list, r)
		}
	}
	found := v.loadAll(list)
	for _, r := range list {
		if e := found[r.id]; e != nil && !fn(e) {
			return
		}
	}
}

// loadAll returns the events of refs.
func (v *view) loadAll(list []*ref) map[matrix.EventID]*event.Event {
	found := make(map[matrix.EventID]*event.Event, len(list))
	if v.err != nil {
		return found
	}
	var missing []matrix.EventID
	for _, r := range list {
		if r.ev != nil {
			found[r.id] = r.ev
		} else {
			missing = append(missing, r.id)
		}
	}
	loaded, err := v.s.eventsByID(v.ctx, missing)
	if err == nil && len(loaded) < len(missing) {
		err = fmt.Errorf("%d events of the state of %s are not stored", len(missing)-len(loaded), v.rm.id)
	}
	if err != nil {
		v.err = err
	}
	for id, e := range loaded {
		found[id] = e
	}
	return found
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
