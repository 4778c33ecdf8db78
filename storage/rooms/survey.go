package rooms

import (
	"context"
	"database/sql"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Present is somebody who is in a room, invited to it or knocking on it.
type Present struct {
	RoomNID    int64
	User       matrix.UserID
	Membership string // join, invite or knock
}

// PresentAfter returns the next of all who are present anywhere, in the order
// of rooms and users, at most limit. It reads the primary key from where it
// left off, so all pages together cost one pass.
func PresentAfter(ctx context.Context, r *storage.Reader, roomNID int64, user matrix.UserID, limit int) ([]Present, error) {
	found := make([]Present, 0, limit)
	const q = `SELECT room_nid, user_id, membership FROM memberships
		WHERE (room_nid, user_id) > ($1, $2) AND membership IN ('join', 'invite', 'knock')
		ORDER BY room_nid, user_id LIMIT $3`
	err := r.Each(ctx, q, []any{roomNID, string(user), limit}, func(rows *sql.Rows) error {
		var p Present
		var membership sql.RawBytes // one of three words: no string for each row
		err := rows.Scan(&p.RoomNID, &p.User, &membership)
		p.Membership = membershipWord(membership)
		found = append(found, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("survey members: %w", err)
	}
	return found, nil
}

func membershipWord(raw []byte) string {
	switch string(raw) {
	case "join":
		return "join"
	case "invite":
		return "invite"
	}
	return "knock"
}

// Surveyed is what a survey knows of a room.
type Surveyed struct {
	ID matrix.RoomID
	// State holds the events, by their types, that say what kind of room it is.
	// It is empty where this server is not in the room.
	State map[string]*Event
	// Stripped is what another server told of the room with an invitation to
	// it, a JSON list, or "".
	Stripped string
}

// Survey returns what kind of rooms these are, in three queries for 500 rooms.
// Rooms that are being removed are missing.
func Survey(ctx context.Context, r *storage.Reader, roomNIDs []int64) (map[int64]*Surveyed, error) {
	found := make(map[int64]*Surveyed, len(roomNIDs))
	err := storage.EachIn(ctx, r, `SELECT room_nid, room_id FROM rooms WHERE deleted = 0 AND room_nid IN ($LIST)`, nil, roomNIDs,
		func(rows *sql.Rows) error {
			var nid int64
			s := &Surveyed{State: make(map[string]*Event, 4)}
			err := rows.Scan(&nid, &s.ID)
			found[nid] = s
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("survey rooms: %w", err)
	}
	const state = `SELECT ` + eventColumns + ` FROM current_state s JOIN events e ON e.event_nid = s.event_nid
		WHERE s.type IN ('m.room.create', 'm.room.join_rules', 'm.room.encryption', 'im.vector.room.access_rules')
		AND s.state_key = '' AND s.room_nid IN ($LIST)`
	if err := storage.EachIn(ctx, r, state, nil, roomNIDs, func(rows *sql.Rows) error {
		e, err := scanEvent(rows.Scan)
		if err != nil {
			return err
		}
		if s := found[e.RoomNID]; s != nil {
			s.State[e.Type()] = e
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("survey state: %w", err)
	}
	return found, surveyStripped(ctx, r, found)
}

// surveyStripped fills in what invitations tell of rooms whose state is not
// known here.
func surveyStripped(ctx context.Context, r *storage.Reader, found map[int64]*Surveyed) error {
	var unknown []int64
	for nid, s := range found {
		if len(s.State) == 0 {
			unknown = append(unknown, nid)
		}
	}
	const q = `SELECT room_nid, stripped FROM memberships WHERE stripped IS NOT NULL AND room_nid IN ($LIST)`
	return storage.EachIn(ctx, r, q, nil, unknown, func(rows *sql.Rows) error {
		var nid int64
		var stripped string
		err := rows.Scan(&nid, &stripped)
		if s := found[nid]; s != nil && s.Stripped == "" {
			s.Stripped = stripped
		}
		return err
	})
}

// Crowd is how many of one server are present in a room in one way.
type Crowd struct {
	RoomNID    int64
	Membership string // join, invite or knock
	Server     matrix.ServerName
	Count      int64
}

// Crowds counts who is present in the rooms with from < room_nid ≤ to. It
// reads an index and no row.
func Crowds(ctx context.Context, r *storage.Reader, from, to int64) (found []Crowd, err error) {
	const q = `SELECT room_nid, membership, server, COUNT(*) FROM memberships
		WHERE room_nid > $1 AND room_nid <= $2 AND membership IN ('join', 'invite', 'knock')
		GROUP BY room_nid, membership, server ORDER BY room_nid, membership, server`
	err = r.Each(ctx, q, []any{from, to}, func(rows *sql.Rows) error {
		var c Crowd
		err := rows.Scan(&c.RoomNID, &c.Membership, &c.Server, &c.Count)
		found = append(found, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count members: %w", err)
	}
	return found, nil
}

// RoomsAfter returns the numbers of the next rooms, at most limit.
func RoomsAfter(ctx context.Context, r *storage.Reader, nid int64, limit int) ([]int64, error) {
	const q = `SELECT room_nid FROM rooms WHERE room_nid > $1 ORDER BY room_nid LIMIT $2`
	return storage.Column[int64](ctx, r, q, nid, limit)
}

// SomeOf returns a few who are present in a room in one way, of one server.
func SomeOf(ctx context.Context, r *storage.Reader, c Crowd, limit int) ([]matrix.UserID, error) {
	const q = `SELECT user_id FROM memberships WHERE room_nid = $1 AND membership = $2 AND server = $3
		ORDER BY user_id LIMIT $4`
	return storage.Column[matrix.UserID](ctx, r, q, c.RoomNID, c.Membership, string(c.Server), limit)
}
