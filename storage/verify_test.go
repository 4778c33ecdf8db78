package storage_test

import (
	"context"
	"fmt"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

var roomRow = storage.NewInsert("rooms", []string{"room_nid", "room_id", "room_version", "version", "tips", "depth", "head_pos",
	"first_pos", "joined", "invited", "published"}, "")

// TestVerifyLooksAtEveryRoom has rooms for several steps, of which only some
// are broken, and more breaches than are told.
func TestVerifyLooksAtEveryRoom(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		const count = 1001
		verify := func() int {
			t.Helper()
			findings, err := storage.Verify(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			return len(findings)
		}
		change := func(fn func(context.Context, *storage.Tx) error) {
			t.Helper()
			if _, err := db.Append(t.Context(), fn); err != nil {
				t.Fatal(err)
			}
		}
		if n := verify(); n != 0 {
			t.Errorf("%d findings in an empty database", n)
		}
		change(func(_ context.Context, tx *storage.Tx) error {
			for i := range count {
				tx.Insert(roomRow, int64(i+1)*3, fmt.Sprintf("!%d:one.example", i), "12", 0, "[]", 0, 0, 0, 0, 0, 0)
			}
			return nil
		})
		if n := verify(); n != 0 {
			t.Errorf("%d findings in good rooms", n)
		}
		for _, i := range []int{0, 199, 200, 201, 799, count - 1} {
			change(func(ctx context.Context, tx *storage.Tx) error {
				_, err := tx.Exec(ctx, `UPDATE rooms SET purged = 7 WHERE room_id = $1`, fmt.Sprintf("!%d:one.example", i))
				return err
			})
		}
		if n := verify(); n != 6 {
			t.Errorf("%d findings, want 6", n)
		}
		change(func(ctx context.Context, tx *storage.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE rooms SET purged = 7, deltas = 7`)
			return err
		})
		if n := verify(); n != 1000 {
			t.Errorf("%d findings are told", n)
		}
		change(func(ctx context.Context, tx *storage.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE rooms SET deleted = 1`)
			return err
		})
		if n := verify(); n != 0 {
			t.Errorf("%d findings in rooms that are being removed", n)
		}
	})
}
