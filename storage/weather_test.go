package storage

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"beffroi/matrix"
)

// TestFullDisk fills the disk of an SQLite database, as the engine sees it:
// writes are refused with a clear answer, reads go on, and when there is space
// again all is well.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	limit := func(pages int) {
		// The limit is of a connection: both that the writer may use get it.
		for range 2 {
			conn, err := db.write.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := conn.ExecContext(t.Context(), "PRAGMA max_page_count = "+map[int]string{0: "1073741823", 1: "1"}[pages]); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(name string) error {
		_, err := db.Append(t.Context(), func(ctx context.Context, tx *Tx) error {
			return SetCursor(ctx, tx, name+strings.Repeat("x", 1<<20), tx.Next())
		})
		return err
	}
	limit(1)
	if err := write("full"); err == nil || matrix.Answer(err).Status != 503 {
		t.Errorf("a write to a full disk: %v", err)
	}
	if err := db.View(t.Context(), func(r *Reader) error {
		_, err := Head(t.Context(), r)
		return err
	}); err != nil {
		t.Errorf("a read beside a full disk: %v", err)
	}
	limit(0)
	if err := write("space"); err != nil {
		t.Errorf("a write when there is space again: %v", err)
	}
}
