package rooms_test

import (
	"context"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// TestHeadAt notes where the log stood at times, also by a clock that was set
// back: what is said to have been there at a time must have been.
func TestHeadAt(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		note := func(ts int64) {
			t.Helper()
			for _, fn := range []func(context.Context, *storage.Tx) error{
				func(_ context.Context, tx *storage.Tx) error {
					for range 10 {
						tx.Next()
					}
					return nil
				},
				func(ctx context.Context, tx *storage.Tx) error { return rooms.NoteTime(ctx, tx, ts) },
			} {
				if _, err := db.Append(t.Context(), fn); err != nil {
					t.Fatal(err)
				}
			}
		}
		note(1000) // the log is at 10
		note(2000) // 20
		note(3000) // 30
		note(1500) // 40: the clock was set back
		note(4000) // 50
		note(4000) // the same time again: the first counts
		if err := db.View(t.Context(), func(r *storage.Reader) error {
			for ts, want := range map[int64]storage.Position{999: 0, 1000: 10, 1999: 10, 2000: 20, 3500: 40, 4000: 50, 9000: 50} {
				if got, err := rooms.HeadAt(t.Context(), r, ts); err != nil || got != want {
					t.Errorf("at %d: %d, want %d, %v", ts, got, want, err)
				}
			}
			last, err := rooms.LastNoted(t.Context(), r)
			if last != 4000 {
				t.Errorf("the last is %d", last)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}
