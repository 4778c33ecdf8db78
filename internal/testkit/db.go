// Package testkit starts real things for tests: databases on both engines,
// whole servers, a network between them and a scripted hostile server.
package testkit

import (
	"context"
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"beffroi/storage"
)

// EachEngine runs fn on every engine: SQLite always, PostgreSQL where
// BEFFROI_TEST_POSTGRES names a server. In CI a server must be named.
func EachEngine(t *testing.T, fn func(t *testing.T, db *storage.DB)) {
	t.Helper()
	for _, engine := range Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			fn(t, OpenDB(t, engine))
		})
	}
}

// Engines names the engines that tests run on.
func Engines() []string {
	if os.Getenv("BEFFROI_TEST_POSTGRES") == "" && os.Getenv("BEFFROI_CI") == "" {
		return []string{"sqlite"}
	}
	return []string{"sqlite", "postgres"}
}

// OpenDB opens an empty database of an engine, which is gone after the test.
func OpenDB(t testing.TB, engine string) *storage.DB {
	t.Helper()
	db, err := storage.Open(t.Context(), DSN(t, engine))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close database: %v", err)
		}
	})
	return db
}

// DSN returns the name of an empty database of an engine, which is gone after
// the test.
func DSN(t testing.TB, engine string) string {
	t.Helper()
	if engine == "sqlite" {
		return filepath.Join(t.TempDir(), "test.db")
	}
	server := os.Getenv("BEFFROI_TEST_POSTGRES")
	if server == "" {
		t.Fatal("BEFFROI_TEST_POSTGRES must name a PostgreSQL server in CI")
	}
	// A schema is a database for our purpose, and fifty times cheaper to make.
	schema := "test_" + strings.ToLower(rand.Text())
	admin, err := sql.Open("postgres", server)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.ExecContext(t.Context(), "CREATE SCHEMA "+schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.ExecContext(context.Background(), "DROP SCHEMA "+schema+" CASCADE"); err != nil {
			t.Errorf("drop schema: %v", err)
		}
		_ = admin.Close()
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String()
}
