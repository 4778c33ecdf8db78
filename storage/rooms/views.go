package rooms

import (
	"context"
	"database/sql"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
)

func listEvents(ctx context.Context, r *storage.Reader, q string, args ...any) (found []*Event, err error) {
	err = r.Each(ctx, q, args, func(rows *sql.Rows) error {
		e, err := scanEvent(rows.Scan)
		found = append(found, e)
		return err
	})
	return found, err
}

// StateEvents returns the events of the state of a room now, in the order in
// which they were stored.
func StateEvents(ctx context.Context, r *storage.Reader, roomNID int64) ([]*Event, error) {
	const q = `SELECT ` + eventColumns + ` FROM current_state s JOIN events e ON e.event_nid = s.event_nid
		WHERE s.room_nid = $1 ORDER BY e.event_nid`
	return listEvents(ctx, r, q, roomNID)
}

// StateEventsBefore returns the events of the state of a room just before a
// position, in the order in which they were stored.
func StateEventsBefore(ctx context.Context, r *storage.Reader, roomNID int64, pos storage.Position) ([]*Event, error) {
	state, err := StateBefore(ctx, r, roomNID, pos)
	if err != nil {
		return nil, err
	}
	return EventsOf(ctx, r, state)
}

// EventsOf returns the events of a state, in the order in which they were
// stored.
func EventsOf(ctx context.Context, r *storage.Reader, state State) ([]*Event, error) {
	nids := make([]int64, 0, len(state))
	for _, nid := range state {
		nids = append(nids, nid)
	}
	byNID, err := EventsByNID(ctx, r, nids)
	if err != nil {
		return nil, err
	}
	slices.Sort(nids)
	found := make([]*Event, 0, len(nids))
	for _, nid := range nids {
		if e := byNID[nid]; e != nil {
			found = append(found, e)
		}
	}
	return found, nil
}

// MemberEvents returns the membership events of a room now with one of the
// memberships join, invite, knock, leave and ban; "" means all.
func MemberEvents(ctx context.Context, r *storage.Reader, roomNID int64, membership string) ([]*Event, error) {
	const q = `SELECT ` + eventColumns + ` FROM memberships m JOIN events e ON e.event_nid = m.event_nid
		WHERE m.room_nid = $1 AND (m.membership = $2 OR $2 = '') ORDER BY e.event_nid`
	return listEvents(ctx, r, q, roomNID, membership)
}

// StateOfTypeBefore returns the events of one type of the state of a room just
// before a position.
func StateOfTypeBefore(ctx context.Context, r *storage.Reader, roomNID int64, typ string, pos storage.Position) ([]*Event, error) {
	state, err := StateBefore(ctx, r, roomNID, pos)
	if err != nil {
		return nil, err
	}
	for t := range state {
		if t.Type != typ {
			delete(state, t)
		}
	}
	return EventsOf(ctx, r, state)
}

// StateEventBefore returns the event of one key of the state of a room just
// before a position, or nil.
func StateEventBefore(ctx context.Context, r *storage.Reader, roomNID int64, t event.StateTuple, pos storage.Position) (*Event, error) {
	const q = `SELECT old_nid FROM state_delta
		WHERE room_nid = $1 AND type = $2 AND state_key = $3 AND pos >= $4 ORDER BY pos LIMIT 1`
	var old sql.NullInt64
	err := r.QueryRow(ctx, q, roomNID, t.Type, t.StateKey, int64(pos)).Scan(&old)
	switch {
	case storage.NoRows(err):
		return StateEvent(ctx, r, roomNID, t.Type, t.StateKey)
	case err != nil || !old.Valid:
		return nil, err
	}
	found, err := EventsByNID(ctx, r, []int64{old.Int64})
	return found[old.Int64], err
}

// StateEventsNow returns the events of some keys of the state of a room now.
// It is for a handful of keys.
func StateEventsNow(ctx context.Context, r *storage.Reader, roomNID int64, types []string) (map[string]*Event, error) {
	found := make(map[string]*Event, len(types))
	const q = `SELECT ` + eventColumns + ` FROM current_state s JOIN events e ON e.event_nid = s.event_nid
		WHERE s.room_nid = $1 AND s.state_key = '' AND s.type IN ($LIST)`
	err := storage.EachIn(ctx, r, q, []any{roomNID}, types, func(rows *sql.Rows) error {
		e, err := scanEvent(rows.Scan)
		if err == nil {
			found[e.Type()] = e
		}
		return err
	})
	return found, err
}

// MembersBefore returns the membership events of some users in a room just
// before a position, by user ID.
func MembersBefore(ctx context.Context, r *storage.Reader, roomNID int64, users []string, pos storage.Position) (map[string]*Event, error) {
	nids := make(map[string]int64, len(users))
	const now = `SELECT state_key, event_nid FROM current_state WHERE room_nid = $1 AND type = 'm.room.member' AND state_key IN ($LIST)`
	if err := storage.EachIn(ctx, r, now, []any{roomNID}, users, func(rows *sql.Rows) error {
		var key string
		var nid int64
		err := rows.Scan(&key, &nid)
		nids[key] = nid
		return err
	}); err != nil {
		return nil, err
	}
	const undo = `SELECT state_key, old_nid FROM state_delta
		WHERE room_nid = $1 AND type = 'm.room.member' AND pos >= $2 AND state_key IN ($LIST) ORDER BY pos DESC`
	if err := storage.EachIn(ctx, r, undo, []any{roomNID, int64(pos)}, users, func(rows *sql.Rows) error {
		var key string
		var old sql.NullInt64
		err := rows.Scan(&key, &old)
		nids[key] = old.Int64
		return err
	}); err != nil {
		return nil, err
	}
	list := make([]int64, 0, len(nids))
	for _, nid := range nids {
		list = append(list, nid)
	}
	byNID, err := EventsByNID(ctx, r, list)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*Event, len(nids))
	for key, nid := range nids {
		if e := byNID[nid]; e != nil {
			found[key] = e
		}
	}
	return found, nil
}

// Replaced returns, for state events by their numbers, the events that each
// one replaced as the state of its key. One that replaced none is missing.
func Replaced(ctx context.Context, r *storage.Reader, nids []int64) (map[int64]*Event, error) {
	found := make(map[int64]*Event, len(nids))
	const q = `SELECT n.event_nid, ` + eventColumns + ` FROM events n
		JOIN state_delta d ON d.room_nid = n.room_nid AND d.pos = n.pos AND d.type = n.type AND d.state_key = n.state_key
		JOIN events e ON e.event_nid = d.old_nid
		WHERE n.event_nid IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, nids, func(rows *sql.Rows) error {
		var nid int64
		e, err := scanEvent(func(dest ...any) error { return rows.Scan(append([]any{&nid}, dest...)...) })
		if err == nil {
			found[nid] = e
		}
		return err
	})
	return found, err
}

// StateEventIn returns the event of a type and the empty state key in the
// state of a room now, or nil: also where the room is not known.
func StateEventIn(ctx context.Context, r *storage.Reader, room matrix.RoomID, typ string) (*Event, error) {
	const q = `SELECT ` + eventColumns + ` FROM rooms n JOIN current_state s ON s.room_nid = n.room_nid
		JOIN events e ON e.event_nid = s.event_nid
		WHERE n.room_id = $1 AND n.deleted = 0 AND s.type = $2 AND s.state_key = ''`
	e, err := scanEvent(r.QueryRow(ctx, q, string(room), typ).Scan)
	if storage.NoRows(err) {
		return nil, nil
	}
	return e, err
}
