package rooms

import (
	"context"
	"database/sql"

	"beffroi/matrix"
	"beffroi/storage"
)

// LeanEventsByNID is [EventsByNID] for events of rooms whose rules the caller
// knows.
func LeanEventsByNID(ctx context.Context, r *storage.Reader, nids []int64,
	rules func(roomNID int64) *matrix.VersionRules) (map[int64]*Event, error) {
	found := make(map[int64]*Event, len(nids))
	const q = `SELECT ` + leanColumns + ` FROM events e WHERE e.event_nid IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, nids, func(rows *sql.Rows) error {
		e, err := scanLean(rows.Scan, rules)
		if err == nil {
			found[e.NID] = e
		}
		return err
	})
	return found, err
}

// StateOfRooms returns the events of the state of rooms now, without the
// memberships unless they are asked for.
func StateOfRooms(ctx context.Context, r *storage.Reader, roomNIDs []int64, members bool,
	rules func(roomNID int64) *matrix.VersionRules) (map[int64][]*Event, error) {
	found := make(map[int64][]*Event, len(roomNIDs))
	q := `SELECT ` + leanColumns + ` FROM current_state s JOIN events e ON e.event_nid = s.event_nid
		WHERE s.room_nid IN ($LIST)`
	if !members {
		// Two stretches of the index: the memberships between them are not read.
		q += ` AND (s.type < 'm.room.member' OR s.type > 'm.room.member')`
	}
	err := storage.EachIn(ctx, r, q, nil, roomNIDs, func(rows *sql.Rows) error {
		e, err := scanLean(rows.Scan, rules)
		if err == nil {
			found[e.RoomNID] = append(found[e.RoomNID], e)
		}
		return err
	})
	return found, err
}

// MemberKey names the membership of a user in a room.
type MemberKey struct {
	RoomNID int64
	User    matrix.UserID
}

// MemberEventsOf returns membership events of the state of rooms now. Users
// without one are missing.
func MemberEventsOf(ctx context.Context, r *storage.Reader, keys []MemberKey,
	rules func(roomNID int64) *matrix.VersionRules) (map[MemberKey]*Event, error) {
	flat := make([]any, 0, 2*len(keys))
	for _, key := range keys {
		flat = append(flat, key.RoomNID, string(key.User))
	}
	const arm = `SELECT ` + leanColumns + `, s.state_key FROM current_state s JOIN events e ON e.event_nid = s.event_nid
		WHERE s.room_nid = %1 AND s.type = 'm.room.member' AND s.state_key = %2`
	found := make(map[MemberKey]*Event, len(keys))
	err := eachTuple(ctx, r, arm, 2, flat, func(rows *sql.Rows) error {
		var user matrix.UserID
		e, err := scanLean(func(dest ...any) error { return rows.Scan(append(dest, &user)...) }, rules)
		if err == nil {
			found[MemberKey{e.RoomNID, user}] = e
		}
		return err
	})
	return found, err
}

// Heroes returns, by room, the first five members besides one user: of those
// who are joined or invited, or where there are none, of those who are gone.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
func Heroes(ctx context.Context, r *storage.Reader, user matrix.UserID, roomNIDs []int64) (map[int64][]matrix.UserID, error) {
	found := make(map[int64][]matrix.UserID, len(roomNIDs))
	present := make(map[int64]bool, len(roomNIDs))
	const q = `
		SELECT h.room_nid, h.user_id, h.present FROM (
			SELECT m.room_nid, m.user_id, p.present, ROW_NUMBER() OVER (
				PARTITION BY m.room_nid ORDER BY p.present DESC, m.pos, m.event_nid) AS place
			FROM memberships m
			JOIN (SELECT 'join' AS word, 1 AS present UNION ALL SELECT 'invite', 1
				UNION ALL SELECT 'leave', 0 UNION ALL SELECT 'ban', 0) p ON p.word = m.membership
			WHERE m.user_id <> $1 AND m.room_nid IN ($LIST)) h
		WHERE h.place <= 5 ORDER BY h.room_nid, h.place`
	err := storage.EachIn(ctx, r, q, []any{string(user)}, roomNIDs, func(rows *sql.Rows) error {
		var nid, here int64
		var id matrix.UserID
		if err := rows.Scan(&nid, &id, &here); err != nil {
			return err
		}
		present[nid] = present[nid] || here == 1
		if here == 1 || !present[nid] {
			found[nid] = append(found[nid], id)
		}
		return nil
	})
	return found, err
}

// JoinedTo returns the accounts that have joined some rooms, and since when.
func JoinedTo(ctx context.Context, r *storage.Reader, roomNIDs []int64) (map[MemberKey]storage.Position, error) {
	found := make(map[MemberKey]storage.Position)
	const q = `SELECT room_nid, user_id, since FROM memberships WHERE membership = 'join' AND room_nid IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, roomNIDs, func(rows *sql.Rows) error {
		var key MemberKey
		var since storage.Position
		err := rows.Scan(&key.RoomNID, &key.User, &since)
		found[key] = since
		return err
	})
	return found, err
}
