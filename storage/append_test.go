package storage_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

func TestCursorsSurviveAndPositionsHaveNoGaps(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		const writers, each = 16, 20
		var group sync.WaitGroup
		for w := range writers {
			group.Go(func() {
				for n := range each {
					_, err := db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
						pos := tx.Next()
						return storage.SetCursor(ctx, tx, fmt.Sprintf("%d-%d", w, n), pos)
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		seen := map[storage.Position]bool{}
		var head storage.Position
		if err := db.View(t.Context(), func(r *storage.Reader) (err error) {
			for w := range writers {
				for n := range each {
					pos, err := storage.Cursor(t.Context(), r, fmt.Sprintf("%d-%d", w, n))
					if err != nil {
						return err
					}
					seen[pos] = true
				}
			}
			head, err = storage.Head(t.Context(), r)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if head != writers*each || len(seen) != writers*each || seen[0] {
			t.Errorf("head %d, %d positions, want %d of both", head, len(seen), writers*each)
		}
	})
}

var cursorRow = storage.NewInsert("cursors", []string{"follower", "pos"}, "")

func TestABadWriterHurtsOnlyItself(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		writes := map[string]struct {
			write func(context.Context, *storage.Tx) error
			ok    bool
		}{
			"good": {func(_ context.Context, tx *storage.Tx) error {
				tx.Insert(cursorRow, "good", int64(tx.Next()))
				return nil
			}, true},
			"refuses before it writes": {func(_ context.Context, tx *storage.Tx) error {
				tx.Insert(cursorRow, "never", int64(tx.Next()))
				return refused
			}, false},
			"refuses after it wrote": {func(ctx context.Context, tx *storage.Tx) error {
				if err := storage.SetCursor(ctx, tx, "half", tx.Next()); err != nil {
					return err
				}
				return refused
			}, false},
			"breaks a constraint at the end": {func(_ context.Context, tx *storage.Tx) error {
				tx.Insert(cursorRow, "twice", int64(tx.Next()))
				tx.Insert(cursorRow, "twice", int64(tx.Next()))
				return nil
			}, false},
			"is not SQL": {func(ctx context.Context, tx *storage.Tx) error {
				_, err := tx.Exec(ctx, "DELETE cursors everything")
				return err
			}, false},
			"last": {func(_ context.Context, tx *storage.Tx) error {
				tx.Insert(cursorRow, "last", int64(tx.Next()))
				return nil
			}, true},
		}
		commits := map[string]*storage.Commit{}
		for name, w := range writes {
			commits[name] = db.Submit(t.Context(), w.write)
		}
		for name, c := range commits {
			if _, err := c.Wait(); (err == nil) != writes[name].ok {
				t.Errorf("%s: %v", name, err)
			}
		}
		_ = db.View(t.Context(), func(r *storage.Reader) error {
			for follower, want := range map[string]bool{"good": true, "last": true, "never": false, "half": false, "twice": false} {
				pos, err := storage.Cursor(t.Context(), r, follower)
				if err != nil || (pos > 0) != want {
					t.Errorf("%s: position %d, %v", follower, pos, err)
				}
			}
			return nil
		})
	})
}

func TestAWriterSeesItsOwnRows(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		_, err := db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
			tx.Insert(cursorRow, "mine", int64(7))
			var pos int64
			if err := tx.QueryRow(ctx, `SELECT pos FROM cursors WHERE follower = $1`, "mine").Scan(&pos); err != nil || pos != 7 {
				return fmt.Errorf("read %d, %w", pos, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestSubmitAfterCloseIsRefused(t *testing.T) {
	t.Parallel()
	db, err := storage.Open(t.Context(), testkit.DSN(t, "sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Append(t.Context(), func(context.Context, *storage.Tx) error { return nil }); err == nil {
		t.Error("a closed database took a write")
	}
}
