package storage

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
)

//go:embed schema/*.sql
var schema embed.FS

// migrate runs the files of schema/ that this database has not seen, in the
// order of their numbers, each in a transaction of its own. They go forward
// only. A database that has seen a file this program does not know is refused.
func (db *DB) migrate(ctx context.Context) error {
	const create = `CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)`
	if _, err := db.write.ExecContext(ctx, create); err != nil {
		return fmt.Errorf("create schema_version: %w", err)
	}
	seen, err := db.schemaVersions(ctx)
	if err != nil {
		return fmt.Errorf("read schema versions: %w", err)
	}
	files, err := schemaFiles(db.Engine())
	if err != nil {
		return err
	}
	for version := range seen {
		if files[version] == "" {
			return fmt.Errorf("the database has schema %d, which this program does not know: use a newer program", version)
		}
	}
	for _, version := range slices.Sorted(maps.Keys(files)) {
		if seen[version] {
			continue
		}
		if err := db.runMigration(ctx, files[version], version); err != nil {
			return fmt.Errorf("run %s: %w", files[version], err)
		}
	}
	return nil
}

// schemaFiles are the files of schema/ by their numbers. One that is for one
// engine alone has its name at the end.
func schemaFiles(engine string) (map[int]string, error) {
	names, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	files := make(map[int]string, len(names))
	for _, name := range names {
		base := strings.TrimSuffix(name, ".sql")
		if only := base[strings.LastIndexByte(base, '_')+1:]; (only == "sqlite" || only == "postgres") && only != engine {
			continue
		}
		number, _, _ := strings.Cut(strings.TrimPrefix(name, "schema/"), "_")
		version, err := strconv.Atoi(number)
		if err != nil || files[version] != "" {
			return nil, fmt.Errorf("schema file %s has no number of its own", name)
		}
		files[version] = name
	}
	return files, nil
}

func (db *DB) schemaVersions(ctx context.Context) (map[int]bool, error) {
	rows, err := db.write.QueryContext(ctx, `SELECT version FROM schema_version`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	seen := map[int]bool{}
	for rows.Next() {
		var version int
		if err := rows.Scan(&version); err != nil {
			return nil, err
		}
		seen[version] = true
	}
	return seen, rows.Err()
}

func (db *DB) runMigration(ctx context.Context, name string, version int) error {
	text, err := schema.ReadFile(name)
	if err != nil {
		return err
	}
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	// The key makes a second node that migrates at the same moment wait, and then fail and start anew.
	if _, err := tx.ExecContext(ctx, `INSERT INTO schema_version (version) VALUES ($1)`, version); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, string(text)); err != nil {
		return err
	}
	return tx.Commit()
}
