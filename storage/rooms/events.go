package rooms

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
)

// Status is what became of an event.
type Status int8

// The statuses. Only an accepted event is shown; a rejected one is in no state.
//
// https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
const (
	Accepted   Status = 1
	SoftFailed Status = 2
	Rejected   Status = 3
	Outlier    Status = 4
)

// String names the status as docs and logs do.
func (s Status) String() string {
	names := [...]string{"", "accepted", "soft_failed", "rejected", "outlier"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("status %d", int8(s))
	}
	return names[s]
}

// Event is a stored event.
type Event struct {
	*event.Event
	NID         int64
	RoomNID     int64
	Pos         storage.Position // see the table
	Status      Status
	SnapshotNID int64 // 0: none
	Outgoing    bool  // this server sends it to others
	RedactedBy  matrix.EventID
	Reason      string
	Notice      int            // which default push rule notifies its room of it, 0: none; not read
	Thread      matrix.EventID // the root of the thread that it is in, or ""; not read
	Notices     []Notice       // for whom it is something else; not read
}

const eventColumns = `e.event_nid, e.event_id, e.room_nid, e.pos, e.status, e.snapshot_nid, e.redacted_by, e.reason,
	e.json, (SELECT r.room_version FROM rooms r WHERE r.room_nid = e.room_nid)`

// ScanEvent reads a row of eventColumns.
func scanEvent(scan func(...any) error) (*Event, error) {
	var e Event
	var id matrix.EventID
	var version matrix.RoomVersion
	var snapshot sql.NullInt64
	var redactedBy sql.NullString
	var json []byte
	if err := scan(&e.NID, &id, &e.RoomNID, &e.Pos, &e.Status, &snapshot, &redactedBy, &e.Reason, &json, &version); err != nil {
		return nil, err
	}
	rules, err := version.Rules()
	if err != nil {
		return nil, err
	}
	if e.Event, err = event.ParseStored(json, id, rules); err != nil {
		return nil, fmt.Errorf("stored event %s: %w", id, err)
	}
	e.SnapshotNID, e.RedactedBy = snapshot.Int64, matrix.EventID(redactedBy.String)
	return &e, nil
}

// Events returns those of the events that are stored, in any status.
func Events(ctx context.Context, r *storage.Reader, ids []matrix.EventID) (map[matrix.EventID]*Event, error) {
	found := make(map[matrix.EventID]*Event, len(ids))
	const q = `SELECT ` + eventColumns + ` FROM events e WHERE e.event_id IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, texts(ids), func(rows *sql.Rows) error {
		e, err := scanEvent(rows.Scan)
		if err == nil {
			found[e.ID()] = e
		}
		return err
	})
	return found, err
}

// EventsByNID returns events by their numbers.
func EventsByNID(ctx context.Context, r *storage.Reader, nids []int64) (map[int64]*Event, error) {
	found := make(map[int64]*Event, len(nids))
	const q = `SELECT ` + eventColumns + ` FROM events e WHERE e.event_nid IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, nids, func(rows *sql.Rows) error {
		e, err := scanEvent(rows.Scan)
		if err == nil {
			found[e.NID] = e
		}
		return err
	})
	return found, err
}

// EventIn returns an event of a room, or M_NOT_FOUND if there is none or it is
// of another room.
//
// A lookup by event alone does not exist on purpose: who may read one room
// must not read another's event by naming it.
func EventIn(ctx context.Context, r *storage.Reader, room matrix.RoomID, id matrix.EventID) (*Event, error) {
	const q = `SELECT ` + eventColumns + ` FROM rooms o JOIN events e ON e.room_nid = o.room_nid
		WHERE o.room_id = $1 AND o.deleted = 0 AND e.event_id = $2`
	e, err := scanEvent(r.QueryRow(ctx, q, string(room), string(id)).Scan)
	if storage.NoRows(err) {
		return nil, matrix.NotFound("no such event in this room")
	}
	return e, err
}

var insertEvent = storage.NewInsert("events", []string{"event_nid", "event_id", "room_nid", "pos", "status", "type",
	"state_key", "sender", "depth", "origin_server_ts", "snapshot_nid", "outgoing", "redacted_by", "reason", "json",
	"notice", "thread_id"}, "")

