package rooms

import (
	"context"
	"database/sql"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
)

// Course is how one key of the state of a room went. A number of 0 stands for
// no event.
type Course struct {
	First int64 // before the first change
	Steps []CourseStep
}

// CourseStep is a change: from the position on NID holds.
type CourseStep struct {
	Pos storage.Position
	NID int64
}

func (c *Course) add(pos storage.Position, old, now sql.NullInt64) {
	if len(c.Steps) == 0 {
		c.First = old.Int64
	}
	c.Steps = append(c.Steps, CourseStep{pos, now.Int64})
}

// Courses returns how one key of the state of rooms went, by room. A room that
// never had the key is missing.
func Courses(ctx context.Context, r *storage.Reader, roomNIDs []int64, t event.StateTuple) (map[int64]*Course, error) {
	found := make(map[int64]*Course, len(roomNIDs))
	const q = `SELECT room_nid, pos, old_nid, new_nid FROM state_delta
		WHERE type = $1 AND state_key = $2 AND room_nid IN ($LIST) ORDER BY pos`
	err := storage.EachIn(ctx, r, q, []any{t.Type, t.StateKey}, roomNIDs, func(rows *sql.Rows) error {
		var nid int64
		var pos storage.Position
		var old, now sql.NullInt64
		err := rows.Scan(&nid, &pos, &old, &now)
		if found[nid] == nil {
			found[nid] = new(Course)
		}
		found[nid].add(pos, old, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	still := make([]int64, 0, len(roomNIDs)) // what never changed is as it is now
	for _, nid := range roomNIDs {
		if found[nid] == nil {
			still = append(still, nid)
		}
	}
	const current = `SELECT room_nid, event_nid FROM current_state
		WHERE type = $1 AND state_key = $2 AND room_nid IN ($LIST)`
	err = storage.EachIn(ctx, r, current, []any{t.Type, t.StateKey}, still, func(rows *sql.Rows) error {
		var nid int64
		c := new(Course)
		err := rows.Scan(&nid, &c.First)
		found[nid] = c
		return err
	})
	return found, err
}

// MemberCourses returns how the memberships of the users of one server in a
// room went.
func MemberCourses(ctx context.Context, r *storage.Reader, roomNID int64, server matrix.ServerName) (map[matrix.UserID]*Course, error) {
	found := make(map[matrix.UserID]*Course)
	const q = `SELECT d.state_key, d.pos, d.old_nid, d.new_nid FROM memberships m
		JOIN state_delta d ON d.room_nid = m.room_nid AND d.type = 'm.room.member' AND d.state_key = m.user_id
		WHERE m.room_nid = $1 AND m.server = $2 ORDER BY d.pos`
	err := r.Each(ctx, q, []any{roomNID, string(server)}, func(rows *sql.Rows) error {
		var user matrix.UserID
		var pos storage.Position
		var old, now sql.NullInt64
		err := rows.Scan(&user, &pos, &old, &now)
		if found[user] == nil {
			found[user] = new(Course)
		}
		found[user].add(pos, old, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	const current = `SELECT m.user_id, m.event_nid FROM memberships m WHERE m.room_nid = $1 AND m.server = $2`
	err = r.Each(ctx, current, []any{roomNID, string(server)}, func(rows *sql.Rows) error {
		var user matrix.UserID
		c := new(Course)
		err := rows.Scan(&user, &c.First)
		if found[user] == nil {
			found[user] = c
		}
		return err
	})
	return found, err
}

// MembershipsIn returns the memberships of a user in rooms, by room. A room
// where there never was one is missing.
func MembershipsIn(ctx context.Context, r *storage.Reader, user matrix.UserID, roomNIDs []int64) (map[int64]Member, error) {
	found := make(map[int64]Member, len(roomNIDs))
	const q = `SELECT ` + memberColumns + ` FROM memberships m WHERE m.user_id = $1 AND m.room_nid IN ($LIST)`
	err := storage.EachIn(ctx, r, q, []any{string(user)}, roomNIDs, func(rows *sql.Rows) error {
		m, err := scanMember(rows.Scan)
		found[m.RoomNID] = m
		return err
	})
	return found, err
}

// JoinedSince returns the position from which on a server has had a joined
// member in a room without a break; ok is false if it has none now.
func JoinedSince(ctx context.Context, r *storage.Reader, roomNID int64, server matrix.ServerName) (pos storage.Position, ok bool, err error) {
	var first sql.NullInt64
	const q = `SELECT MIN(pos) FROM memberships WHERE room_nid = $1 AND membership = 'join' AND server = $2`
	err = r.QueryRow(ctx, q, roomNID, string(server)).Scan(&first)
	return storage.Position(first.Int64), first.Valid, err
}
