package roomserver

import (
	"context"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// fork is what is known of the state after a tip of a room that has several.
type fork struct {
	state stateMap     // shared: never changed
	event *rooms.Event // the tip, nil where it was not read
}

// past is how the state before an event of a fork is kept: as that of its
// only predecessor where it can be told from it, else as what differs from the
// state of the room now.
type past struct {
	after   *rooms.Event // placed, with its position and snapshot once it is committed; nil: see changes
	changes []pastChange
}

// pastChange is a key in which the state before an event is another than that
// of the room.
type pastChange struct {
	event.StateTuple
	ref *ref // nil: there was none
}

// keepPast says how to keep the state before an event. Nothing of the room is
// in flight, so every ref has its number, or gets it as an outlier of the same
// commit.
func (rm *room) keepPast(b *before) *past {
	if prev := b.after; prev != nil && (prev.SnapshotNID == 0 || !changesState(prev)) {
		return &past{after: prev}
	}
	var changes []pastChange
	for t, r := range b.state {
		if now := rm.state[t]; now == nil || now.id != r.id {
			changes = append(changes, pastChange{t, r})
		}
	}
	for t := range rm.state {
		if b.state[t] == nil {
			changes = append(changes, pastChange{t, nil})
		}
	}
	return &past{changes: changes}
}

// changesState reports whether the state after an event is not that before it.
func changesState(e *rooms.Event) bool { return e.IsState() && e.Status != rooms.Rejected }

// write stores the state before the event at a position and returns the number
// of its snapshot. numbers are those of the events of the same commit.
func (p *past) write(ctx context.Context, tx *storage.Tx, roomNID int64, pos storage.Position, numbers map[matrix.EventID]int64) (nid int64, err error) {
	switch {
	case p.after == nil:
		entries := make([]rooms.SnapshotEntry, len(p.changes))
		for i, c := range p.changes {
			entries[i].StateTuple = c.StateTuple
			if c.ref == nil {
				continue
			}
			if entries[i].NID = c.ref.nid; entries[i].NID == 0 {
				entries[i].NID = numbers[c.ref.id]
			}
		}
		return rooms.KeepSnapshot(ctx, tx, roomNID, pos, entries)
	case p.after.SnapshotNID == 0: // it stood where the room did
		return rooms.KeepSnapshot(ctx, tx, roomNID, p.after.Pos+1, nil)
	}
	return p.after.SnapshotNID, nil
}

// before is the state before an event of theirs.
type before struct {
	state  stateMap
	linear bool         // it is that of the room
	after  *rooms.Event // the only predecessor, where it is placed and there is but one
}

// sameSet reports whether two lists hold the same events, however often.
func sameSet(a, b []matrix.EventID) bool { return within(a, b) && within(b, a) }

func within(a, b []matrix.EventID) bool {
	for _, id := range a {
		if !slices.Contains(b, id) {
			return false
		}
	}
	return true
}
