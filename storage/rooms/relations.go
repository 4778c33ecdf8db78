package rooms

import (
	"bytes"
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/storage"
)

// The relations that this server aggregates.
const (
	RelReplace   = "m.replace"
	RelThread    = "m.thread"
	RelReference = "m.reference"
)

var insertRelation = storage.NewInsert("relations", []string{"event_nid", "room_nid", "target_id", "rel_type", "type"},
	"ON CONFLICT DO NOTHING")

// relate notes what an event says it relates to. One that says nothing costs
// nothing.
func relate(tx *storage.Tx, e *Event) {
	if target, relType := RelatesTo(e.Content()); target != "" {
		tx.Insert(insertRelation, e.NID, e.RoomNID, string(target), relType, e.Type())
	}
}

// RelatesTo returns which event the content of another relates to and how, ""
// where it relates to none in a form that can be stored.
//
// https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
func RelatesTo(content []byte) (target matrix.EventID, relType string) {
	if !bytes.Contains(content, []byte(`"m.relates_to"`)) {
		return "", ""
	}
	relation := gjson.GetBytes(content, `m\.relates_to`)
	id, kind := relation.Get("event_id"), relation.Get("rel_type")
	if id.Type != gjson.String || kind.Type != gjson.String {
		return "", ""
	}
	target, err := matrix.ParseEventID(id.Str)
	if err != nil || kind.Str == "" || len(kind.Str) > matrix.MaxIDBytes || strings.ContainsRune(kind.Str+id.Str, 0) {
		return "", ""
	}
	return target, kind.Str
}

// Related asks for events that relate to others. "" is any.
type Related struct {
	RoomNID       int64
	RelType, Type string
	After, UpTo   storage.Position // After < pos ≤ UpTo
	Limit         int
	Backwards     bool // the newest first
}

// RelatedRef is an event that relates to another one.
type RelatedRef struct {
	NID     int64
	ID      matrix.EventID
	Pos     storage.Position
	RelType string
	Type    string
}

// counts is the condition on an event e that makes its relation count.
const counts = `e.status = 1 AND e.redacted_by IS NULL`

const relatedQuery = `SELECT e.event_nid, e.event_id, e.pos, x.rel_type, x.type FROM relations x JOIN events e ON e.event_nid = x.event_nid
	WHERE x.room_nid = $1 AND ` + counts + ` AND e.pos <> 0`

func scanRelated(rows *sql.Rows) (ref RelatedRef, err error) {
	err = rows.Scan(&ref.NID, &ref.ID, &ref.Pos, &ref.RelType, &ref.Type)
	return ref, err
}

// RelatedTo returns a page of the accepted events that relate to one event and
// are not redacted, in order.
func RelatedTo(ctx context.Context, r *storage.Reader, q Related, target matrix.EventID) (found []RelatedRef, err error) {
	text := relatedQuery + ` AND x.target_id = $2 AND e.pos > $3 AND e.pos <= $4
		AND ($5 = '' OR x.rel_type = $6) AND ($7 = '' OR x.type = $8) ORDER BY e.pos LIMIT $9`
	if q.Backwards {
		text = relatedQuery + ` AND x.target_id = $2 AND e.pos > $3 AND e.pos <= $4
		AND ($5 = '' OR x.rel_type = $6) AND ($7 = '' OR x.type = $8) ORDER BY e.pos DESC LIMIT $9`
	}
	args := []any{q.RoomNID, string(target), int64(q.After), int64(q.UpTo), q.RelType, q.RelType, q.Type, q.Type, q.Limit}
	err = r.Each(ctx, text, args, func(rows *sql.Rows) error {
		ref, err := scanRelated(rows)
		found = append(found, ref)
		return err
	})
	return found, err
}

