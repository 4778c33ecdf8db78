// Package rooms reads and writes rooms: their events, state, members, aliases
// and receipts.
package rooms

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"beffroi/matrix"
	"beffroi/storage"
)

// Room is the row of a room.
type Room struct {
	NID         int64
	ID          matrix.RoomID
	RoomVersion matrix.RoomVersion
	Version     int64 // how many live events it has had
	Tips        []matrix.EventID
	Depth       int64
	HeadPos     storage.Position
	FirstPos    int64
	Joined      int64
	Invited     int64
	Published   bool
}

const roomColumns = `room_nid, room_id, room_version, version, tips, depth, head_pos, first_pos, joined, invited, published`

func scanRoom(scan func(...any) error) (room Room, err error) {
	var tips string
	if err := scan(&room.NID, &room.ID, &room.RoomVersion, &room.Version, &tips, &room.Depth, &room.HeadPos,
		&room.FirstPos, &room.Joined, &room.Invited, &room.Published); err != nil {
		return room, err
	}
	if err := json.Unmarshal([]byte(tips), &room.Tips); err != nil {
		return room, fmt.Errorf("tips of %s: %w", room.ID, err)
	}
	return room, nil
}

// ByID returns a room, or M_NOT_FOUND.
func ByID(ctx context.Context, r *storage.Reader, id matrix.RoomID) (Room, error) {
	const q = `SELECT ` + roomColumns + ` FROM rooms WHERE room_id = $1 AND deleted = 0`
	room, err := scanRoom(r.QueryRow(ctx, q, string(id)).Scan)
	if storage.NoRows(err) {
		return room, matrix.NotFound("no such room")
	}
	return room, err
}

// ByNIDs returns rooms by their numbers.
func ByNIDs(ctx context.Context, r *storage.Reader, nids []int64) (map[int64]Room, error) {
	found := make(map[int64]Room, len(nids))
	const q = `SELECT ` + roomColumns + ` FROM rooms WHERE room_nid IN ($LIST)`
	err := storage.EachIn(ctx, r, q, nil, nids, func(rows *sql.Rows) error {
		room, err := scanRoom(rows.Scan)
		found[room.NID] = room
		return err
	})
	return found, err
}

var insertRoom = storage.NewInsert("rooms", []string{"room_nid", "room_id", "room_version", "version", "tips",
	"depth", "head_pos", "first_pos", "joined", "invited", "published"}, "")

// Insert adds a room without events and returns its number. A room that is
// there already breaks the transaction.
func Insert(tx *storage.Tx, id matrix.RoomID, version matrix.RoomVersion) (nid int64) {
	nid = int64(tx.Next())
	tx.Insert(insertRoom, nid, string(id), string(version), 0, "[]", 0, 0, 0, 0, 0, 0)
	return nid
}

// Begin returns the number of the row of a room that gets its first events:
// a new row, or that of an invitation, whose version of the room may have been
// a lie. A room that has events is [storage.ErrConflict], one that is being
// removed 503.
func Begin(ctx context.Context, tx *storage.Tx, id matrix.RoomID, version matrix.RoomVersion) (nid int64, err error) {
	const q = `SELECT room_nid, room_version, version, deleted FROM rooms WHERE room_id = $1`
	var known matrix.RoomVersion
	var events int64
	var deleted bool
	err = tx.QueryRow(ctx, q, string(id)).Scan(&nid, &known, &events, &deleted)
	switch {
	case storage.NoRows(err):
		return Insert(tx, id, version), nil
	case err != nil:
		return 0, fmt.Errorf("begin room: %w", err)
	case deleted: // what is left of it would mix with the new
		return 0, matrix.Unavailable(untilSwept)
	case events > 0:
		return 0, storage.ErrConflict
	case known != version:
		err = SetVersion(ctx, tx, nid, version)
	}
	return nid, err
}

