package rooms

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Notice is what an event is for one user, where it is something else than for
// everybody whose push rules say the same of all events like it.
type Notice struct {
	User              matrix.UserID
	Notify, Highlight bool
}

var insertNotice = storage.NewInsert("notices",
	[]string{"user_id", "room_nid", "pos", "event_nid", "thread_id", "notice", "notify", "highlight"}, "")

func addNotices(tx *storage.Tx, e *Event) {
	for _, n := range e.Notices {
		tx.Insert(insertNotice, string(n.User), e.RoomNID, int64(e.Pos), e.NID, string(e.Thread), e.Notice,
			flag(n.Notify), flag(n.Highlight))
	}
}

// Listener is a user of this server, and what they keep of what they want to
// hear of, "" where nothing.
type Listener struct {
	User    matrix.UserID
	Rules   string // account data m.push_rules
	Ignored string // account data m.ignored_user_list
}

const listenerData = `COALESCE(d.content, ''), COALESCE(i.content, '')`

const listenerJoins = `
		LEFT JOIN account_data d ON d.user_id = m.user_id AND d.room_id = '' AND d.type = 'm.push_rules'
		LEFT JOIN account_data i ON i.user_id = m.user_id AND i.room_id = '' AND i.type = 'm.ignored_user_list'`

// Listeners returns the users of a server who have joined a room.
func Listeners(ctx context.Context, r *storage.Reader, roomNID int64, server matrix.ServerName) (found []Listener, err error) {
	const q = `SELECT m.user_id, ` + listenerData + ` FROM memberships m` + listenerJoins + `
		WHERE m.room_nid = $1 AND m.membership = 'join' AND m.server = $2`
	err = r.Each(ctx, q, []any{roomNID, string(server)}, func(rows *sql.Rows) error {
		var l Listener
		err := rows.Scan(&l.User, &l.Rules, &l.Ignored)
		found = append(found, l)
		return err
	})
	return found, err
}

// RulesOf returns what some accounts keep of what they want to hear of.
func RulesOf(ctx context.Context, r *storage.Reader, users []matrix.UserID) (found []Listener, err error) {
	const q = `SELECT m.user_id, ` + listenerData + ` FROM users m` + listenerJoins + ` WHERE m.user_id IN ($LIST)`
	err = storage.EachIn(ctx, r, q, nil, texts(users), func(rows *sql.Rows) error {
		var l Listener
		err := rows.Scan(&l.User, &l.Rules, &l.Ignored)
		found = append(found, l)
		return err
	})
	return found, err
}

// Mark says up to where a user has read a thread: "" for every thread, "main",
// or a root.
type Mark struct {
	Thread string
	Place  storage.Position // of the event, in the room
	Moved  storage.Position // of the receipt, in the log; 0 where an event of the user's is the mark
}

// ownEvents bounds how many events of their own are looked at for how far a
// user has read: it is enough to know of the last in each thread.
const ownEvents = 200

// MarksOf returns how far a user has read some rooms, by their receipts and by
// the events that they sent.
//
// https://spec.matrix.org/v1.19/client-server-api/#marking-notifications-as-read
func MarksOf(ctx context.Context, r *storage.Reader, user matrix.UserID, roomNIDs []int64) (map[int64][]Mark, error) {
	flat := make([]any, 0, 3*len(roomNIDs))
	for _, nid := range roomNIDs {
		flat = append(flat, nid, string(user), ownEvents)
	}
	const arm = `SELECT c.room_nid AS room_nid, c.thread_id AS thread_id, e.pos AS pos, c.pos AS moved
			FROM receipts c JOIN events e ON e.event_id = c.event_id WHERE c.room_nid = %1 AND c.user_id = %2
		UNION ALL SELECT o.room_nid, CASE WHEN o.thread_id = '' THEN 'main' ELSE o.thread_id END, MAX(o.pos), 0 FROM (
			SELECT e.room_nid, e.thread_id, e.pos FROM events e
			WHERE e.room_nid = %1 AND e.sender = %2 AND e.outgoing = 1 ORDER BY e.pos DESC LIMIT %3) o
			GROUP BY o.room_nid, o.thread_id`
	found := make(map[int64][]Mark, len(roomNIDs))
	err := eachTuple(ctx, r, arm, 3, flat, func(rows *sql.Rows) error {
		var nid int64
		var m Mark
		err := rows.Scan(&nid, &m.Thread, &m.Place, &m.Moved)
		found[nid] = append(found[nid], m)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read marks: %w", err)
	}
	return found, nil
}

// Unread is events of a room that a user has not read, as one row of the
// count. Of those of the main timeline that are for everybody there is one for
// each notice, of the others one for each event.
type Unread struct {
	RoomNID int64
	Own     bool   // it is of a notice of the user's own
	Thread  string // the root, "" for the main timeline
	Pos     storage.Position
	Notice  int
	Count   int64

	Notify, Highlight bool // where Own
}

// After is up to where a user has read a room: the main timeline, and the
// threads unless one says more.
type After struct {
	RoomNID       int64
	Main, Threads storage.Position
}

// UnreadOf returns what a user has not read in rooms, at most limit events of
// each kind in each.
func UnreadOf(ctx context.Context, r *storage.Reader, user matrix.UserID, after []After, limit int) (found []Unread, err error) {
	flat := make([]any, 0, 6*len(after))
	for _, a := range after {
		flat = append(flat, a.RoomNID, string(user), int64(a.Main), int64(a.Threads), int64(min(a.Main, a.Threads)), limit)
	}
	const arm = `SELECT m.room_nid AS room_nid, 0 AS own, '' AS thread_id, 0 AS pos, m.notice AS notice, COUNT(*) AS n,
			0 AS notify, 0 AS highlight FROM (
			SELECT e.room_nid, e.notice FROM events e WHERE e.room_nid = %1 AND e.notice > 0 AND e.thread_id = ''
				AND e.pos > %3 AND e.sender <> %2 ORDER BY e.pos DESC LIMIT %6) m GROUP BY m.room_nid, m.notice
		UNION ALL SELECT * FROM (SELECT e.room_nid, 0, e.thread_id, e.pos, e.notice, 1, 0, 0 FROM events e
			WHERE e.room_nid = %1 AND e.notice > 0 AND e.thread_id <> '' AND e.pos > %4 AND e.sender <> %2
			ORDER BY e.pos DESC LIMIT %6) t
		UNION ALL SELECT * FROM (SELECT n.room_nid, 1, n.thread_id, n.pos, n.notice, 1, n.notify, n.highlight FROM notices n
			WHERE n.user_id = %2 AND n.room_nid = %1 AND n.pos > %5 ORDER BY n.pos DESC LIMIT %6) o`
	err = eachTuple(ctx, r, arm, 6, flat, func(rows *sql.Rows) error {
		var u Unread
		err := rows.Scan(&u.RoomNID, &u.Own, &u.Thread, &u.Pos, &u.Notice, &u.Count, &u.Notify, &u.Highlight)
		found = append(found, u)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count what is unread: %w", err)
	}
	return found, nil
}
