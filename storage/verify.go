package storage

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// Finding is something in the database that must not be.
type Finding struct {
	Check string // what was checked
	What  string // which row breaks it
}

// String returns the finding as a line.
func (f Finding) String() string { return f.Check + ": " + f.What }

// check is a rule that rows must keep.
type check struct{ name, query string }

// run returns what breaks the rule in a stretch of rooms.
func (c check) run(ctx context.Context, r *Reader, after, upTo int64) (found []Finding, err error) {
	args := []any{after, upTo}
	for len(args) < strings.Count(c.query, "$") {
		args = append(args, after, upTo)
	}
	err = r.Each(ctx, c.query, args, func(rows *sql.Rows) error {
		f := Finding{Check: c.name}
		err := rows.Scan(&f.What)
		found = append(found, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("check that %s: %w", c.name, err)
	}
	return found, nil
}

// checks are queries that return a line of text for each row that breaks a
// rule, of the rooms with $1 < room_nid ≤ $2, however often that stands there.
// A database of any age returns nothing. A room that is being removed has no
// rules to break.
var checks = []check{
	{"the version of a room is the number of its live events", `
		SELECT r.room_id FROM rooms r
		WHERE r.room_nid > $1 AND r.room_nid <= $2 AND r.deleted = 0 AND r.version - r.purged <>
			(SELECT COUNT(*) FROM events e WHERE e.room_nid = r.room_nid AND e.status = 1 AND e.pos > 0) +
			(SELECT COUNT(*) FROM events e WHERE e.room_nid = r.room_nid AND e.status <> 1 AND e.pos > 0)`},
	{"the counts of a room are those of its members", `
		SELECT r.room_id FROM rooms r
		WHERE r.room_nid > $1 AND r.room_nid <= $2 AND r.deleted = 0 AND r.version > 0 AND (
			r.joined <> (SELECT COUNT(*) FROM memberships m WHERE m.room_nid = r.room_nid AND m.membership = 'join')
			OR r.invited <> (SELECT COUNT(*) FROM current_state s
				JOIN memberships m ON m.room_nid = s.room_nid AND m.user_id = s.state_key AND m.event_nid = s.event_nid
				WHERE s.room_nid = r.room_nid AND s.type = 'm.room.member' AND m.membership = 'invite'))`},
	// An invitation back into a room that this server has left is at a position of
	// its own: the state is still that of the leave.
	{"a member of the state has a membership of the same event", `
		SELECT r.room_id || ' ' || s.state_key FROM rooms r
		JOIN current_state s ON s.room_nid = r.room_nid AND s.type = 'm.room.member'
		LEFT JOIN memberships m ON m.room_nid = s.room_nid AND m.user_id = s.state_key
		WHERE r.room_nid > $1 AND r.room_nid <= $2 AND r.deleted = 0
			AND (m.event_nid IS NULL OR m.event_nid <> s.event_nid
				AND EXISTS (SELECT 1 FROM events e WHERE e.room_nid = m.room_nid AND e.pos = m.pos))`},
	{"the state is of accepted events of the room", `
		SELECT r.room_id || ' ' || s.type || ' ' || s.state_key FROM rooms r
		JOIN current_state s ON s.room_nid = r.room_nid
		LEFT JOIN events e ON e.event_nid = s.event_nid
		WHERE r.room_nid > $1 AND r.room_nid <= $2 AND r.deleted = 0 AND (e.event_nid IS NULL
			OR e.room_nid <> s.room_nid OR e.type <> s.type OR e.state_key <> s.state_key OR e.status = 3)`},
	{"the state of a key is the last change of the key", `
		SELECT r.room_id || ' ' || d.type || ' ' || d.state_key FROM rooms r
		JOIN state_delta d ON d.room_nid = r.room_nid
		LEFT JOIN current_state s ON s.room_nid = d.room_nid AND s.type = d.type AND s.state_key = d.state_key
		WHERE r.room_nid > $1 AND r.room_nid <= $2 AND r.deleted = 0
			AND d.pos = (SELECT MAX(l.pos) FROM state_delta l
				WHERE l.room_nid = d.room_nid AND l.type = d.type AND l.state_key = d.state_key)
			AND COALESCE(s.event_nid, 0) <> COALESCE(d.new_nid, 0)`},
	{"a change of the state begins where the one before it ended", `
		SELECT r.room_id || ' ' || d.type || ' ' || d.state_key FROM rooms r JOIN (
			SELECT c.room_nid, c.type, c.state_key, COALESCE(c.old_nid, 0) AS was,
				LAG(COALESCE(c.new_nid, 0)) OVER (PARTITION BY c.room_nid, c.type, c.state_key ORDER BY c.pos) AS ended
			FROM state_delta c WHERE c.room_nid > $1 AND c.room_nid <= $2) d ON d.room_nid = r.room_nid
		WHERE r.deleted = 0 AND d.ended <> d.was`},
	{"a change of the state is by an event of the room", `
		SELECT r.room_id || ' ' || d.type || ' ' || d.state_key FROM rooms r
		JOIN state_delta d ON d.room_nid = r.room_nid
		LEFT JOIN events o ON o.event_nid = d.old_nid LEFT JOIN events n ON n.event_nid = d.new_nid
		WHERE r.room_nid > $1 AND r.room_nid <= $2 AND r.deleted = 0
			AND (d.old_nid IS NOT NULL AND COALESCE(o.room_nid, 0) <> r.room_nid
				OR d.new_nid IS NOT NULL AND COALESCE(n.room_nid, 0) <> r.room_nid)`},
	{"the changes since the last checkpoint are counted", `
		SELECT r.room_id FROM rooms r
		WHERE r.room_nid > $1 AND r.room_nid <= $2 AND r.deleted = 0 AND r.deltas <> (
			SELECT COUNT(*) FROM state_delta d WHERE d.room_nid = r.room_nid AND d.pos >= COALESCE(
				(SELECT MAX(c.pos) FROM state_checkpoints c WHERE c.room_nid = r.room_nid), 0))`},
	{"the snapshot of an event is one of its room", `
		SELECT r.room_id || ' ' || e.event_id FROM rooms r
		JOIN events e ON e.room_nid = r.room_nid AND e.snapshot_nid IS NOT NULL
		LEFT JOIN state_snapshots s ON s.snapshot_nid = e.snapshot_nid
		WHERE r.room_nid > $1 AND r.room_nid <= $2 AND r.deleted = 0 AND COALESCE(s.room_nid, 0) <> r.room_nid`},
	{"no position is beyond the head of the log", `
		SELECT r.room_id FROM rooms r WHERE r.room_nid > $1 AND r.room_nid <= $2 AND r.deleted = 0
			AND (SELECT h.pos FROM stream_head h WHERE h.id = 1) < r.head_pos`},
	{"no event is beyond the head of its room", `
		SELECT r.room_id FROM rooms r WHERE r.room_nid > $1 AND r.room_nid <= $2 AND r.deleted = 0
			AND (r.head_pos < (SELECT MAX(e.pos) FROM events e WHERE e.room_nid = r.room_nid AND e.status = 1)
				OR r.head_pos < (SELECT MAX(e.pos) FROM events e WHERE e.room_nid = r.room_nid AND e.status <> 1))`},
	{"positions of a room are its own", `
		SELECT MIN(p.event_id) FROM (
			SELECT e.room_nid, e.pos, e.event_id FROM rooms r JOIN events e ON e.room_nid = r.room_nid
			WHERE r.room_nid > $1 AND r.room_nid <= $2 AND r.deleted = 0 AND e.status = 1 AND e.pos <> 0
			UNION ALL
			SELECT e.room_nid, e.pos, e.event_id FROM rooms r JOIN events e ON e.room_nid = r.room_nid
			WHERE r.room_nid > $3 AND r.room_nid <= $4 AND r.deleted = 0 AND e.status <> 1 AND e.pos <> 0) p
		GROUP BY p.room_nid, p.pos HAVING COUNT(*) > 1`},
}

const (
	// chunkRooms and chunkEvents bound the rooms of one step, of which only a
	// larger room has a step to itself.
	chunkRooms  = 200
	chunkEvents = 20_000
	// maxFindings bounds what is told: a database with more is beyond repair.
	maxFindings = 1000
)

// Verify looks for what must not be in a database, whatever crashed, and
// returns it, up to a thousand findings. It goes through the rooms in steps,
// each on a snapshot of its own, and may run beside a working server. Operators
// know it as "beffroi doctor".
func Verify(ctx context.Context, db *DB) (findings []Finding, err error) {
	for after := int64(0); len(findings) < maxFindings; {
		var chunk []int64
		err := db.View(ctx, func(r *Reader) (err error) {
			if chunk, err = roomChunk(ctx, r, after); err != nil || len(chunk) == 0 {
				return err
			}
			upTo := chunk[len(chunk)-1]
			for _, check := range checks {
				found, err := check.run(ctx, r, after, upTo)
				if err != nil {
					return err
				}
				findings = append(findings, found...)
			}
			for _, room := range chunk {
				found, err := verifyStates(ctx, r, room)
				if err != nil {
					return err
				}
				findings = append(findings, found...)
			}
			after = upTo
			return nil
		})
		if err != nil || len(chunk) == 0 {
			return findings, err
		}
	}
	return findings[:maxFindings], nil
}

// roomChunk returns the rooms of the next step.
func roomChunk(ctx context.Context, r *Reader, after int64) (chunk []int64, err error) {
	const q = `SELECT room_nid, version FROM rooms WHERE room_nid > $1 ORDER BY room_nid LIMIT $2`
	events, full := int64(0), false
	err = r.Each(ctx, q, []any{after, chunkRooms}, func(rows *sql.Rows) error {
		var nid, version int64
		if err := rows.Scan(&nid, &version); err != nil {
			return err
		}
		events += version
		full = full || len(chunk) > 0 && events > chunkEvents
		if !full {
			chunk = append(chunk, nid)
		}
		return nil
	})
	return chunk, err
}

// VerifyMembers looks for accounts in rooms that allowed does not allow there,
// by their IDs and the ID of the room, in the steps of [Verify].
func VerifyMembers(ctx context.Context, db *DB, allowed func(user, room string) bool) (findings []Finding, err error) {
	const q = `SELECT m.user_id, r.room_id FROM rooms r JOIN memberships m ON m.room_nid = r.room_nid
		WHERE r.room_nid > $1 AND r.room_nid <= $2 AND r.deleted = 0 AND m.membership IN ('join', 'invite', 'knock')`
	for after := int64(0); ; {
		var chunk []int64
		err := db.View(ctx, func(r *Reader) (err error) {
			if chunk, err = roomChunk(ctx, r, after); err != nil || len(chunk) == 0 {
				return err
			}
			upTo := chunk[len(chunk)-1]
			err = r.Each(ctx, q, []any{after, upTo}, func(rows *sql.Rows) error {
				var user, room string
				if err := rows.Scan(&user, &room); err != nil {
					return err
				}
				if !allowed(user, room) {
					findings = append(findings, Finding{"no account is in a room that the policy denies it", user + " in " + room})
				}
				return nil
			})
			after = upTo
			return err
		})
		if err != nil || len(chunk) == 0 {
			return findings, err
		}
	}
}
