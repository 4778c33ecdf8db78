package roomserver

import (
	"context"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// draft is what one commit adds to a room. While it is made the room in memory
// already moves on, so that the next draft can be made on top of it.
type draft struct {
	rm       *room
	cur      *view // the state as the draft leaves it so far
	from     int64 // version before; 0 makes the room
	fromTips []matrix.EventID
	moved    bool // the room in memory is no longer what it was
	released bool // the lock was given back

	outliers        []*rooms.Event
	placed          []*placement
	joined, invited int64 // by how much the counts change
	more            []func(ctx context.Context, tx *storage.Tx) error
	replaced        []*event.Event // redacted forms of stored events
}

// placement is an event that gets a place in the room.
type placement struct {
	*rooms.Event
	known   bool  // as an outlier
	told    bool  // others have it: it may become known while it is written
	past    *past // how the state before it is kept, nil where it is that of the room
	own     *ref  // of a state event of a fork, which may not be in the state of the room
	deltas  []change
	history bool // the deltas are written for those who ask for the state of then
}

// change is one key of the state of the room that an event changes.
type change struct {
	event.StateTuple
	old, new *ref         // nil: none
	member   *event.Event // what the new membership is, for m.room.member
}

// release gives the lock of the room back, unless a submit did. A room that
// moved is read again: the database will not follow.
func (d *draft) release() {
	if d.released {
		return
	}
	d.released = true
	if d.moved {
		d.rm.drop()
	}
	d.rm.mu.Unlock()
}

// also adds something to the commit, after the events.
func (d *draft) also(fn func(ctx context.Context, tx *storage.Tx) error) { d.more = append(d.more, fn) }

// place adds an event of ours, which follows every tip of the room and was
// judged on its current state.
func (d *draft) place(e *event.Event) {
	rm := d.rm
	p := &placement{Event: &rooms.Event{Event: e, Status: rooms.Accepted, Outgoing: true}, history: true}
	if e.IsState() {
		p.deltas = []change{d.set(e)}
	}
	rm.follow(nextTips(rm.tips, e.PrevEvents(), e.ID()))
	d.add(p)
}

// follow makes other events the tips of the room. Of the states after tips
// only those of tips are kept, and only while there are several.
func (rm *room) follow(tips []matrix.EventID) {
	rm.tips = tips
	if len(tips) < 2 {
		rm.forks = nil
		return
	}
	for id := range rm.forks {
		if !slices.Contains(tips, id) {
			delete(rm.forks, id)
		}
	}
}

// set makes an event the state of its key and returns the change.
func (d *draft) set(e *event.Event) change {
	d.moved = true
	tuple := e.StateTuple()
	c := change{StateTuple: tuple, old: d.rm.state[tuple], new: &ref{id: e.ID(), ev: e}}
	if tuple.Type == "m.room.member" {
		var was *event.Event
		if c.old != nil {
			was = d.cur.load(c.old)
		}
		d.recount(was, e)
		c.member = e
	}
	d.rm.state[tuple] = c.new
	return c
}

// recount moves the numbers of members by a change of a membership.
func (d *draft) recount(was, is *event.Event) {
	if was != nil {
		d.tally(was.Membership(), -1)
	}
	if is != nil {
		d.tally(is.Membership(), 1)
	}
	d.rm.audience.moved(d.cur.s.self, was, is)
}

func (d *draft) tally(membership string, by int64) {
	switch membership {
	case "join":
		d.joined += by
		d.rm.joined += by
	case "invite":
		d.invited += by
	}
}

// add puts a placement at the end of the room.
func (d *draft) add(p *placement) {
	d.moved = true
	d.rm.version++
	if p.Status == rooms.Accepted { // others must not push our events down
		d.rm.depth = max(d.rm.depth, p.Depth())
	}
	d.placed = append(d.placed, p)
}

// nextTips returns the forward extremities after an event that was accepted
// and follows others.
func nextTips(tips, followed []matrix.EventID, id matrix.EventID) []matrix.EventID {
	next := make([]matrix.EventID, 0, len(tips)+1)
	for _, tip := range tips {
		if !slices.Contains(followed, tip) {
			next = append(next, tip)
		}
	}
	return append(next, id)
}

// snapshot is the room as a draft leaves it, for the row that the commit writes.
type snapshot struct {
	version, depth int64
	tips           []matrix.EventID
}

// commit writes the draft. It may run twice, and sets the numbers of refs.
func (d *draft) commit(after snapshot) func(ctx context.Context, tx *storage.Tx) error {
	return func(ctx context.Context, tx *storage.Tx) error {
		rm := d.rm
		if d.from == 0 {
			var err error
			if rm.nid, err = rooms.Begin(ctx, tx, rm.id, rm.rules.Version); err != nil {
				return err
			}
		}
		var head, bump storage.Position
		for _, p := range d.placed {
			p.RoomNID, p.Pos = rm.nid, tx.Next()
			if !p.known {
				p.NID = int64(p.Pos)
			}
			head = p.Pos
			if p.Status == rooms.Accepted && slices.Contains(rooms.BumpTypes, p.Type()) {
				bump = p.Pos
			}
		}
		if err := (rooms.Advance{NID: rm.nid, From: d.from, To: after.version, FromTips: d.fromTips, Tips: after.tips, Depth: after.depth,
			HeadPos: head, Joined: d.joined, Invited: d.invited, Deltas: d.deltas(), Bump: bump}).Apply(ctx, tx); err != nil {
			return err
		}
		if err := d.write(ctx, tx); err != nil {
			return err
		}
		for _, fn := range d.more {
			if err := fn(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	}
}

// deltas returns how many changes of the state the draft writes.
func (d *draft) deltas() (n int) {
	for _, p := range d.placed {
		if p.history {
			n += len(p.deltas)
		}
	}
	return n
}

func (d *draft) write(ctx context.Context, tx *storage.Tx) error {
	numbers := make(map[matrix.EventID]int64, len(d.outliers)+len(d.placed))
	if len(d.outliers) > 0 {
		if err := insertUnknown(ctx, tx, d.rm.nid, d.outliers); err != nil {
			return err
		}
	}
	for _, e := range d.outliers {
		numbers[e.ID()] = e.NID
	}
	for _, p := range d.placed {
		numbers[p.ID()] = p.NID
		if err := d.writePlacement(ctx, tx, p, numbers); err != nil {
			return err
		}
	}
	return nil
}

func (d *draft) writePlacement(ctx context.Context, tx *storage.Tx, p *placement, numbers map[matrix.EventID]int64) error {
	if p.past != nil {
		nid, err := p.past.write(ctx, tx, d.rm.nid, p.Pos, numbers)
		if err != nil {
			return err
		}
		p.SnapshotNID = nid
	}
	switch {
	case p.known:
		if err := rooms.PlaceEvent(ctx, tx, p.Event); err != nil {
			return err
		}
	case p.told:
		if err := rooms.InsertNew(ctx, tx, p.Event); err != nil {
			return err
		}
	default:
		rooms.InsertEvent(tx, p.Event)
	}
	if p.own != nil {
		p.own.nid = p.NID
	}
	many := len(p.deltas) > fewChanges
	if many { // what waits for the same rows is written first: no statement may change a row twice
		if _, err := tx.Snapshot(ctx); err != nil {
			return err
		}
	}
	deltas := make([]rooms.Delta, 0, len(p.deltas))
	for _, c := range p.deltas {
		delta := rooms.Delta{StateTuple: c.StateTuple}
		if c.old != nil {
			delta.OldNID = c.old.nid
		}
		if c.new != nil {
			if nid, ok := numbers[c.new.id]; ok {
				c.new.nid = nid
			}
			delta.NewNID = c.new.nid
		}
		deltas = append(deltas, delta)
		if err := d.writeMember(ctx, tx, p, c, many); err != nil {
			return err
		}
	}
	return rooms.ChangeState(ctx, tx, d.rm.nid, p.Pos, deltas, p.history)
}

// fewChanges is up to how many memberships of one event are written one by one.
const fewChanges = 8

func (d *draft) writeMember(ctx context.Context, tx *storage.Tx, p *placement, c change, many bool) error {
	if c.Type != "m.room.member" {
		return nil
	}
	user := matrix.UserID(c.StateKey)
	if c.new == nil {
		return rooms.RemoveMember(ctx, tx, d.rm.nid, user)
	}
	m := rooms.Member{RoomNID: d.rm.nid, User: user, Membership: c.member.Membership(), EventNID: c.new.nid, Pos: p.Pos}
	if c.old == nil || many {
		rooms.AddMember(tx, m)
		return nil
	}
	return rooms.SetMember(ctx, tx, m)
}
