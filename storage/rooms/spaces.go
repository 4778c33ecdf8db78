package rooms

import (
	"context"
	"database/sql"

	"beffroi/matrix"
	"beffroi/storage"
)

// ServerIn returns those of some rooms in which a server has a joined member,
// and where invited is set those in which it has an invited one.
func ServerIn(ctx context.Context, r *storage.Reader, roomNIDs []int64, server matrix.ServerName, invited bool) (map[int64]bool, error) {
	found := make(map[int64]bool)
	also := "join"
	if invited {
		also = "invite"
	}
	const q = `SELECT DISTINCT room_nid FROM memberships
		WHERE membership IN ('join', $1) AND server = $2 AND room_nid IN ($LIST)`
	err := storage.EachIn(ctx, r, q, []any{also, string(server)}, roomNIDs, func(rows *sql.Rows) error {
		var nid int64
		err := rows.Scan(&nid)
		found[nid] = true
		return err
	})
	return found, err
}

// ChildLinks returns the events m.space.child of the state of a room now, at
// most limit of them, those that were stored first.
func ChildLinks(ctx context.Context, r *storage.Reader, roomNID int64, limit int) ([]*Event, error) {
	const q = `SELECT ` + eventColumns + ` FROM current_state s JOIN events e ON e.event_nid = s.event_nid
		WHERE s.room_nid = $1 AND s.type = 'm.space.child' ORDER BY e.event_nid LIMIT $2`
	return listEvents(ctx, r, q, roomNID, limit)
}