// SetVersion corrects the version of a room that has no events yet.
func SetVersion(ctx context.Context, tx *storage.Tx, roomNID int64, version matrix.RoomVersion) error {
	_, err := tx.Exec(ctx, `UPDATE rooms SET room_version = $1 WHERE room_nid = $2 AND version = 0`, string(version), roomNID)
	return err
}

// Advance is what a commit changes in the row of a room.
type Advance struct {
	NID             int64
	From, To        int64 // version
	FromTips, Tips  []matrix.EventID
	Depth           int64
	HeadPos         storage.Position
	Joined, Invited int64            // by how much the counts change
	Deltas          int              // how many changes of the state are written
	Bump            storage.Position // of the last activity, 0 where there is none in it
}

// Apply moves the room from the version and the tips that the events were
// prepared on. It returns [storage.ErrConflict] when others came first.
//
// The version alone would not do: events that were prepared on top of others
// whose commit failed must not follow events of another node that have made
// the number right again.
func (a Advance) Apply(ctx context.Context, tx *storage.Tx) error {
	tips, err := tipsText(a.Tips)
	if err != nil {
		return err
	}
	from, err := tipsText(a.FromTips)
	if err != nil {
		return err
	}
	return tx.Swap(ctx, advance, a.NID, a.From, a.To, from, tips, a.Depth, int64(a.HeadPos), a.Joined, a.Invited, int64(a.Deltas), int64(a.Bump))
}

var advance = storage.NewSwap("rooms",
	storage.SwapColumn{Name: "room_nid", Type: "BIGINT", Does: storage.SwapKey},
	storage.SwapColumn{Name: "version", Type: "BIGINT", Does: storage.SwapCompare},
	storage.SwapColumn{Name: "tips", Type: "TEXT", Does: storage.SwapCompare},
	storage.SwapColumn{Name: "depth", Type: "BIGINT", Does: storage.SwapSet},
	storage.SwapColumn{Name: "head_pos", Type: "BIGINT", Does: storage.SwapSet},
	storage.SwapColumn{Name: "joined", Type: "BIGINT", Does: storage.SwapAdd},
	storage.SwapColumn{Name: "invited", Type: "BIGINT", Does: storage.SwapAdd},
	storage.SwapColumn{Name: "deltas", Type: "BIGINT", Does: storage.SwapAdd},
	storage.SwapColumn{Name: "bump_pos", Type: "BIGINT", Does: storage.SwapRaise})

func tipsText(tips []matrix.EventID) (string, error) {
	if len(tips) == 0 {
		return "[]", nil
	}
	raw, err := json.Marshal(tips)
	if err != nil {
		return "", fmt.Errorf("tips: %w", err)
	}
	return string(raw), nil
}

// TakeFirst moves the place where backfilled events end down by n and returns
// the place of the newest of them; the others follow downwards.
func TakeFirst(ctx context.Context, tx *storage.Tx, roomNID int64, n int) (newest int64, err error) {
	const q = `UPDATE rooms SET first_pos = first_pos - $1 WHERE room_nid = $2 RETURNING first_pos`
	if err := tx.QueryRow(ctx, q, n, roomNID).Scan(&newest); err != nil {
		return 0, fmt.Errorf("take places: %w", err)
	}
	return newest + int64(n) - 1, nil
}

// SetPublished puts a room into the directory or takes it out.
func SetPublished(ctx context.Context, tx *storage.Tx, roomNID int64, published bool) error {
	_, err := tx.Exec(ctx, `UPDATE rooms SET published = $1 WHERE room_nid = $2`, flag(published), roomNID)
	return err
}

// Published returns the rooms of the directory, the largest first.
func Published(ctx context.Context, r *storage.Reader) (found []Room, err error) {
	const q = `SELECT ` + roomColumns + ` FROM rooms WHERE published = 1 ORDER BY joined DESC, room_id`
	err = r.Each(ctx, q, nil, func(rows *sql.Rows) error {
		room, err := scanRoom(rows.Scan)
		found = append(found, room)
		return err
	})
	return found, err
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
