package rooms

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix/event"
	"beffroi/storage"
)

const (
	// checkpointEvery is how many changes of the state there are between two
	// checkpoints of a room, and so how many are undone for a state of long ago.
	checkpointEvery = 256
	// checkpointShare lets the checkpoints of a large room be further apart: a
	// checkpoint holds the whole state, so that to undo an eighth as many changes
	// as it has entries costs less than to read it.
	checkpointShare = 8
)

// checkpointLimit is how many changes of a state with so many entries there
// are up to the next checkpoint.
func checkpointLimit(entries int) int { return max(checkpointEvery, entries/checkpointShare) }

// base is a state to start from.
type base struct {
	pos     storage.Position // it is the state just before it; lastPosition: it is that of now
	changes int              // between it and the position that is asked for
}

// nearest returns the state that the state before a position is cheapest told
// from: that of now or a checkpoint.
func nearest(ctx context.Context, r *storage.Reader, roomNID int64, pos storage.Position) (base, error) {
	const later = `SELECT c.pos, (SELECT COUNT(*) FROM state_delta d
			WHERE d.room_nid = c.room_nid AND d.pos >= $1 AND d.pos < c.pos)
		FROM state_checkpoints c WHERE c.room_nid = $2 AND c.pos >= $3 ORDER BY c.pos LIMIT 1`
	var b base
	err := r.QueryRow(ctx, later, int64(pos), roomNID, int64(pos)).Scan(&b.pos, &b.changes)
	if storage.NoRows(err) {
		b.pos = lastPosition
		const now = `SELECT COUNT(*) FROM state_delta WHERE room_nid = $1 AND pos >= $2`
		err = r.QueryRow(ctx, now, roomNID, int64(pos)).Scan(&b.changes)
	}
	if err != nil {
		return b, fmt.Errorf("find checkpoint: %w", err)
	}
	const before = `SELECT c.pos, (SELECT COUNT(*) FROM state_delta d
			WHERE d.room_nid = c.room_nid AND d.pos >= c.pos AND d.pos < $1)
		FROM state_checkpoints c WHERE c.room_nid = $2 AND c.pos <= $3 ORDER BY c.pos DESC LIMIT 1`
	var other base
	err = r.QueryRow(ctx, before, int64(pos), roomNID, int64(pos)).Scan(&other.pos, &other.changes)
	switch {
	case storage.NoRows(err):
		return b, nil
	case err != nil:
		return b, fmt.Errorf("find checkpoint: %w", err)
	case other.changes < b.changes:
		b = other
	}
	return b, nil
}

// StateBefore returns the state of a room just before a position: the state
// now with the later changes undone, or where those are many, a checkpoint with
// the changes between undone or done again.
func StateBefore(ctx context.Context, r *storage.Reader, roomNID int64, pos storage.Position) (State, error) {
	undo, err := changes(ctx, r, roomNID, pos, lastPosition, checkpointEvery+1)
	if err != nil {
		return nil, err
	}
	from := base{pos: lastPosition}
	if len(undo) > checkpointEvery {
		if from, err = nearest(ctx, r, roomNID, pos); err != nil {
			return nil, err
		}
		undo, err = changes(ctx, r, roomNID, min(pos, from.pos), max(pos, from.pos), noLimit)
		if err != nil {
			return nil, err
		}
	}
	state, err := from.read(ctx, r, roomNID)
	if err != nil {
		return nil, err
	}
	if from.pos >= pos {
		state.undo(undo)
	} else {
		state.redo(undo)
	}
	return state, nil
}

// noLimit is more changes than a room can have.
const noLimit = 1 << 40

// changes returns the changes with from ≤ pos < to, the last first, at most
// limit.
func changes(ctx context.Context, r *storage.Reader, roomNID int64, from, to storage.Position, limit int) (found []Delta, err error) {
	const q = `SELECT pos, type, state_key, old_nid, new_nid FROM state_delta
		WHERE room_nid = $1 AND pos >= $2 AND pos < $3 ORDER BY pos DESC LIMIT $4`
	err = r.Each(ctx, q, []any{roomNID, int64(from), int64(to), limit}, func(rows *sql.Rows) error {
		d, err := scanDelta(rows)
		found = append(found, d)
		return err
	})
	return found, err
}

func (b base) read(ctx context.Context, r *storage.Reader, roomNID int64) (State, error) {
	if b.pos == lastPosition {
		return StateNIDs(ctx, r, roomNID)
	}
	var packed string
	const q = `SELECT entries FROM state_checkpoints WHERE room_nid = $1 AND pos = $2`
	if err := r.QueryRow(ctx, q, roomNID, int64(b.pos)).Scan(&packed); err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	return unpack(packed)
}