// RelatedToAny returns at most limit accepted events that relate to any of some
// events and are not redacted, in no order.
func RelatedToAny(ctx context.Context, r *storage.Reader, roomNID int64, targets []matrix.EventID, limit int) (found []RelatedRef, err error) {
	err = storage.EachIn(ctx, r, relatedQuery+` AND x.target_id IN ($LIST)`, []any{roomNID}, texts(targets), func(rows *sql.Rows) error {
		ref, err := scanRelated(rows)
		if len(found) < limit {
			found = append(found, ref)
		}
		return err
	})
	return found, err
}

// RelatedBy returns those of some events of a room to which another relates that
// is accepted and not redacted: in one of some ways, and by one of some users.
// An empty list is any.
func RelatedBy(ctx context.Context, r *storage.Reader, roomNID int64, events []*Event, relTypes []string,
	senders []matrix.UserID) (map[matrix.EventID]bool, error) {
	ids := make([]matrix.EventID, len(events))
	for i, e := range events {
		ids[i] = e.ID()
	}
	found := make(map[matrix.EventID]bool)
	const q = `SELECT x.target_id, x.rel_type, e.sender FROM relations x JOIN events e ON e.event_nid = x.event_nid
		WHERE x.room_nid = $1 AND e.status = 1 AND e.redacted_by IS NULL AND x.target_id IN ($LIST)`
	err := storage.EachIn(ctx, r, q, []any{roomNID}, texts(ids), func(rows *sql.Rows) error {
		var target matrix.EventID
		var relType string
		var sender matrix.UserID
		err := rows.Scan(&target, &relType, &sender)
		if (len(relTypes) == 0 || slices.Contains(relTypes, relType)) && (len(senders) == 0 || slices.Contains(senders, sender)) {
			found[target] = true
		}
		return err
	})
	return found, err
}

// Aggregate is what the events say together that relate to one event in one
// way.
type Aggregate struct {
	RoomNID int64
	RelType string
	Count   int64
	Latest  storage.Position // of the newest of them
	ByUser  bool             // the user sent one of them
}

// Aggregates counts the relations to some events that this server aggregates,
// for a user. It is one query for 500 events.
func Aggregates(ctx context.Context, r *storage.Reader, user matrix.UserID, targets []matrix.EventID,
	fn func(matrix.EventID, Aggregate)) error {
	const q = `
		SELECT x.target_id, x.room_nid, x.rel_type, COUNT(*), MAX(e.pos), MAX(CASE WHEN e.sender = $1 THEN 1 ELSE 0 END)
		FROM events p JOIN relations x ON x.room_nid = p.room_nid AND x.target_id = p.event_id
		JOIN events e ON e.event_nid = x.event_nid
		WHERE x.rel_type IN ('m.replace', 'm.thread', 'm.reference') AND ` + counts + ` AND p.event_id IN ($LIST)
		GROUP BY x.target_id, x.room_nid, x.rel_type`
	return storage.EachIn(ctx, r, q, []any{string(user)}, texts(targets), func(rows *sql.Rows) error {
		var target matrix.EventID
		var a Aggregate
		var byUser int
		err := rows.Scan(&target, &a.RoomNID, &a.RelType, &a.Count, &a.Latest, &byUser)
		a.ByUser = byUser == 1
		fn(target, a)
		return err
	})
}

// Replacements returns the newest valid replacement of each of some events:
// of the same sender and type, no state, and the original itself replaces
// nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#validity-of-replacement-events
func Replacements(ctx context.Context, r *storage.Reader, targets []matrix.EventID) (map[matrix.EventID]int64, error) {
	found := make(map[matrix.EventID]int64)
	const q = `
		SELECT target_id, event_nid FROM (
			SELECT x.target_id, x.event_nid,
				ROW_NUMBER() OVER (PARTITION BY x.target_id ORDER BY e.origin_server_ts DESC, e.event_id DESC) AS place
			FROM events p JOIN relations x ON x.room_nid = p.room_nid AND x.target_id = p.event_id AND x.rel_type = 'm.replace'
			JOIN events e ON e.event_nid = x.event_nid
			WHERE ` + counts + ` AND e.sender = p.sender AND e.type = p.type AND e.state_key IS NULL AND p.state_key IS NULL
				AND NOT EXISTS (SELECT 1 FROM relations o WHERE o.event_nid = p.event_nid AND o.rel_type = 'm.replace')
				AND p.event_id IN ($LIST)) t
		WHERE place = 1`
	err := storage.EachIn(ctx, r, q, nil, texts(targets), func(rows *sql.Rows) error {
		var target matrix.EventID
		var nid int64
		err := rows.Scan(&target, &nid)
		found[target] = nid
		return err
	})
	return found, err
}

