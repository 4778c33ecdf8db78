// Package storage opens the database and runs transactions on it. The SQL
// lives in the folders below, one for each family of tables.
//
// SQLite and PostgreSQL run the same text. What only one of them
// understands is not used; CI runs every test of this tree on both.
package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	_ "github.com/lib/pq"
	_ "modernc.org/sqlite"
)

// ErrConflict says that a writer prepared against a state that has moved on.
// The caller prepares again.
var ErrConflict = errors.New("storage: the state moved on")

// readers is the number of reading connections of one process.
const readers = 8

// DB is one database, shared by every component of the process.
type DB struct {
	write    *pool // one transaction at a time: writers queue here, not in a lock of the engine
	read     *pool
	snapshot *sql.TxOptions // how this engine begins a consistent read
	postgres bool

	committer  committer
	statements atomic.Int64
}

// pool is the connections of one kind and the statements prepared on them.
type pool struct {
	*sql.DB
	// slots bounds the transactions under way to one less than there are
	// connections: a transaction that meets a new statement prepares it on the
	// one that is left, and so never waits for itself.
	slots    chan struct{}
	prepared sync.Map // query text to *sql.Stmt
	bare     bool     // placeholders are prepared without numbers, see positional
}

// begin starts a transaction; end gives its slot back.
func (p *pool) begin(ctx context.Context, opts *sql.TxOptions) (tx *sql.Tx, end func(), err error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	tx, err = p.BeginTx(ctx, opts)
	if err != nil {
		<-p.slots
		return nil, nil, unavailable(err)
	}
	return tx, func() {
		_ = tx.Rollback() // nothing after a commit
		<-p.slots
	}, nil
}

// stmt returns the statement of a text, prepared once. The texts of this
// program are constants, so their number is bounded.
func (p *pool) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := p.prepared.Load(query); ok {
		return s.(*sql.Stmt), nil
	}
	text := query
	if p.bare {
		text = positional(unseen(query))
	}
	s, err := p.PrepareContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", firstLine(query), err)
	}
	if other, loaded := p.prepared.LoadOrStore(query, s); loaded {
		_ = s.Close()
		return other.(*sql.Stmt), nil
	}
	return s, nil
}

func firstLine(query string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(query), "\n")
	return line
}

// Open opens dsn, a postgres:// URL or the path of an SQLite file, and brings
// its schema up to date.
func Open(ctx context.Context, dsn string) (*DB, error) {
	db := &DB{snapshot: &sql.TxOptions{ReadOnly: true}}
	driver, writeDSN, readDSN := "sqlite", "", ""
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		driver, writeDSN, readDSN = "postgres", dsn, dsn
		db.postgres = true
		db.snapshot.Isolation = sql.LevelRepeatableRead
	} else {
		// Every read of SQLite is a snapshot, so its default isolation will do.
		file := "file:" + (&url.URL{Path: dsn}).EscapedPath()
		const pragmas = "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)" +
			"&_pragma=busy_timeout(10000)&_pragma=mmap_size(268435456)&_pragma=temp_store(MEMORY)"
		readDSN = file + pragmas
		writeDSN = readDSN + "&_txlock=immediate"
	}
	var err error
	if db.write, err = openPool(driver, writeDSN, 1); err != nil {
		return nil, err
	}
	if db.read, err = openPool(driver, readDSN, readers); err != nil {
		return nil, errors.Join(err, db.write.Close())
	}
	if err := db.migrate(ctx); err != nil {
		return nil, errors.Join(err, db.write.Close(), db.read.Close())
	}
	db.committer.init()
	go db.commitLoop()
	return db, nil
}

func openPool(driver, dsn string, size int) (*pool, error) {
	sqlDB, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	sqlDB.SetMaxOpenConns(size + 1)
	sqlDB.SetMaxIdleConns(size + 1) // the default of 2 reconnects all the time: 10 times slower
	return &pool{DB: sqlDB, slots: make(chan struct{}, size), bare: driver == "sqlite"}, nil
}

// Close waits for what was submitted and closes the database. An Append that
// comes later fails.
func (db *DB) Close() error {
	db.committer.close()
	return errors.Join(db.write.Close(), db.read.Close())
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error { return db.read.PingContext(ctx) }

// Engine names the database engine: "sqlite" or "postgres".
func (db *DB) Engine() string {
	if db.postgres {
		return "postgres"
	}
	return "sqlite"
}

// Statements returns how many statements have run since Open. Benchmarks and
// tests of budgets read it.
func (db *DB) Statements() int64 { return db.statements.Load() }

// Reader reads one consistent snapshot.
type Reader struct {
	db   *DB
	pool *pool
	tx   *sql.Tx
}

// View runs fn on a snapshot. It writes nothing and holds up nobody.
func (db *DB) View(ctx context.Context, fn func(*Reader) error) error {
	tx, end, err := db.read.begin(ctx, db.snapshot)
	if err != nil {
		return fmt.Errorf("begin read: %w", err)
	}
	defer end()
	return fn(&Reader{db: db, pool: db.read, tx: tx})
}

// Row is the outcome of a query for at most one row.
type Row struct {
	row *sql.Row
	err error
}

// Scan copies the row into dest. [NoRows] tells that there was none.
func (r Row) Scan(dest ...any) error {
	if r.err != nil {
		return unavailable(r.err)
	}
	return unavailable(r.row.Scan(dest...))
}

// QueryRow reads at most one row.
func (r *Reader) QueryRow(ctx context.Context, query string, args ...any) Row {
	r.db.statements.Add(1)
	stmt, err := r.pool.stmt(ctx, query)
	if err != nil {
		return Row{err: err}
	}
	return Row{row: r.tx.StmtContext(ctx, stmt).QueryRowContext(ctx, args...)}
}

// Query reads rows; the caller closes them.
func (r *Reader) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	r.db.statements.Add(1)
	stmt, err := r.pool.stmt(ctx, query)
	if err != nil {
		return nil, unavailable(err)
	}
	rows, err := r.tx.StmtContext(ctx, stmt).QueryContext(ctx, args...)
	return rows, unavailable(err)
}

// Each runs a query and calls scan for each row. scan reads the row it stands
// on and must not keep the rows.
func (r *Reader) Each(ctx context.Context, query string, args []any, scan func(rows *sql.Rows) error) error {
	rows, err := r.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return unavailable(rows.Err())
}

// NoRows reports whether err says that a row was not there.
func NoRows(err error) bool { return errors.Is(err, sql.ErrNoRows) }
