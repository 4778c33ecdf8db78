package rooms_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// past is a room whose states were all written down.
type past struct {
	t      *testing.T
	db     *storage.DB
	nid    int64
	state  rooms.State
	places []storage.Position
	states []rooms.State // before each place
}

func newPast(t *testing.T, db *storage.DB, entries int) *past {
	p := &past{t: t, db: db, state: make(rooms.State)}
	p.append(func(ctx context.Context, tx *storage.Tx) error {
		p.nid = rooms.Insert(tx, "!long:one.example", "12")
		var deltas []rooms.Delta
		for i := range entries {
			deltas = append(deltas, rooms.Delta{StateTuple: key(i), NewNID: int64(i + 1)})
			p.state[key(i)] = int64(i + 1)
		}
		return rooms.ChangeState(ctx, tx, p.nid, tx.Next(), deltas, false) // as another server told it
	})
	return p
}

func key(i int) event.StateTuple {
	return event.StateTuple{Type: "m.room.member", StateKey: fmt.Sprintf("@u%d:one.example", i)}
}

func (p *past) append(fn func(context.Context, *storage.Tx) error) {
	p.t.Helper()
	if _, err := p.db.Append(p.t.Context(), fn); err != nil {
		p.t.Fatal(err)
	}
}

func (p *past) view(fn func(context.Context, *storage.Reader) error) {
	p.t.Helper()
	if err := p.db.View(p.t.Context(), func(r *storage.Reader) error { return fn(p.t.Context(), r) }); err != nil {
		p.t.Fatal(err)
	}
}

// change makes n changes, some of which take a key out, and some several at
// once. version is that of the room before.
func (p *past) change(rng *rand.Rand, n, keys int) {
	for n > 0 {
		p.append(func(ctx context.Context, tx *storage.Tx) error {
			for n > 0 && rng.IntN(50) > 0 {
				pos := tx.Next()
				p.places, p.states = append(p.places, pos), append(p.states, maps.Clone(p.state))
				var deltas []rooms.Delta
				touched := make(map[event.StateTuple]bool)
				for range 1 + rng.IntN(3)*rng.IntN(2) {
					t := key(rng.IntN(keys))
					if touched[t] {
						continue
					}
					touched[t] = true
					d := rooms.Delta{StateTuple: t, OldNID: p.state[t], NewNID: int64(pos)}
					if d.OldNID != 0 && rng.IntN(4) == 0 {
						d.NewNID = 0
					}
					deltas = append(deltas, d)
					if p.state[t] = d.NewNID; d.NewNID == 0 {
						delete(p.state, t)
					}
				}
				n -= len(deltas)
				if err := rooms.ChangeState(ctx, tx, p.nid, pos, deltas, true); err != nil {
					return err
				}
				if err := p.advance(ctx, tx, pos, len(deltas)); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func (p *past) advance(ctx context.Context, tx *storage.Tx, pos storage.Position, deltas int) error {
	n := int64(len(p.places))
	return rooms.Advance{NID: p.nid, From: n - 1, To: n, HeadPos: pos, Deltas: deltas}.Apply(ctx, tx)
}

func (p *past) checkpoints() (written int) {
	for {
		var due []int64
		var next *rooms.Checkpoint
		p.view(func(ctx context.Context, r *storage.Reader) (err error) {
			if due, err = rooms.DueCheckpoints(ctx, r, 10); err == nil && len(due) > 0 {
				next, err = rooms.NextCheckpoint(ctx, r, due[0])
			}
			return err
		})
		if next == nil {
			if len(due) > 0 {
				p.t.Error("a checkpoint is due that is none")
			}
			return written
		}
		written++
		p.append(next.Write)
		p.append(next.Write) // of another node, at the same moment
	}
}

func (p *past) check(rng *rand.Rand, most int) {
	p.t.Helper()
	p.view(func(ctx context.Context, r *storage.Reader) error {
		for i := range p.places {
			if i%50 != 0 && rng.IntN(60) > 0 {
				continue
			}
			got, err := rooms.StateBefore(ctx, r, p.nid, p.places[i])
			if err != nil {
				return err
			}
			if !maps.Equal(got, p.states[i]) {
				p.t.Fatalf("state before %d: %d entries, want %d", p.places[i], len(got), len(p.states[i]))
			}
			distance, err := rooms.Distance(ctx, r, p.nid, p.places[i])
			if err != nil {
				return err
			}
			if distance > most {
				p.t.Errorf("the state before %d costs %d changes", p.places[i], distance)
			}
		}
		now, err := rooms.StateBefore(ctx, r, p.nid, p.places[len(p.places)-1]+1)
		if err != nil || !maps.Equal(now, p.state) {
			p.t.Errorf("the state now: %d entries, want %d, %v", len(now), len(p.state), err)
		}
		return nil
	})
}

func TestStateOfLongAgo(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		rng := rand.New(rand.NewPCG(1, 2))
		p := newPast(t, db, 40)
		p.grow(rng, 100, 0)      // too few for a checkpoint
		p.grow(rng, 2000, 7)     // late: several at once
		p.grow(rng, 300, 1)      // one more
		p.change(rng, 1500, 60)  // not yet written
		p.check(rng, 1500+3*256) // what is after the last checkpoint is far, and right
		if n := p.checkpoints(); n == 0 {
			t.Error("no checkpoint was written")
		}
		p.check(rng, 256+3)
	})
}

// grow makes changes, writes the checkpoints that are due, of which there
// are at least so many, and checks.
func (p *past) grow(rng *rand.Rand, changes, atLeast int) {
	p.t.Helper()
	p.change(rng, changes, 60)
	if n := p.checkpoints(); n < atLeast {
		p.t.Errorf("%d checkpoints, want %d", n, atLeast)
	}
	p.check(rng, 256+3)
}

// TestCheckpointsOfLargeRooms: a checkpoint holds the whole state, so that in
// a large room there must be more changes between two.
func TestCheckpointsOfLargeRooms(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		rng := rand.New(rand.NewPCG(3, 4))
		p := newPast(t, db, 4000)
		p.change(rng, 1100, 4000)
		if n := p.checkpoints(); n != 2 { // at about 500 and 1000
			t.Errorf("%d checkpoints", n)
		}
		p.check(rng, 500+3)
	})
}

func TestACheckpointOfARemovedRoomIsNotWritten(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		p := newPast(t, db, 5)
		p.change(rand.New(rand.NewPCG(5, 6)), 300, 10)
		var next *rooms.Checkpoint
		p.view(func(ctx context.Context, r *storage.Reader) (err error) {
			next, err = rooms.NextCheckpoint(ctx, r, p.nid)
			return err
		})
		p.append(func(ctx context.Context, tx *storage.Tx) error {
			_, _, err := rooms.Hide(ctx, tx, "!long:one.example", "one.example")
			return err
		})
		p.append(next.Write)
		p.append(func(ctx context.Context, tx *storage.Tx) error {
			var n int
			err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM state_checkpoints`).Scan(&n)
			if n != 0 {
				t.Error("a checkpoint was written")
			}
			return err
		})
	})
}
