package storage

import (
	"context"
	"fmt"
)

// Cursor returns how far a follower has read the log, 0 for a new one.
func Cursor(ctx context.Context, r *Reader, follower string) (pos Position, err error) {
	err = r.QueryRow(ctx, `SELECT pos FROM cursors WHERE follower = $1`, follower).Scan(&pos)
	if NoRows(err) {
		return 0, nil
	}
	return pos, err
}

// SetCursor keeps how far a follower has read the log. It belongs in the
// transaction that does what the follower read.
func SetCursor(ctx context.Context, tx *Tx, follower string, pos Position) error {
	const q = `
		INSERT INTO cursors (follower, pos) VALUES ($1, $2)
		ON CONFLICT (follower) DO UPDATE SET pos = excluded.pos`
	if _, err := tx.Exec(ctx, q, follower, int64(pos)); err != nil {
		return fmt.Errorf("set cursor: %w", err)
	}
	return nil
}

// Head returns the head of the log in this snapshot.
func Head(ctx context.Context, r *Reader) (pos Position, err error) {
	err = r.QueryRow(ctx, `SELECT pos FROM stream_head WHERE id = 1`).Scan(&pos)
	return pos, err
}
