package rooms

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
)

// State is a state of a room by numbers of events.
type State map[event.StateTuple]int64

// CurrentState returns the state of a room now, with both names of its events.
func CurrentState(ctx context.Context, r *storage.Reader, roomNID int64) (map[event.StateTuple]Ref, error) {
	state := make(map[event.StateTuple]Ref)
	const q = `
		SELECT s.type, s.state_key, e.event_nid, e.event_id, e.status
		FROM current_state s JOIN events e ON e.event_nid = s.event_nid
		WHERE s.room_nid = $1`
	err := r.Each(ctx, q, []any{roomNID}, func(rows *sql.Rows) error {
		var t event.StateTuple
		var ref Ref
		if err := rows.Scan(&t.Type, &t.StateKey, &ref.NID, &ref.ID, &ref.Status); err != nil {
			return err
		}
		state[t] = ref
		return nil
	})
	return state, err
}

// StateNIDs returns the state of a room now.
func StateNIDs(ctx context.Context, r *storage.Reader, roomNID int64) (State, error) {
	state := make(State)
	const q = `SELECT type, state_key, event_nid FROM current_state WHERE room_nid = $1`
	err := r.Each(ctx, q, []any{roomNID}, func(rows *sql.Rows) error {
		var t event.StateTuple
		var nid int64
		if err := rows.Scan(&t.Type, &t.StateKey, &nid); err != nil {
			return err
		}
		state[t] = nid
		return nil
	})
	return state, err
}

// StateEvent returns the event of a type and state key in the state of a room
// now, or nil.
func StateEvent(ctx context.Context, r *storage.Reader, roomNID int64, typ, key string) (*Event, error) {
	const q = `SELECT ` + eventColumns + ` FROM current_state s JOIN events e ON e.event_nid = s.event_nid
		WHERE s.room_nid = $1 AND s.type = $2 AND s.state_key = $3`
	e, err := scanEvent(r.QueryRow(ctx, q, roomNID, typ, key).Scan)
	if storage.NoRows(err) {
		return nil, nil
	}
	return e, err
}

// StateEventsOf returns the events of one type in the state of many rooms now,
// by room, for the state key "".
func StateEventsOf(ctx context.Context, r *storage.Reader, roomNIDs []int64, typ string) (map[int64]*Event, error) {
	found := make(map[int64]*Event)
	const q = `SELECT ` + eventColumns + ` FROM current_state s JOIN events e ON e.event_nid = s.event_nid
		WHERE s.type = $1 AND s.state_key = '' AND s.room_nid IN ($LIST)`
	err := storage.EachIn(ctx, r, q, []any{typ}, roomNIDs, func(rows *sql.Rows) error {
		e, err := scanEvent(rows.Scan)
		if err == nil {
			found[e.RoomNID] = e
		}
		return err
	})
	return found, err
}

// StateBefore returns the state of a room just before a position: the state
// now with the later deltas undone.
func StateBefore(ctx context.Context, r *storage.Reader, roomNID int64, pos storage.Position) (State, error) {
	state, err := StateNIDs(ctx, r, roomNID)
	if err != nil {
		return nil, err
	}
	const q = `SELECT type, state_key, old_nid FROM state_delta WHERE room_nid = $1 AND pos >= $2 ORDER BY pos DESC`
	err = r.Each(ctx, q, []any{roomNID, int64(pos)}, func(rows *sql.Rows) error {
		var t event.StateTuple
		var old sql.NullInt64
		if err := rows.Scan(&t.Type, &t.StateKey, &old); err != nil {
			return err
		}
		if old.Valid {
			state[t] = old.Int64
		} else {
			delete(state, t)
		}
		return nil
	})
	return state, err
}

// StateBeforeEvent returns the state before an event that has a place in the
// room: of its snapshot, or of its position.
func StateBeforeEvent(ctx context.Context, r *storage.Reader, e *Event) (State, error) {
	if e.SnapshotNID == 0 {
		return StateBefore(ctx, r, e.RoomNID, e.Pos)
	}
	var base storage.Position
	var entries string
	const q = `SELECT base_pos, entries FROM state_snapshots WHERE snapshot_nid = $1`
	if err := r.QueryRow(ctx, q, e.SnapshotNID).Scan(&base, &entries); err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	state, err := StateBefore(ctx, r, e.RoomNID, base)
	if err != nil {
		return nil, err
	}
	var list []snapshotEntry
	if err := json.Unmarshal([]byte(entries), &list); err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	for _, entry := range list {
		if entry.NID == 0 {
			delete(state, entry.StateTuple)
		} else {
			state[entry.StateTuple] = entry.NID
		}
	}
	return state, nil
}

// snapshotEntry is [type, state_key, event_nid] in JSON, event_nid 0 for what
// the room has and the snapshot has not.
type snapshotEntry struct {
	event.StateTuple
	NID int64
}

func (s snapshotEntry) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{s.Type, s.StateKey, s.NID})
}

func (s *snapshotEntry) UnmarshalJSON(raw []byte) error {
	return json.Unmarshal(raw, &[]any{&s.Type, &s.StateKey, &s.NID})
}

var insertSnapshot = storage.NewInsert("state_snapshots", []string{"snapshot_nid", "room_nid", "base_pos", "entries"}, "")

