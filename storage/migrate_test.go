package storage_test

import (
	"context"
	"strings"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

func TestDatabaseOfANewerProgramIsRefused(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			dsn := testkit.DSN(t, engine)
			for range 2 { // the second finds every file seen
				openAndExec(t, dsn, `DELETE FROM schema_version WHERE version = $1`, 9999)
			}
			openAndExec(t, dsn, `INSERT INTO schema_version (version) VALUES ($1)`, 9999)
			if _, err := storage.Open(t.Context(), dsn); err == nil || !strings.Contains(err.Error(), "newer program") {
				t.Fatalf("opened a database of a newer program: %v", err)
			}
		})
	}
}

func openAndExec(t *testing.T, dsn, query string, args ...any) {
	t.Helper()
	db, err := storage.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
		_, err := tx.Exec(ctx, query, args...)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
