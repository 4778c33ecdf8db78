package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// tuple is a key of a state.
type tuple struct{ typ, key string }

// verifyStates checks of one room what no query can: that its checkpoints and
// snapshots say what they must, and that its tips are there.
func verifyStates(ctx context.Context, r *Reader, roomNID int64) (findings []Finding, err error) {
	var room, tips string
	var version int64
	const q = `SELECT room_id, tips, version FROM rooms WHERE room_nid = $1 AND deleted = 0`
	err = r.QueryRow(ctx, q, roomNID).Scan(&room, &tips, &version)
	if NoRows(err) || version == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read room: %w", err)
	}
	for _, verify := range []func(context.Context, *Reader, int64, string) ([]Finding, error){
		verifyCheckpoints, verifySnapshots,
		func(ctx context.Context, r *Reader, nid int64, room string) ([]Finding, error) {
			return verifyTips(ctx, r, nid, room, tips)
		},
	} {
		found, err := verify(ctx, r, roomNID, room)
		if err != nil {
			return nil, err
		}
		findings = append(findings, found...)
	}
	return findings, nil
}

// verifyCheckpoints undoes the changes of the state from now on, and compares
// what it comes to with every checkpoint on the way.
func verifyCheckpoints(ctx context.Context, r *Reader, roomNID int64, room string) (findings []Finding, err error) {
	const q = `SELECT pos FROM state_checkpoints WHERE room_nid = $1 ORDER BY pos DESC`
	var places []int64
	if err := r.Each(ctx, q, []any{roomNID}, func(rows *sql.Rows) error {
		var pos int64
		err := rows.Scan(&pos)
		places = append(places, pos)
		return err
	}); err != nil || len(places) == 0 {
		return nil, err
	}
	state, err := currentState(ctx, r, roomNID)
	if err != nil {
		return nil, err
	}
	later := int64(1<<63 - 1)
	for _, pos := range places {
		if err := undo(ctx, r, roomNID, pos, later, state); err != nil {
			return nil, err
		}
		var packed string
		const one = `SELECT entries FROM state_checkpoints WHERE room_nid = $1 AND pos = $2`
		if err := r.QueryRow(ctx, one, roomNID, pos).Scan(&packed); err != nil {
			return nil, fmt.Errorf("read checkpoint: %w", err)
		}
		kept, err := unpackTuples(packed)
		if err != nil || !maps.Equal(kept, state) {
			findings = append(findings, Finding{"a checkpoint is the state with the later changes undone",
				fmt.Sprintf("%s before %d", room, pos)})
		}
		later = pos
	}
	return findings, nil
}

func currentState(ctx context.Context, r *Reader, roomNID int64) (map[tuple]int64, error) {
	state := make(map[tuple]int64)
	const q = `SELECT type, state_key, event_nid FROM current_state WHERE room_nid = $1`
	err := r.Each(ctx, q, []any{roomNID}, func(rows *sql.Rows) error {
		var t tuple
		var nid int64
		err := rows.Scan(&t.typ, &t.key, &nid)
		state[t] = nid
		return err
	})
	return state, err
}

// undo takes the changes with from ≤ pos < to back.
func undo(ctx context.Context, r *Reader, roomNID, from, to int64, state map[tuple]int64) error {
	const q = `SELECT type, state_key, old_nid FROM state_delta
		WHERE room_nid = $1 AND pos >= $2 AND pos < $3 ORDER BY pos DESC`
	return r.Each(ctx, q, []any{roomNID, from, to}, func(rows *sql.Rows) error {
		var t tuple
		var old sql.NullInt64
		err := rows.Scan(&t.typ, &t.key, &old)
		if old.Valid {
			state[t] = old.Int64
		} else {
			delete(state, t)
		}
		return err
	})
}

func unpackTuples(packed string) (map[tuple]int64, error) {
	entries, err := UnpackState(packed)
	state := make(map[tuple]int64, len(entries))
	for _, e := range entries {
		state[tuple{e.Type, e.Key}] = e.NID
	}
	return state, err
}

// verifySnapshots checks that snapshots can be read and name events of the room.
func verifySnapshots(ctx context.Context, r *Reader, roomNID int64, room string) (findings []Finding, err error) {
	const name = "a snapshot names events of its room"
	named := make(map[int64]int64) // event to snapshot
	const q = `SELECT snapshot_nid, entries FROM state_snapshots WHERE room_nid = $1 AND hash <> ''`
	if err := r.Each(ctx, q, []any{roomNID}, func(rows *sql.Rows) error {
		var snapshot int64
		var packed string
		if err := rows.Scan(&snapshot, &packed); err != nil {
			return err
		}
		entries, err := UnpackState(packed)
		if err != nil {
			findings = append(findings, Finding{name, fmt.Sprintf("%s: %d: %v", room, snapshot, err)})
		}
		for _, e := range entries {
			if e.NID != 0 {
				named[e.NID] = snapshot
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	const known = `SELECT event_nid FROM events WHERE room_nid = $1 AND event_nid IN ($LIST)`
	if err := EachIn(ctx, r, known, []any{roomNID}, slices.Collect(maps.Keys(named)), func(rows *sql.Rows) error {
		var nid int64
		err := rows.Scan(&nid)
		delete(named, nid)
		return err
	}); err != nil {
		return nil, err
	}
	for nid, snapshot := range named {
		findings = append(findings, Finding{name, fmt.Sprintf("%s: %d: event %d", room, snapshot, nid)})
	}
	return findings, nil
}

// verifyTips checks that the next event has what it follows.
func verifyTips(ctx context.Context, r *Reader, roomNID int64, room, tips string) (findings []Finding, err error) {
	var ids []string
	if err := json.Unmarshal([]byte(tips), &ids); err != nil {
		return nil, fmt.Errorf("tips of %s: %w", room, err)
	}
	stored := make(map[string]bool, len(ids))
	const q = `SELECT event_id FROM events WHERE room_nid = $1 AND status = 1 AND pos > 0 AND event_id IN ($LIST)`
	if err := EachIn(ctx, r, q, []any{roomNID}, ids, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		stored[id] = true
		return err
	}); err != nil {
		return nil, err
	}
	for _, id := range ids {
		if !stored[id] {
			findings = append(findings, Finding{"a tip is an accepted event of the room", room + " " + id})
		}
	}
	return findings, nil
}
