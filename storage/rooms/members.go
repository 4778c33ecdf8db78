package rooms

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Member is the membership of a user in a room.
type Member struct {
	RoomNID    int64
	User       matrix.UserID
	Membership string // join, invite, knock, leave or ban
	EventNID   int64
	Pos        storage.Position // when it became so
	Since      storage.Position // when the membership became what it is; written by the database
	Forgotten  bool
	Stripped   string // JSON list of stripped state of an invitation or knock from outside, or ""
}

const memberColumns = `m.room_nid, m.user_id, m.membership, m.event_nid, m.pos, m.since, m.forgotten, m.stripped`

func scanMember(scan func(...any) error) (m Member, err error) {
	var stripped sql.NullString
	err = scan(&m.RoomNID, &m.User, &m.Membership, &m.EventNID, &m.Pos, &m.Since, &m.Forgotten, &stripped)
	m.Stripped = stripped.String
	return m, err
}

func listMembers(ctx context.Context, r *storage.Reader, q string, args ...any) (found []Member, err error) {
	err = r.Each(ctx, q, args, func(rows *sql.Rows) error {
		m, err := scanMember(rows.Scan)
		found = append(found, m)
		return err
	})
	return found, err
}

// MemberOf returns the membership of a user in a room; its Membership is ""
// if there never was one.
func MemberOf(ctx context.Context, r *storage.Reader, roomNID int64, user matrix.UserID) (Member, error) {
	const q = `SELECT ` + memberColumns + ` FROM memberships m WHERE m.room_nid = $1 AND m.user_id = $2`
	m, err := scanMember(r.QueryRow(ctx, q, roomNID, string(user)).Scan)
	if storage.NoRows(err) {
		return Member{RoomNID: roomNID, User: user}, nil
	}
	return m, err
}

// MembersOf returns the members of a room with one of the memberships join,
// invite, knock, leave and ban; "" means all.
func MembersOf(ctx context.Context, r *storage.Reader, roomNID int64, membership string) ([]Member, error) {
	const q = `SELECT ` + memberColumns + ` FROM memberships m
		WHERE m.room_nid = $1 AND (m.membership = $2 OR $2 = '') ORDER BY m.event_nid`
	return listMembers(ctx, r, q, roomNID, membership)
}

// RoomsOf returns every membership of a user.
func RoomsOf(ctx context.Context, r *storage.Reader, user matrix.UserID) ([]Member, error) {
	const q = `SELECT ` + memberColumns + ` FROM memberships m WHERE m.user_id = $1`
	return listMembers(ctx, r, q, string(user))
}

// JoinedRooms returns the IDs of the rooms that a user has joined.
func JoinedRooms(ctx context.Context, r *storage.Reader, user matrix.UserID) ([]matrix.RoomID, error) {
	const q = `SELECT r.room_id FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
		WHERE m.user_id = $1 AND m.membership = 'join' ORDER BY r.room_id`
	return storage.Column[matrix.RoomID](ctx, r, q, string(user))
}

// PresentRooms returns the rooms that a user has joined, is invited to or
// knocks on.
func PresentRooms(ctx context.Context, r *storage.Reader, user matrix.UserID) ([]matrix.RoomID, error) {
	const q = `SELECT r.room_id FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
		WHERE m.user_id = $1 AND m.membership IN ('join', 'invite', 'knock') ORDER BY r.room_id`
	return storage.Column[matrix.RoomID](ctx, r, q, string(user))
}

// MemberChanges returns the memberships that changed after a position, in
// their order, at most limit.
func MemberChanges(ctx context.Context, r *storage.Reader, after storage.Position, limit int) ([]Member, error) {
	const q = `SELECT ` + memberColumns + ` FROM memberships m WHERE m.pos > $1 ORDER BY m.pos LIMIT $2`
	return listMembers(ctx, r, q, int64(after), limit)
}

// Servers returns the servers that have a joined member in a room.
func Servers(ctx context.Context, r *storage.Reader, roomNID int64) ([]matrix.ServerName, error) {
	const q = `SELECT DISTINCT server FROM memberships WHERE room_nid = $1 AND membership = 'join' ORDER BY server`
	return storage.Column[matrix.ServerName](ctx, r, q, roomNID)
}

// ServerJoined reports whether a server has a joined member in a room.
func ServerJoined(ctx context.Context, r *storage.Reader, roomNID int64, server matrix.ServerName) (bool, error) {
	var one int
	const q = `SELECT 1 FROM memberships WHERE room_nid = $1 AND membership = 'join' AND server = $2 LIMIT 1`
	err := r.QueryRow(ctx, q, roomNID, string(server)).Scan(&one)
	if storage.NoRows(err) {
		return false, nil
	}
	return err == nil, err
}

// JoinedOf returns joined members of one server in a room.
func JoinedOf(ctx context.Context, r *storage.Reader, roomNID int64, server matrix.ServerName, limit int) ([]matrix.UserID, error) {
	const q = `SELECT user_id FROM memberships WHERE room_nid = $1 AND membership = 'join' AND server = $2 ORDER BY user_id LIMIT $3`
	return storage.Column[matrix.UserID](ctx, r, q, roomNID, string(server), limit)
}

