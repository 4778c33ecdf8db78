package rooms

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"

	"beffroi/matrix"
	"beffroi/storage"
)

const (
	// FirstPosition is before every event.
	FirstPosition storage.Position = math.MinInt64 / 2
	// lastPosition is after every event.
	lastPosition storage.Position = math.MaxInt64
)

// Purge says what of the history of a room goes: the events with After < pos ≤
// UpTo, where BeforeTS is not 0 only those that their senders date before it.
//
// State stays: it is what the room is made of, and what every later event is
// judged by. So do the tips, which the next event follows.
type Purge struct {
	RoomNID     int64
	After, UpTo storage.Position
	BeforeTS    int64
}

// Purged is what one step of a purge did.
type Purged struct {
	Events  []matrix.EventID // that are gone
	Reached storage.Position // where the next step begins
	Tip     storage.Position // of the first tip that was passed over, 0 for none
	Done    bool
}

// aged is an event that may go.
type aged struct {
	nid   int64
	id    matrix.EventID
	pos   storage.Position
	state bool
	ts    int64
}

// PurgeStep looks at no more than limit events and removes those that go, with
// the receipts and the transaction IDs that name them and the edges behind
// them: what was removed is not asked for again.
func PurgeStep(ctx context.Context, tx *storage.Tx, p Purge, limit int) (out Purged, err error) {
	r, err := tx.Snapshot(ctx)
	if err != nil {
		return out, err
	}
	found, err := ByNIDs(ctx, r, []int64{p.RoomNID})
	if err != nil {
		return out, err
	}
	room, ok := found[p.RoomNID]
	if !ok {
		return out, matrix.NotFound("no such room")
	}
	upTo := p.UpTo
	if p.After < 0 && upTo >= 0 { // outliers stand at 0: they are passed over
		upTo = -1
	}
	list, reached, err := agedEvents(ctx, r, p.RoomNID, p.After, upTo, limit)
	if err != nil {
		return out, err
	}
	var gone []aged
	for _, e := range list {
		switch {
		case e.state || p.BeforeTS > 0 && e.ts >= p.BeforeTS:
		case slices.Contains(room.Tips, e.id):
			if out.Tip == 0 {
				out.Tip = e.pos
			}
		default:
			gone = append(gone, e)
		}
	}
	out.Reached = reached
	if reached == -1 && upTo != p.UpTo {
		out.Reached = 0
	}
	out.Done = out.Reached >= p.UpTo
	out.Events, err = removeEvents(ctx, tx, p.RoomNID, gone)
	return out, err
}

// agedEvents returns the events of a stretch of a room in the order of their
// positions, and up to where they are all.
func agedEvents(ctx context.Context, r *storage.Reader, roomNID int64, after, upTo storage.Position,
	limit int) (list []aged, reached storage.Position, err error) {
	reached = upTo
	for _, q := range [...]string{
		`SELECT event_nid, event_id, pos, state_key, origin_server_ts FROM events
			WHERE room_nid = $1 AND status = 1 AND pos > $2 AND pos <= $3 ORDER BY pos LIMIT $4`,
		`SELECT event_nid, event_id, pos, state_key, origin_server_ts FROM events
			WHERE room_nid = $1 AND status <> 1 AND pos > $2 AND pos <= $3 ORDER BY pos LIMIT $4`,
	} {
		n := len(list)
		if err := r.Each(ctx, q, []any{roomNID, int64(after), int64(upTo), limit}, func(rows *sql.Rows) error {
			var e aged
			var key sql.NullString
			err := rows.Scan(&e.nid, &e.id, &e.pos, &key, &e.ts)
			e.state = key.Valid
			list = append(list, e)
			return err
		}); err != nil {
			return nil, 0, fmt.Errorf("read old events: %w", err)
		}
		if len(list)-n == limit {
			reached = min(reached, list[len(list)-1].pos)
		}
	}
	list = slices.DeleteFunc(list, func(e aged) bool { return e.pos > reached })
	slices.SortFunc(list, func(a, b aged) int { return cmp.Compare(a.pos, b.pos) })
	return list, reached, nil
}

