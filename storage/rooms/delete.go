package rooms

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
)

// untilSwept is what who would enter a room that is being removed is told to
// wait.
const untilSwept = 10 * time.Second

// Hide makes a room invisible to every reader at once, and what is prepared on
// it fail. To the users of this server who were in it, or invited, it is as if
// they had left at this moment. It reports whether there was such a room to
// hide.
func Hide(ctx context.Context, tx *storage.Tx, room matrix.RoomID, self matrix.ServerName) (roomNID int64, ok bool, err error) {
	const hide = `UPDATE rooms SET deleted = 1, version = version + 1, published = 0, joined = 0, invited = 0
		WHERE room_id = $1 AND deleted = 0 RETURNING room_nid`
	err = tx.QueryRow(ctx, hide, string(room)).Scan(&roomNID)
	switch {
	case storage.NoRows(err):
		return 0, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("hide room: %w", err)
	}
	const forget = `UPDATE memberships SET forgotten = 1
		WHERE room_nid = $1 AND server = $2 AND membership IN ('leave', 'ban')`
	if _, err := tx.Exec(ctx, forget, roomNID, string(self)); err != nil {
		return 0, false, fmt.Errorf("hide room: %w", err)
	}
	const leave = `UPDATE memberships SET membership = 'leave', event_nid = 0, pos = $1, stripped = NULL
		WHERE room_nid = $2 AND server = $3 AND membership IN ('join', 'invite', 'knock')`
	if _, err := tx.Exec(ctx, leave, int64(tx.Next()), roomNID, string(self)); err != nil {
		return 0, false, fmt.Errorf("hide room: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM aliases WHERE room_id = $1`, string(room)); err != nil {
		return 0, false, fmt.Errorf("hide room: %w", err)
	}
	return roomNID, true, nil
}

// Hidden returns the number of a room that is being removed, 0 for others.
func Hidden(ctx context.Context, r *storage.Reader, room matrix.RoomID) (nid int64, err error) {
	err = r.QueryRow(ctx, `SELECT room_nid FROM rooms WHERE room_id = $1 AND deleted = 1`, string(room)).Scan(&nid)
	if storage.NoRows(err) {
		return 0, nil
	}
	return nid, err
}

// debris is what a room leaves behind besides its events, in the order in
// which it is swept. Each statement takes the room and how many rows to remove.
var debris = [...]string{
	`DELETE FROM state_delta WHERE room_nid = $1 AND (pos, type, state_key) IN (
		SELECT d.pos, d.type, d.state_key FROM state_delta d WHERE d.room_nid = $2 ORDER BY d.pos, d.type, d.state_key LIMIT $3)`,
	`DELETE FROM current_state WHERE room_nid = $1 AND (type, state_key) IN (
		SELECT s.type, s.state_key FROM current_state s WHERE s.room_nid = $2 ORDER BY s.type, s.state_key LIMIT $3)`,
	`DELETE FROM state_checkpoints WHERE room_nid = $1 AND pos IN (
		SELECT c.pos FROM state_checkpoints c WHERE c.room_nid = $2 ORDER BY c.pos LIMIT $3)`,
	`DELETE FROM state_snapshots WHERE room_nid = $1 AND snapshot_nid IN (
		SELECT s.snapshot_nid FROM state_snapshots s WHERE s.room_nid = $2 AND s.hash <> '' ORDER BY s.hash LIMIT $3)`,
	`DELETE FROM receipts WHERE room_nid = $1 AND (user_id, receipt_type, thread_id) IN (
		SELECT c.user_id, c.receipt_type, c.thread_id FROM receipts c WHERE c.room_nid = $2
		ORDER BY c.user_id, c.receipt_type, c.thread_id LIMIT $3)`,
	`DELETE FROM backward_edges WHERE room_nid = $1 AND event_id IN (
		SELECT b.event_id FROM backward_edges b WHERE b.room_nid = $2 ORDER BY b.event_id LIMIT $3)`,
	`DELETE FROM pending_redactions WHERE room_nid = $1 AND (target_id, redaction_id) IN (
		SELECT p.target_id, p.redaction_id FROM pending_redactions p WHERE p.room_nid = $2
		ORDER BY p.target_id, p.redaction_id LIMIT $3)`,
}

// Swept is what one step of removing a room did.
type Swept struct {
	Events []matrix.EventID // that are gone
	Rows   int64
	Done   bool
}

// Sweep removes at most limit rows of each kind of a hidden room. Done says
// that nothing is left but who of this server was in it: with that the room is
// one that this server has heard of, and may be entered anew.
func Sweep(ctx context.Context, tx *storage.Tx, roomNID int64, self matrix.ServerName, limit int) (out Swept, err error) {
	r, err := tx.Snapshot(ctx)
	if err != nil {
		return out, err
	}
	gone, err := anyEvents(ctx, r, roomNID, limit)
	if err != nil {
		return out, err
	}
	nids := make([]int64, len(gone))
	for i, e := range gone {
		nids[i] = e.nid
		out.Events = append(out.Events, e.id)
	}
	if out.Rows, err = deleteEvents(ctx, tx, nids); err != nil {
		return out, err
	}
	if err := removeTransactions(ctx, tx, out.Events); err != nil {
		return out, err
	}
	full := len(gone) >= limit
	for _, q := range debris {
		n, err := tx.Exec(ctx, q, roomNID, roomNID, limit)
		if err != nil {
			return out, fmt.Errorf("remove a room: %w", err)
		}
		out.Rows += n
		full = full || n >= int64(limit)
	}
	const strangers = `DELETE FROM memberships WHERE room_nid = $1 AND user_id IN (
		SELECT m.user_id FROM memberships m WHERE m.room_nid = $2 AND m.server <> $3 ORDER BY m.user_id LIMIT $4)`
	n, err := tx.Exec(ctx, strangers, roomNID, roomNID, string(self), limit)
	if err != nil {
		return out, fmt.Errorf("remove a room: %w", err)
	}
	out.Rows += n
	if full || n >= int64(limit) {
		return out, nil
	}
	out.Done = true
	const bare = `UPDATE rooms SET deleted = 0, version = 0, tips = '[]', depth = 0, head_pos = 0, first_pos = 0,
		purged = 0, purged_to = 0, deltas = 0, delta_limit = $1 WHERE room_nid = $2 AND deleted = 1`
	_, err = tx.Exec(ctx, bare, checkpointEvery, roomNID)
	return out, err
}

// anyEvents returns events of a room, whatever became of them.
func anyEvents(ctx context.Context, r *storage.Reader, roomNID int64, limit int) (list []aged, err error) {
	for _, q := range [...]string{
		`SELECT event_nid, event_id FROM events WHERE room_nid = $1 AND status = 1 ORDER BY pos LIMIT $2`,
		`SELECT event_nid, event_id FROM events WHERE room_nid = $1 AND status <> 1 ORDER BY pos LIMIT $2`,
	} {
		if len(list) >= limit {
			break
		}
		if err := r.Each(ctx, q, []any{roomNID, limit - len(list)}, func(rows *sql.Rows) error {
			var e aged
			err := rows.Scan(&e.nid, &e.id)
			list = append(list, e)
			return err
		}); err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
	}
	return list, nil
}
