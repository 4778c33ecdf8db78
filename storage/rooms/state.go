package rooms

import (
	"context"
	"database/sql"
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

// StateChangedAfter reports whether the state of a room changed after a
// position.
func StateChangedAfter(ctx context.Context, r *storage.Reader, roomNID int64, pos storage.Position) (bool, error) {
	var one int
	const q = `SELECT 1 FROM state_delta WHERE room_nid = $1 AND pos > $2 LIMIT 1`
	err := r.QueryRow(ctx, q, roomNID, int64(pos)).Scan(&one)
	if storage.NoRows(err) {
		return false, nil
	}
	return err == nil, err
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

// fewChanges is up to how many changes of one event are written one by one,
// where most events make one. What a fork or a join brings may be thousands.
const fewChanges = 8

// ChangeState writes changes of the state at one position. A batch must not
// change one key twice; two batches in one commit are kept apart by their
// order.
func ChangeState(ctx context.Context, tx *storage.Tx, roomNID int64, pos storage.Position, deltas []Delta, history bool) error {
	many := len(deltas) > fewChanges
	if many { // what waits for the same keys is written first: no statement may change a row twice
		if _, err := tx.Snapshot(ctx); err != nil {
			return err
		}
	}
	for _, d := range deltas {
		if history {
			tx.Insert(insertDelta, roomNID, int64(pos), d.Type, d.StateKey, nullIfAbsent(d.OldNID), nullIfAbsent(d.NewNID))
		}
		var err error
		switch {
		case d.NewNID == 0:
			const q = `DELETE FROM current_state WHERE room_nid = $1 AND type = $2 AND state_key = $3`
			_, err = tx.Exec(ctx, q, roomNID, d.Type, d.StateKey)
		case d.OldNID == 0 || many:
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