// InsertSnapshot stores a state as what differs from the state of the room
// before the position base, and returns its number.
func InsertSnapshot(tx *storage.Tx, roomNID int64, base storage.Position, current, state State) (nid int64, err error) {
	var entries []snapshotEntry
	for t, e := range state {
		if current[t] != e {
			entries = append(entries, snapshotEntry{t, e})
		}
	}
	for t := range current {
		if _, ok := state[t]; !ok {
			entries = append(entries, snapshotEntry{t, 0})
		}
	}
	raw, err := json.Marshal(entries)
	if err != nil {
		return 0, err
	}
	nid = int64(tx.Next())
	tx.Insert(insertSnapshot, nid, roomNID, int64(base), string(raw))
	return nid, nil
}

// Delta is one change of the state. A number of 0 stands for none.
type Delta struct {
	event.StateTuple
	Pos            storage.Position
	OldNID, NewNID int64
}

var (
	insertDelta  = storage.NewInsert("state_delta", []string{"room_nid", "pos", "type", "state_key", "old_nid", "new_nid"}, "")
	upsertEntry  = storage.NewInsert("current_state", []string{"room_nid", "type", "state_key", "event_nid"}, onEntryConflict)
	nullIfAbsent = func(nid int64) sql.NullInt64 { return sql.NullInt64{Int64: nid, Valid: nid != 0} }
)

const onEntryConflict = `ON CONFLICT (room_nid, type, state_key) DO UPDATE SET event_nid = excluded.event_nid`

// ChangeState writes changes of the state at one position. A batch must not
// change one key twice; two batches in one commit are kept apart by their
// order.
func ChangeState(ctx context.Context, tx *storage.Tx, roomNID int64, pos storage.Position, deltas []Delta, history bool) error {
	for _, d := range deltas {
		if history {
			tx.Insert(insertDelta, roomNID, int64(pos), d.Type, d.StateKey, nullIfAbsent(d.OldNID), nullIfAbsent(d.NewNID))
		}
		var err error
		switch {
		case d.NewNID == 0:
			const q = `DELETE FROM current_state WHERE room_nid = $1 AND type = $2 AND state_key = $3`
			_, err = tx.Exec(ctx, q, roomNID, d.Type, d.StateKey)
		case d.OldNID == 0:
			tx.Insert(upsertEntry, roomNID, d.Type, d.StateKey, d.NewNID)
		default:
			const q = `UPDATE current_state SET event_nid = $1 WHERE room_nid = $2 AND type = $3 AND state_key = $4`
			_, err = tx.Exec(ctx, q, d.NewNID, roomNID, d.Type, d.StateKey)
		}
		if err != nil {
			return fmt.Errorf("change state: %w", err)
		}
	}
	return nil
}

// Deltas returns the changes of the state of rooms with from < pos ≤ to, in
// order of position.
func Deltas(ctx context.Context, r *storage.Reader, roomNID int64, from, to storage.Position) (found []Delta, err error) {
	const q = `SELECT pos, type, state_key, old_nid, new_nid FROM state_delta
		WHERE room_nid = $1 AND pos > $2 AND pos <= $3 ORDER BY pos`
	err = r.Each(ctx, q, []any{roomNID, int64(from), int64(to)}, func(rows *sql.Rows) error {
		d, err := scanDelta(rows)
		found = append(found, d)
		return err
	})
	return found, err
}

// History returns every change of one key of the state of a room, oldest
// first, and the number of the event that holds now, 0 for none.
func History(ctx context.Context, r *storage.Reader, roomNID int64, t event.StateTuple) (deltas []Delta, now int64, err error) {
	const q = `SELECT pos, type, state_key, old_nid, new_nid FROM state_delta
		WHERE room_nid = $1 AND type = $2 AND state_key = $3 ORDER BY pos`
	err = r.Each(ctx, q, []any{roomNID, t.Type, t.StateKey}, func(rows *sql.Rows) error {
		d, err := scanDelta(rows)
		deltas = append(deltas, d)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	const current = `SELECT event_nid FROM current_state WHERE room_nid = $1 AND type = $2 AND state_key = $3`
	err = r.QueryRow(ctx, current, roomNID, t.Type, t.StateKey).Scan(&now)
	if storage.NoRows(err) {
		err = nil
	}
	return deltas, now, err
}

func scanDelta(rows *sql.Rows) (d Delta, err error) {
	var old, now sql.NullInt64
	err = rows.Scan(&d.Pos, &d.Type, &d.StateKey, &old, &now)
	d.OldNID, d.NewNID = old.Int64, now.Int64
	return d, err
}

// NIDsToIDs returns the IDs of events by their numbers.
func NIDsToIDs(ctx context.Context, r *storage.Reader, nids []int64) (map[int64]matrix.EventID, error) {
	found := make(map[int64]matrix.EventID, len(nids))
	const q = `SELECT event_nid, event_id FROM events WHERE event_nid IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, nids, func(rows *sql.Rows) error {
		var nid int64
		var id matrix.EventID
		if err := rows.Scan(&nid, &id); err != nil {
			return err
		}
		found[nid] = id
		return nil
	})
	return found, err
}
