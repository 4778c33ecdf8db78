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
