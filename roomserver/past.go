package roomserver

import (
	"context"
	"slices"

	"beffroi/matrix"
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
	after   *rooms.Event // placed, with its position and snapshot once it is committed; nil: see entries
	entries []rooms.SnapshotEntry
}

// keepPast says how to keep the state before an event. Nothing of the room is
// in flight, so every ref has its number.
func (rm *room) keepPast(b *before) *past {
	if prev := b.after; prev != nil && (prev.SnapshotNID == 0 || !changesState(prev)) {
		return &past{after: prev}
	}
	var entries []rooms.SnapshotEntry
	for t, r := range b.state {
		if now := rm.state[t]; now == nil || now.nid != r.nid {
			entries = append(entries, rooms.SnapshotEntry{StateTuple: t, NID: r.nid})
		}
	}
	for t := range rm.state {
		if b.state[t] == nil {
			entries = append(entries, rooms.SnapshotEntry{StateTuple: t})
		}
	}
	return &past{entries: entries}
}

// changesState reports whether the state after an event is not that before it.
func changesState(e *rooms.Event) bool { return e.IsState() && e.Status != rooms.Rejected }

// write stores the state before the event at a position and returns the number
// of its snapshot.
func (p *past) write(ctx context.Context, tx *storage.Tx, roomNID int64, pos storage.Position) (nid int64, err error) {
	switch {
	case p.after == nil:
		return rooms.KeepSnapshot(ctx, tx, roomNID, pos, p.entries)
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
