package storage

import (
	"context"
	"database/sql"
	"fmt"
)

// Finding is something in the database that must not be.
type Finding struct {
	Check string // what was checked
	What  string // which row breaks it
}

// String returns the finding as a line.
func (f Finding) String() string { return f.Check + ": " + f.What }

// checks are queries that return a line of text for each row that breaks a
// rule. A database of any age returns nothing.
var checks = []struct{ name, query string }{
	{"the version of a room is the number of its live events", `
		SELECT r.room_id FROM rooms r
		WHERE r.version <> (SELECT COUNT(*) FROM events e WHERE e.room_nid = r.room_nid AND e.pos > 0)`},
	{"the counts of a room are those of its members", `
		SELECT r.room_id FROM rooms r
		WHERE r.version > 0 AND (
			r.joined <> (SELECT COUNT(*) FROM memberships m WHERE m.room_nid = r.room_nid AND m.membership = 'join')
			OR r.invited <> (SELECT COUNT(*) FROM current_state s
				JOIN memberships m ON m.room_nid = s.room_nid AND m.user_id = s.state_key
				WHERE s.room_nid = r.room_nid AND s.type = 'm.room.member' AND m.membership = 'invite'))`},
	{"a member of the state has a membership of the same event", `
		SELECT r.room_id || ' ' || s.state_key FROM current_state s
		JOIN rooms r ON r.room_nid = s.room_nid
		LEFT JOIN memberships m ON m.room_nid = s.room_nid AND m.user_id = s.state_key
		WHERE s.type = 'm.room.member' AND (m.event_nid IS NULL OR m.event_nid <> s.event_nid)`},
	{"the state is of accepted events of the room", `
		SELECT r.room_id || ' ' || s.type || ' ' || s.state_key FROM current_state s
		JOIN rooms r ON r.room_nid = s.room_nid
		LEFT JOIN events e ON e.event_nid = s.event_nid
		WHERE e.event_nid IS NULL OR e.room_nid <> s.room_nid OR e.type <> s.type OR e.state_key <> s.state_key
			OR e.status = 3`},
	{"the state of a key is the last delta of the key", `
		SELECT r.room_id || ' ' || d.type || ' ' || d.state_key FROM state_delta d
		JOIN rooms r ON r.room_nid = d.room_nid
		LEFT JOIN current_state s ON s.room_nid = d.room_nid AND s.type = d.type AND s.state_key = d.state_key
		WHERE d.pos = (SELECT MAX(l.pos) FROM state_delta l
				WHERE l.room_nid = d.room_nid AND l.type = d.type AND l.state_key = d.state_key)
			AND COALESCE(s.event_nid, 0) <> COALESCE(d.new_nid, 0)`},
	{"no position is beyond the head of the log", `
		SELECT e.event_id FROM events e WHERE e.pos > (SELECT h.pos FROM stream_head h WHERE h.id = 1)`},
	{"positions of a room are its own", `
		SELECT MIN(e.event_id) FROM events e WHERE e.pos <> 0 GROUP BY e.room_nid, e.pos HAVING COUNT(*) > 1`},
}

// Verify looks for what must not be in a database, whatever crashed, and
// returns it. It reads one snapshot and may run beside a working server.
// Operators know it as "beffroi doctor --database".
func Verify(ctx context.Context, db *DB) (findings []Finding, err error) {
	err = db.View(ctx, func(r *Reader) error {
		for _, check := range checks {
			if err := r.Each(ctx, check.query, nil, func(rows *sql.Rows) error {
				f := Finding{Check: check.name}
				err := rows.Scan(&f.What)
				findings = append(findings, f)
				return err
			}); err != nil {
				return fmt.Errorf("check that %s: %w", check.name, err)
			}
		}
		return nil
	})
	return findings, err
}

// VerifyMembers looks for accounts in rooms that allowed does not allow there,
// by their IDs and the ID of the room.
func VerifyMembers(ctx context.Context, db *DB, allowed func(user, room string) bool) (findings []Finding, err error) {
	const q = `SELECT m.user_id, r.room_id FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
		WHERE m.membership IN ('join', 'invite', 'knock')`
	err = db.View(ctx, func(r *Reader) error {
		return r.Each(ctx, q, nil, func(rows *sql.Rows) error {
			var user, room string
			if err := rows.Scan(&user, &room); err != nil {
				return err
			}
			if !allowed(user, room) {
				findings = append(findings, Finding{"no account is in a room that the policy denies it", user + " in " + room})
			}
			return nil
		})
	})
	return findings, err
}