func removeEvents(ctx context.Context, tx *storage.Tx, roomNID int64, gone []aged) (ids []matrix.EventID, err error) {
	if len(gone) == 0 {
		return nil, nil
	}
	nids := make([]int64, len(gone))
	live := 0
	for i, e := range gone {
		nids[i] = e.nid
		ids = append(ids, e.id)
		if e.pos > 0 {
			live++
		}
	}
	r, err := tx.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	events, err := EventsByNID(ctx, r, nids)
	if err != nil {
		return nil, err
	}
	var behind []matrix.EventID
	for _, e := range events {
		behind = append(behind, e.PrevEvents()...)
	}
	if err := RemoveEdges(ctx, tx, roomNID, behind); err != nil {
		return nil, err
	}
	if _, err := deleteEvents(ctx, tx, nids); err != nil {
		return nil, err
	}
	for _, q := range [...]string{
		`DELETE FROM receipts WHERE room_nid = $1 AND event_id IN ($LIST)`,
		`DELETE FROM pending_redactions WHERE room_nid = $1 AND redaction_id IN ($LIST)`,
	} {
		if _, err := storage.ExecIn(ctx, tx, q, []any{roomNID}, texts(ids)); err != nil {
			return nil, fmt.Errorf("remove what names events: %w", err)
		}
	}
	if err := removeTransactions(ctx, tx, ids); err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, `UPDATE rooms SET purged = purged + $1 WHERE room_nid = $2`, live, roomNID)
	return ids, err
}

// deleteEvents removes events with what they say of others.
func deleteEvents(ctx context.Context, tx *storage.Tx, nids []int64) (rows int64, err error) {
	for _, q := range [...]string{`DELETE FROM relations WHERE event_nid IN ($LIST)`,
		`DELETE FROM notices WHERE event_nid IN ($LIST)`, `DELETE FROM message_index WHERE rowid IN ($LIST)`, `DELETE FROM events WHERE event_nid IN ($LIST)`} {
		n, err := storage.ExecIn(ctx, tx, q, nil, nids)
		if err != nil {
			return rows, fmt.Errorf("remove events: %w", err)
		}
		rows += n
	}
	return rows, nil
}

func removeTransactions(ctx context.Context, tx *storage.Tx, ids []matrix.EventID) error {
	if _, err := storage.ExecIn(ctx, tx, `DELETE FROM transactions WHERE event_id IN ($LIST)`, nil, texts(ids)); err != nil {
		return fmt.Errorf("remove transaction IDs: %w", err)
	}
	return nil
}

// SetPurged keeps up to where retention has removed all that it may of a room.
func SetPurged(ctx context.Context, tx *storage.Tx, roomNID int64, upTo storage.Position) error {
	_, err := tx.Exec(ctx, `UPDATE rooms SET purged_to = $1 WHERE room_nid = $2`, int64(upTo), roomNID)
	return err
}

// Kept is a room and up to where retention has removed all that it may of it.
type Kept struct {
	NID      int64
	ID       matrix.RoomID
	PurgedTo storage.Position
	HeadPos  storage.Position
	FirstPos int64
}

// KeptRooms returns rooms with a number above after that have events, in the
// order of their numbers.
func KeptRooms(ctx context.Context, r *storage.Reader, after int64, limit int) (found []Kept, err error) {
	const q = `SELECT room_nid, room_id, purged_to, head_pos, first_pos FROM rooms
		WHERE room_nid > $1 AND version > 0 AND deleted = 0 ORDER BY room_nid LIMIT $2`
	err = r.Each(ctx, q, []any{after, limit}, func(rows *sql.Rows) error {
		var k Kept
		err := rows.Scan(&k.NID, &k.ID, &k.PurgedTo, &k.HeadPos, &k.FirstPos)
		found = append(found, k)
		return err
	})
	return found, err
}
