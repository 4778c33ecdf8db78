package rooms

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"beffroi/matrix/event"
	"beffroi/storage"
)

// SnapshotEntry is one key in which a snapshot differs from the state of the
// room at its base. NID 0 stands for what the room has and the snapshot has
// not.
type SnapshotEntry struct {
	event.StateTuple
	NID int64
}

// StateBeforeEvent returns the state before an event that has a place in the
// room: of its snapshot, or of its position.
func StateBeforeEvent(ctx context.Context, r *storage.Reader, e *Event) (State, error) {
	if e.SnapshotNID == 0 {
		return StateBefore(ctx, r, e.RoomNID, e.Pos)
	}
	var base storage.Position
	var packed string
	const q = `SELECT base_pos, entries FROM state_snapshots WHERE snapshot_nid = $1`
	if err := r.QueryRow(ctx, q, e.SnapshotNID).Scan(&base, &packed); err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	state, err := StateBefore(ctx, r, e.RoomNID, base)
	if err != nil {
		return nil, err
	}
	entries, err := storage.UnpackState(packed)
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	for _, entry := range entries {
		state.set(event.StateTuple{Type: entry.Type, StateKey: entry.Key}, entry.NID)
	}
	return state, nil
}

var insertSnapshot = storage.NewInsert("state_snapshots", []string{"snapshot_nid", "room_nid", "base_pos", "entries", "hash"}, "")

// KeepSnapshot stores a state as what differs from the state of the room
// before the position base, and returns its number. Events with equal
// snapshots share one, as most of a fork do: the base is moved back to where
// the room came to its state.
func KeepSnapshot(ctx context.Context, tx *storage.Tx, roomNID int64, base storage.Position, entries []SnapshotEntry) (nid int64, err error) {
	list := make([]storage.StateEntry, len(entries))
	for i, e := range entries {
		list[i] = storage.StateEntry{Type: e.Type, Key: e.StateKey, NID: e.NID}
	}
	packed, hash := storage.PackState(list)
	const last = `SELECT pos + 1 FROM state_delta WHERE room_nid = $1 AND pos < $2 ORDER BY pos DESC LIMIT 1`
	if err := tx.QueryRow(ctx, last, roomNID, int64(base)).Scan(&base); err != nil && !storage.NoRows(err) {
		return 0, fmt.Errorf("find base of snapshot: %w", err)
	}
	hash = strconv.FormatInt(int64(base), 36) + "." + hash
	const q = `SELECT snapshot_nid FROM state_snapshots WHERE room_nid = $1 AND hash = $2 AND hash <> ''`
	err = tx.QueryRow(ctx, q, roomNID, hash).Scan(&nid)
	if err == nil {
		return nid, nil
	}
	if !storage.NoRows(err) {
		return 0, fmt.Errorf("find snapshot: %w", err)
	}
	nid = int64(tx.Next())
	tx.Insert(insertSnapshot, nid, roomNID, int64(base), packed, hash)
	return nid, nil
}

// CollectSnapshots looks at no more than limit snapshots with a number above
// after, and removes those that no event names any more: their events were
// removed. A snapshot that an event names stays, however old the fork: the
// state before the event could not be told without it. It returns where to go
// on, 0 at the end.
func CollectSnapshots(ctx context.Context, tx *storage.Tx, after int64, limit int) (next, removed int64, err error) {
	const q = `SELECT s.snapshot_nid, (SELECT COUNT(*) FROM (
			SELECT 1 FROM events e WHERE e.room_nid = s.room_nid AND e.snapshot_nid = s.snapshot_nid LIMIT 1) named)
		FROM state_snapshots s WHERE s.snapshot_nid > $1 ORDER BY s.snapshot_nid LIMIT $2`
	r, err := tx.Snapshot(ctx)
	if err != nil {
		return 0, 0, err
	}
	var unnamed []int64
	seen := 0
	if err := r.Each(ctx, q, []any{after, limit}, func(rows *sql.Rows) error {
		var named int
		err := rows.Scan(&next, &named)
		if named == 0 {
			unnamed = append(unnamed, next)
		}
		seen++
		return err
	}); err != nil {
		return 0, 0, fmt.Errorf("read snapshots: %w", err)
	}
	if seen < limit {
		next = 0
	}
	removed, err = storage.ExecIn(ctx, tx, `DELETE FROM state_snapshots WHERE snapshot_nid IN ($LIST)`, nil, unnamed)
	return next, removed, err
}