// References returns the events that refer to some events, at most limit for
// each, the oldest first.
func References(ctx context.Context, r *storage.Reader, targets []matrix.EventID, limit int,
	fn func(matrix.EventID, *Event)) error {
	const q = `
		SELECT t.target_id, ` + eventColumns + ` FROM (
			SELECT x.target_id, x.event_nid, ROW_NUMBER() OVER (PARTITION BY x.target_id ORDER BY e.pos) AS place
			FROM events p JOIN relations x ON x.room_nid = p.room_nid AND x.target_id = p.event_id AND x.rel_type = 'm.reference'
			JOIN events e ON e.event_nid = x.event_nid
			WHERE ` + counts + ` AND p.event_id IN ($LIST)) t
		JOIN events e ON e.event_nid = t.event_nid ORDER BY e.pos`
	taken := make(map[matrix.EventID]int)
	return storage.EachIn(ctx, r, q, nil, texts(targets), func(rows *sql.Rows) error {
		var target matrix.EventID
		e, err := scanEvent(func(dest ...any) error { return rows.Scan(append([]any{&target}, dest...)...) })
		if err == nil && taken[target] < limit {
			taken[target]++
			fn(target, e)
		}
		return err
	})
}

// EventsAt returns the accepted events at some positions of their rooms.
func EventsAt(ctx context.Context, r *storage.Reader, at map[int64][]storage.Position) (found []*Event, err error) {
	const q = `SELECT ` + eventColumns + ` FROM events e WHERE e.room_nid = $1 AND e.status = 1 AND e.pos IN ($LIST)`
	for room, list := range at {
		positions := make([]int64, len(list))
		for i, pos := range list {
			positions[i] = int64(pos)
		}
		if err := storage.EachIn(ctx, r, q, []any{room}, positions, func(rows *sql.Rows) error {
			e, err := scanEvent(rows.Scan)
			found = append(found, e)
			return err
		}); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// ThreadRoot is an event with a thread, and where the thread's newest event is.
type ThreadRoot struct {
	NID    int64
	Latest storage.Position
}

// Threads returns the threads of a room whose newest event is not after a
// position, the latest first: all, or those in which a user took part.
func Threads(ctx context.Context, r *storage.Reader, roomNID int64, user matrix.UserID, upTo storage.Position, limit int) (found []ThreadRoot, err error) {
	const q = `
		SELECT p.event_nid, MAX(e.pos) FROM relations x JOIN events e ON e.event_nid = x.event_nid
		JOIN events p ON p.event_id = x.target_id AND p.room_nid = x.room_nid AND p.status = 1
		WHERE x.room_nid = $1 AND x.rel_type = 'm.thread' AND ` + counts + `
		GROUP BY p.event_nid, p.sender
		HAVING MAX(e.pos) <= $2 AND ($3 = '' OR p.sender = $4 OR MAX(CASE WHEN e.sender = $5 THEN 1 ELSE 0 END) = 1)
		ORDER BY MAX(e.pos) DESC LIMIT $6`
	err = r.Each(ctx, q, []any{roomNID, int64(upTo), string(user), string(user), string(user), limit}, func(rows *sql.Rows) error {
		var root ThreadRoot
		err := rows.Scan(&root.NID, &root.Latest)
		found = append(found, root)
		return err
	})
	return found, err
}