// SharedServers returns the servers with a joined member in a room that the
// user has joined too: who must hear of a change of the user's devices.
func SharedServers(ctx context.Context, r *storage.Reader, user matrix.UserID) ([]matrix.ServerName, error) {
	const q = `SELECT DISTINCT o.server FROM memberships m
		JOIN memberships o ON o.room_nid = m.room_nid AND o.membership = 'join'
		WHERE m.user_id = $1 AND m.membership = 'join'`
	return storage.Column[matrix.ServerName](ctx, r, q, string(user))
}

// ShareRoom returns those of the users who have joined a room that the user
// has joined too.
func ShareRoom(ctx context.Context, r *storage.Reader, user matrix.UserID, others []matrix.UserID) (map[matrix.UserID]bool, error) {
	found := make(map[matrix.UserID]bool)
	const q = `SELECT DISTINCT o.user_id FROM memberships m
		JOIN memberships o ON o.room_nid = m.room_nid AND o.membership = 'join'
		WHERE m.user_id = $1 AND m.membership = 'join' AND o.user_id IN ($LIST)`
	err := storage.EachIn(ctx, r, q, []any{string(user)}, texts(others), func(rows *sql.Rows) error {
		var id matrix.UserID
		err := rows.Scan(&id)
		found[id] = true
		return err
	})
	return found, err
}

var upsertMember = storage.NewInsert("memberships",
	[]string{"room_nid", "user_id", "server", "membership", "event_nid", "pos", "since", "forgotten", "stripped"}, onMember)

// onMember is what becomes of a membership that there is.
const onMember = `ON CONFLICT (room_nid, user_id) DO UPDATE SET
		since = CASE WHEN memberships.membership = excluded.membership THEN memberships.since ELSE excluded.pos END,
		membership = excluded.membership, event_nid = excluded.event_nid,
		pos = excluded.pos, forgotten = excluded.forgotten, stripped = excluded.stripped`

// AddMember writes a membership of a user who has none in the room yet.
func AddMember(tx *storage.Tx, m Member) {
	tx.Insert(upsertMember, m.RoomNID, string(m.User), string(m.User.Server()), m.Membership, m.EventNID,
		int64(m.Pos), int64(m.Pos), flag(m.Forgotten), sql.NullString{String: m.Stripped, Valid: m.Stripped != ""})
}

// SetMember writes the membership of a user in a room.
func SetMember(ctx context.Context, tx *storage.Tx, m Member) error {
	const q = `
		INSERT INTO memberships (room_nid, user_id, server, membership, event_nid, pos, since, forgotten, stripped)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ` + onMember
	_, err := tx.Exec(ctx, q, m.RoomNID, string(m.User), string(m.User.Server()), m.Membership, m.EventNID,
		int64(m.Pos), int64(m.Pos), flag(m.Forgotten), sql.NullString{String: m.Stripped, Valid: m.Stripped != ""})
	if err != nil {
		return fmt.Errorf("set membership: %w", err)
	}
	return nil
}

// RemoveMember deletes the membership of a user whom the state no longer names.
func RemoveMember(ctx context.Context, tx *storage.Tx, roomNID int64, user matrix.UserID) error {
	_, err := tx.Exec(ctx, `DELETE FROM memberships WHERE room_nid = $1 AND user_id = $2`, roomNID, string(user))
	return err
}

// SettleMembers brings the memberships of a room in line with its state: those
// of invitations and knocks from outside that the state does not know are over.
func SettleMembers(ctx context.Context, tx *storage.Tx, roomNID int64, pos storage.Position) error {
	const q = `SELECT m.user_id, COALESCE(s.event_nid, 0) FROM memberships m LEFT JOIN current_state s
		ON s.room_nid = m.room_nid AND s.type = 'm.room.member' AND s.state_key = m.user_id
		WHERE m.room_nid = $1 AND (s.event_nid IS NULL OR s.event_nid <> m.event_nid)`
	r, err := tx.Snapshot(ctx)
	if err != nil {
		return err
	}
	wrong := make(map[matrix.UserID]int64)
	var nids []int64
	if err := r.Each(ctx, q, []any{roomNID}, func(rows *sql.Rows) error {
		var user matrix.UserID
		var nid int64
		err := rows.Scan(&user, &nid)
		wrong[user] = nid
		nids = append(nids, nid)
		return err
	}); err != nil {
		return err
	}
	events, err := EventsByNID(ctx, r, nids)
	if err != nil {
		return err
	}
	for user, nid := range wrong {
		if e := events[nid]; e != nil {
			m := Member{RoomNID: roomNID, User: user, Membership: e.Membership(), EventNID: nid, Pos: pos}
			if err := SetMember(ctx, tx, m); err != nil {
				return err
			}
			continue
		}
		const over = `UPDATE memberships SET membership = 'leave', pos = $1, stripped = NULL WHERE room_nid = $2 AND user_id = $3`
		if _, err := tx.Exec(ctx, over, int64(pos), roomNID, string(user)); err != nil {
			return err
		}
	}
	return nil
}

// Forget hides a room that the user has left. It reports whether there was
// such a membership. It takes a position: lists of rooms get shorter by it.
func Forget(ctx context.Context, tx *storage.Tx, roomNID int64, user matrix.UserID) (bool, error) {
	const q = `UPDATE memberships SET forgotten = 1, pos = $1
		WHERE room_nid = $2 AND user_id = $3 AND membership IN ('leave', 'ban')`
	n, err := tx.Exec(ctx, q, int64(tx.Next()), roomNID, string(user))
	return n > 0, err
}