func unpack(packed string) (State, error) {
	entries, err := storage.UnpackState(packed)
	if err != nil {
		return nil, err
	}
	state := make(State, len(entries))
	for _, e := range entries {
		state[event.StateTuple{Type: e.Type, StateKey: e.Key}] = e.NID
	}
	return state, nil
}

func (s State) entries() []storage.StateEntry {
	list := make([]storage.StateEntry, 0, len(s))
	for t, nid := range s {
		list = append(list, storage.StateEntry{Type: t.Type, Key: t.StateKey, NID: nid})
	}
	return list
}

// set makes a number the one of a key; 0 takes the key out.
func (s State) set(t event.StateTuple, nid int64) {
	if nid == 0 {
		delete(s, t)
	} else {
		s[t] = nid
	}
}

// undo takes changes back, of which the last comes first.
func (s State) undo(changes []Delta) {
	for _, d := range changes {
		s.set(d.StateTuple, d.OldNID)
	}
}

// redo applies changes of which the last comes first.
func (s State) redo(changes []Delta) {
	for i := len(changes) - 1; i >= 0; i-- {
		s.set(changes[i].StateTuple, changes[i].NewNID)
	}
}

// DueCheckpoints returns rooms whose state has changed so much since their
// last checkpoint that another is due.
func DueCheckpoints(ctx context.Context, r *storage.Reader, limit int) ([]int64, error) {
	const q = `SELECT room_nid FROM rooms WHERE deltas >= delta_limit AND deleted = 0 ORDER BY room_nid LIMIT $1`
	return storage.Column[int64](ctx, r, q, limit)
}

// Checkpoint is a state of a room that is to be kept.
type Checkpoint struct {
	roomNID int64
	pos     storage.Position
	packed  string
	changes int // since the one before
	size    int // entries
}

// NextCheckpoint makes the checkpoint of a room that comes after its last, or
// nil where none is due. What it rests on never changes, so that there is time
// between this and [Checkpoint.Write].
func NextCheckpoint(ctx context.Context, r *storage.Reader, roomNID int64) (*Checkpoint, error) {
	from, state, err := lastCheckpoint(ctx, r, roomNID)
	if err != nil || state == nil {
		return nil, err
	}
	const boundary = `SELECT pos FROM state_delta WHERE room_nid = $1 AND pos >= $2 ORDER BY pos LIMIT 1 OFFSET $3`
	var last storage.Position
	err = r.QueryRow(ctx, boundary, roomNID, int64(from), checkpointLimit(len(state))-1).Scan(&last)
	if storage.NoRows(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find place of checkpoint: %w", err)
	}
	list, err := changes(ctx, r, roomNID, from, last+1, noLimit)
	if err != nil {
		return nil, err
	}
	state.redo(list)
	c := &Checkpoint{roomNID: roomNID, pos: last + 1, changes: len(list), size: len(state)}
	c.packed, _ = storage.PackState(state.entries())
	return c, nil
}

// lastCheckpoint returns the last checkpoint of a room, or where there is none
// the state before its first change. A nil state says that there is no change.
func lastCheckpoint(ctx context.Context, r *storage.Reader, roomNID int64) (pos storage.Position, state State, err error) {
	const last = `SELECT pos FROM state_checkpoints WHERE room_nid = $1 ORDER BY pos DESC LIMIT 1`
	err = r.QueryRow(ctx, last, roomNID).Scan(&pos)
	if err == nil {
		state, err = base{pos: pos}.read(ctx, r, roomNID)
		return pos, state, err
	}
	if !storage.NoRows(err) {
		return 0, nil, fmt.Errorf("find checkpoint: %w", err)
	}
	const first = `SELECT pos FROM state_delta WHERE room_nid = $1 ORDER BY pos LIMIT 1`
	err = r.QueryRow(ctx, first, roomNID).Scan(&pos)
	switch {
	case storage.NoRows(err):
		return 0, nil, nil
	case err != nil:
		return 0, nil, fmt.Errorf("find first change: %w", err)
	}
	state, err = StateBefore(ctx, r, roomNID, pos)
	return pos, state, err
}

// Write keeps the checkpoint, unless somebody was first or the room is being
// removed.
func (c *Checkpoint) Write(ctx context.Context, tx *storage.Tx) error {
	const insert = `INSERT INTO state_checkpoints (room_nid, pos, entries)
		SELECT room_nid, CAST($1 AS BIGINT), CAST($2 AS TEXT) FROM rooms
		WHERE room_nid = $3 AND deleted = 0 AND deltas >= $4 ON CONFLICT DO NOTHING`
	n, err := tx.Exec(ctx, insert, int64(c.pos), c.packed, c.roomNID, c.changes)
	if err != nil || n == 0 {
		return err
	}
	const count = `UPDATE rooms SET deltas = deltas - $1, delta_limit = $2 WHERE room_nid = $3`
	_, err = tx.Exec(ctx, count, c.changes, checkpointLimit(c.size), c.roomNID)
	return err
}
