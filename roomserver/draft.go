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
	rm   *room
	cur  *view // the state as the draft leaves it so far
	from int64 // version before

	fresh           bool // the room itself is new
	outliers        []*rooms.Event
	placed          []*placement
	joined, invited int64 // by how much the counts change
	more            []func(ctx context.Context, tx *storage.Tx) error
	replaced        []*event.Event // redacted forms of stored events
}

// placement is an event that gets a place in the room.
type placement struct {
	*rooms.Event
	known   bool                      // as an outlier
	before  map[event.StateTuple]*ref // the state before it, nil where it is that of the room
	base    map[event.StateTuple]*ref // the state of the room then, where before is not nil
	deltas  []change
	history bool // the deltas are written for those who ask for the state of then
}

// change is one key of the state of the room that an event changes.
type change struct {
	event.StateTuple
	old, new *ref         // nil: none
	member   *event.Event // what the new membership is, for m.room.member
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
	rm.tips = nextTips(rm.tips, e)
	d.add(p)
}

// set makes an event the state of its key and returns the change.
func (d *draft) set(e *event.Event) change {
	tuple := e.StateTuple()
	c := change{StateTuple: tuple, old: d.rm.state[tuple], new: &ref{id: e.ID(), ev: e}}
	c.member = d.count(tuple, c.old, e)
	d.rm.state[tuple] = c.new
	return c
}

// count moves the numbers of members by a change of the state.
func (d *draft) count(tuple event.StateTuple, old *ref, e *event.Event) *event.Event {
	if tuple.Type != "m.room.member" {
		return nil
	}
	if old != nil {
		if was := d.cur.load(old); was != nil {
			d.tally(was.Membership(), -1)
		}
	}
	if e != nil {
		d.tally(e.Membership(), 1)
	}
	return e
}

func (d *draft) tally(membership string, by int64) {
	switch membership {
	case "join":
		d.joined += by
	case "invite":
		d.invited += by
	}
}

// add puts a placement at the end of the room.
func (d *draft) add(p *placement) {
	rm := d.rm
	rm.version++
	rm.depth = max(rm.depth, p.Depth())
	d.placed = append(d.placed, p)
	rm.weight.Store(uint32(len(rm.state)+1) * entryBytes)
}

// nextTips returns the forward extremities after an event that was accepted.
func nextTips(tips []matrix.EventID, e *event.Event) []matrix.EventID {
	prev := e.PrevEvents()
	next := make([]matrix.EventID, 0, len(tips)+1)
	for _, tip := range tips {
		if !slices.Contains(prev, tip) {
			next = append(next, tip)
		}
	}
	return append(next, e.ID())
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
		if d.fresh {
			rm.nid = rooms.Insert(tx, rm.id, rm.rules.Version)
		}
		var head storage.Position
		for _, p := range d.placed {
			p.RoomNID, p.Pos = rm.nid, tx.Next()
			if !p.known {
				p.NID = int64(p.Pos)
			}
			head = p.Pos
		}
		if err := (rooms.Advance{NID: rm.nid, From: d.from, To: after.version, Tips: after.tips, Depth: after.depth,
			HeadPos: head, Joined: d.joined, Invited: d.invited}).Apply(ctx, tx); err != nil {
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
	if p.before != nil {
		number(p.before, numbers)
		number(p.base, numbers)
		nid, err := rooms.InsertSnapshot(tx, d.rm.nid, p.Pos, nids(p.base), nids(p.before))
		if err != nil {
			return err
		}
		p.SnapshotNID = nid
	}
	if p.known {
		if err := rooms.PlaceEvent(ctx, tx, p.Event); err != nil {
			return err
		}
	} else {
		rooms.InsertEvent(tx, p.Event)
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
		if err := d.writeMember(ctx, tx, p, c); err != nil {
			return err
		}
	}
	return rooms.ChangeState(ctx, tx, d.rm.nid, p.Pos, deltas, p.history)
}

func (d *draft) writeMember(ctx context.Context, tx *storage.Tx, p *placement, c change) error {
	if c.Type != "m.room.member" {
		return nil
	}
	user := matrix.UserID(c.StateKey)
	if c.new == nil {
		return rooms.RemoveMember(ctx, tx, d.rm.nid, user)
	}
	m := rooms.Member{RoomNID: d.rm.nid, User: user, Membership: c.member.Membership(), EventNID: c.new.nid, Pos: p.Pos}
	if c.old == nil {
		rooms.AddMember(tx, m)
		return nil
	}
	return rooms.SetMember(ctx, tx, m)
}

// number gives refs that were made outside of the current state their numbers.
func number(state map[event.StateTuple]*ref, numbers map[matrix.EventID]int64) {
	for _, r := range state {
		if nid, ok := numbers[r.id]; ok {
			r.nid = nid
		}
	}
}

func nids(state map[event.StateTuple]*ref) rooms.State {
	out := make(rooms.State, len(state))
	for t, r := range state {
		out[t] = r.nid
	}
	return out
}