// InsertEvent stores an event. e.NID and e.Pos are set by the caller.
func InsertEvent(tx *storage.Tx, e *Event) {
	var stateKey sql.NullString
	stateKey.String, stateKey.Valid = e.StateKey()
	tx.Insert(insertEvent, e.NID, string(e.ID()), e.RoomNID, int64(e.Pos), int(e.Status), e.Type(), stateKey,
		string(e.Sender()), e.Depth(), e.OriginServerTS(), sql.NullInt64{Int64: e.SnapshotNID, Valid: e.SnapshotNID != 0},
		flag(e.Outgoing), sql.NullString{String: string(e.RedactedBy), Valid: e.RedactedBy != ""}, e.Reason, string(e.JSON()),
		e.Notice, string(e.Thread))
	addNotices(tx, e)
	relate(tx, e)
}

// PlaceEvent gives an outlier its place in the room, and stores the copy of it
// that was judged: the one that was known may have been cut down to what its
// hash covers.
func PlaceEvent(ctx context.Context, tx *storage.Tx, e *Event) error {
	const q = `UPDATE events SET pos = $1, status = $2, snapshot_nid = $3, outgoing = $4, reason = $5, json = $6, redacted_by = $7,
			notice = $8, thread_id = $9
		WHERE event_nid = $10 AND status = 4`
	n, err := tx.Exec(ctx, q, int64(e.Pos), int(e.Status),
		sql.NullInt64{Int64: e.SnapshotNID, Valid: e.SnapshotNID != 0}, flag(e.Outgoing), e.Reason, string(e.JSON()),
		sql.NullString{String: string(e.RedactedBy), Valid: e.RedactedBy != ""},
		e.Notice, string(e.Thread), e.NID)
	if err == nil && n == 0 {
		return storage.ErrConflict
	}
	if err == nil {
		addNotices(tx, e)
		relate(tx, e)
	}
	return err
}

// InsertNew stores an event that another writer may store at the same time, as
// an outlier. Where it is stored by now it returns [storage.ErrConflict].
func InsertNew(ctx context.Context, tx *storage.Tx, e *Event) error {
	var one int
	err := tx.QueryRow(ctx, `SELECT 1 FROM events WHERE event_id = $1`, string(e.ID())).Scan(&one)
	switch {
	case err == nil:
		return storage.ErrConflict
	case !storage.NoRows(err):
		return fmt.Errorf("look for event: %w", err)
	}
	InsertEvent(tx, e)
	return nil
}

// RejectOutliers marks outliers that were stored unjudged, such as invitations
// from outside, and that turn out not to be allowed.
func RejectOutliers(ctx context.Context, tx *storage.Tx, nids []int64, reason string) error {
	_, err := storage.ExecIn(ctx, tx, `UPDATE events SET status = 3, reason = $1 WHERE status = 4 AND event_nid IN ($LIST)`,
		[]any{reason}, nids)
	return err
}

// ReplaceEvent stores the redacted form of an event over the event: what was
// redacted is gone from the database, and nobody is notified of it.
func ReplaceEvent(ctx context.Context, tx *storage.Tx, nid int64, redacted *event.Event, by matrix.EventID) error {
	const q = `UPDATE events SET json = $1, redacted_by = $2, notice = 0 WHERE event_nid = $3`
	if _, err := tx.Exec(ctx, q, string(redacted.JSON()), string(by), nid); err != nil {
		return fmt.Errorf("redact event: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM notices WHERE event_nid = $1`, nid); err != nil {
		return fmt.Errorf("take notices back: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM message_index WHERE rowid = $1`, nid); err != nil {
		return fmt.Errorf("forget its words: %w", err)
	}
	return nil
}

// Known returns which of the events are stored, with their numbers and status.
func Known(ctx context.Context, r *storage.Reader, ids []matrix.EventID) (map[matrix.EventID]Ref, error) {
	found := make(map[matrix.EventID]Ref, len(ids))
	const q = `SELECT event_id, event_nid, room_nid, pos, status FROM events WHERE event_id IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, texts(ids), func(rows *sql.Rows) error {
		var ref Ref
		if err := rows.Scan(&ref.ID, &ref.NID, &ref.RoomNID, &ref.Pos, &ref.Status); err != nil {
			return err
		}
		found[ref.ID] = ref
		return nil
	})
	return found, err
}

// Ref is an event by both its names, and what became of it.
type Ref struct {
	ID      matrix.EventID
	NID     int64
	RoomNID int64
	Pos     storage.Position
	Status  Status
}

// Placed reports whether the state before the event is known: it was received
// in its turn, and is neither an outlier nor a part of the backfilled past.
func (r Ref) Placed() bool { return r.Pos > 0 && r.Status != Outlier }

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}
