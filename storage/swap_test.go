package storage_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

var moveCursor = storage.NewSwap("cursors",
	storage.SwapColumn{Name: "follower", Type: "TEXT", Does: storage.SwapKey},
	storage.SwapColumn{Name: "pos", Type: "BIGINT", Does: storage.SwapCompare})

// Writers of one commit: many rows, many changes of one row, one that builds on
// what is not there, and one that another node was faster than. Only the last
// two fail, and each is told.
func TestSwapFailsOnlyWhoCameLate(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		const rows = 70
		_, err := db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
			for n := range rows {
				if err := storage.SetCursor(ctx, tx, fmt.Sprint(n), 0); err != nil {
					return err
				}
			}
			return storage.SetCursor(ctx, tx, "moved", 5) // by another node, as our writers do not know
		})
		if err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		blocker := db.Submit(t.Context(), func(context.Context, *storage.Tx) error { <-release; return nil })
		swap := func(row string, from, to int64) *storage.Commit {
			return db.Submit(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
				return tx.Swap(ctx, moveCursor, row, from, to)
			})
		}
		var good, late []*storage.Commit
		for n := range rows {
			good = append(good, swap(fmt.Sprint(n), 0, 1))
		}
		for n := range int64(20) {
			good = append(good, swap("7", n+1, n+2))
		}
		late = append(late, swap("7", 3, 4), swap("moved", 0, 1))
		good = append(good, swap("8", 1, 2))
		close(release)
		if _, err := blocker.Wait(); err != nil {
			t.Fatal(err)
		}
		for n, c := range good {
			if _, err := c.Wait(); err != nil {
				t.Errorf("writer %d: %v", n, err)
			}
		}
		for n, c := range late {
			if _, err := c.Wait(); !errors.Is(err, storage.ErrConflict) {
				t.Errorf("late writer %d: %v", n, err)
			}
		}
		want := map[string]storage.Position{"0": 1, "7": 21, "8": 2, "69": 1, "moved": 5}
		for row, pos := range want {
			if got := cursor(t, db, row); got != pos {
				t.Errorf("row %s is at %d, want %d", row, got, pos)
			}
		}
	})
}

func TestSwappedRowIsSeenByTheNextStatement(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		_, err := db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
			if err := storage.SetCursor(ctx, tx, "a", 1); err != nil {
				return err
			}
			for from := range int64(3) {
				if err := tx.Swap(ctx, moveCursor, "a", from+1, from+2); err != nil {
					return err
				}
			}
			var pos int64
			if err := tx.QueryRow(ctx, `SELECT pos FROM cursors WHERE follower = $1`, "a").Scan(&pos); err != nil {
				return err
			}
			if pos != 4 {
				t.Errorf("the transaction reads %d, wrote 4", pos)
			}
			return tx.Swap(ctx, moveCursor, "a", int64(4), int64(9))
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := cursor(t, db, "a"); got != 9 {
			t.Errorf("the row is at %d, want 9", got)
		}
	})
}

func cursor(t *testing.T, db *storage.DB, follower string) (pos storage.Position) {
	t.Helper()
	if err := db.View(t.Context(), func(r *storage.Reader) (err error) {
		pos, err = storage.Cursor(t.Context(), r, follower)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return pos
}
