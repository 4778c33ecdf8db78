package storage

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed schema/*.sql
var schema embed.FS

// migrate runs the files of schema/ that this database has not seen, in the
// order of their numbers, each in a transaction of its own. They go forward
// only. A database that is newer than the program is refused.
func (db *DB) migrate(ctx context.Context) error {
	const create = `CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY)`
	if _, err := db.write.ExecContext(ctx, create); err != nil {
		return fmt.Errorf("create schema_version: %w", err)
	}
	var have int
	const q = `SELECT COALESCE(MAX(version), 0) FROM schema_version`
	if err := db.write.QueryRowContext(ctx, q).Scan(&have); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	files, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		return err
	}
	if have > len(files) {
		return fmt.Errorf("the database has schema %d, this program knows %d: use a newer program", have, len(files))
	}
	for i, name := range files {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, "schema/"), "_")
		if version, err := strconv.Atoi(number); err != nil || version != i+1 {
			return fmt.Errorf("schema file %s is not number %d", name, i+1)
		}
		if i+1 <= have {
			continue
		}
		if err := db.runMigration(ctx, name, i+1); err != nil {
			return fmt.Errorf("run %s: %w", name, err)
		}
	}
	return nil
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
