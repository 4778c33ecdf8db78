package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"beffroi/matrix"
)

// Position is a place in the log. A sync token is one Position.
type Position int64

const (
	// maxBatch bounds how many writers share a commit, and so how long one
	// can wait for the others in its own.
	maxBatch = 256
	// maxQueued bounds the memory of writers that wait. Beyond it a writer is
	// told to come back.
	maxQueued = 8192
	// commitTimeout bounds one transaction: an engine that hangs must not
	// hang the server.
	commitTimeout = 30 * time.Second
)

// Tx is a writing transaction. What it reads, it reads under the commit lock.
type Tx struct {
	Reader
	head  Position
	dirty bool
	eager bool    // rows are swapped at once, so that who conflicts is known
	rows  buffer  // of this writer
	batch *buffer // of the writers before it in the same commit
}

// Next takes the next position of the log for a row of the caller's.
func (tx *Tx) Next() Position {
	tx.head++
	return tx.head
}

// Exec runs one statement and returns how many rows it changed.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := tx.settle(ctx, query); err != nil {
		return 0, err
	}
	n, err := tx.exec(ctx, query, args...)
	tx.dirty = tx.dirty || n > 0 || err != nil // PostgreSQL refuses the rest after an error
	return n, err
}

// settle writes the waiting rows that a query could see.
func (tx *Tx) settle(ctx context.Context, query string) error {
	if !tx.rows.mentions(query) && !tx.batch.mentions(query) {
		return nil
	}
	return tx.flushAll(ctx)
}

// flushAll writes every waiting row.
func (tx *Tx) flushAll(ctx context.Context) error {
	err := tx.batch.merge(tx.rows)
	all := *tx.batch
	*tx.batch, tx.rows = buffer{}, buffer{}
	tx.dirty = tx.dirty || !all.empty()
	if err != nil {
		return err
	}
	return tx.flush(ctx, all)
}

// QueryRow reads at most one row. It sees what this transaction wrote.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) Row {
	if err := tx.settle(ctx, query); err != nil {
		return Row{err: err}
	}
	return tx.Reader.QueryRow(ctx, query, args...)
}

// Snapshot returns the transaction as a reader, for functions that take one.
// Rows that wait are written first.
func (tx *Tx) Snapshot(ctx context.Context) (*Reader, error) {
	return &tx.Reader, tx.flushAll(ctx)
}

func (r *Reader) exec(ctx context.Context, query string, args ...any) (int64, error) {
	r.db.statements.Add(1)
	stmt, err := r.pool.stmt(ctx, query)
	if err != nil {
		return 0, unavailable(err)
	}
	res, err := r.tx.StmtContext(ctx, stmt).ExecContext(ctx, args...)
	if err != nil {
		return 0, unavailable(err)
	}
	return res.RowsAffected()
}

// Commit is a write that was submitted.
type Commit struct {
	ctx   context.Context
	write func(context.Context, *Tx) error
	pos   Position
	err   error
	done  chan struct{}
}

// Wait returns the head of the log after the write, once it is durable, or
// why it was not written. It waits for the outcome even if the context of the
// write ends: once submitted, the answer must be the truth.
func (c *Commit) Wait() (Position, error) {
	<-c.done
	return c.pos, c.err
}

// committer is the queue of writes and the goroutine that empties it.
type committer struct {
	mu     sync.Mutex
	queue  []*Commit // guarded by mu
	closed bool      // guarded by mu

	work    chan struct{} // capacity 1: says only that the queue may not be empty
	stopped chan struct{}

	watchersMu sync.Mutex
	watchers   []func(Position) // guarded by watchersMu
}

func (c *committer) init() {
	c.work = make(chan struct{}, 1)
	c.stopped = make(chan struct{})
}

func (c *committer) close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.work)
	}
	c.mu.Unlock()
	<-c.stopped
}

// OnCommit calls fn with the head of the log after each commit of this
// process that moved it, in order. fn must not block. It is for wiring, before
// the first write.
func (db *DB) OnCommit(fn func(head Position)) {
	db.committer.watchersMu.Lock()
	defer db.committer.watchersMu.Unlock()
	db.committer.watchers = append(db.committer.watchers, fn)
}

// Append runs write in a transaction and returns the head of the log after
// it. Writers that arrive together share one commit, which is what makes a
// busy server fast: the price of a commit is paid once a batch.
//
// The row of stream_head is the commit lock of the whole cluster. It is taken
// first and held until the commit, so positions become visible in order and
// a follower never has to wait for a gap to fill.
//
// write may run twice. It must not do network I/O, and it should find out
// that it must fail before it changes anything. A full queue is
// M_LIMIT_EXCEEDED, a database that does not answer is 503.
func (db *DB) Append(ctx context.Context, write func(ctx context.Context, tx *Tx) error) (Position, error) {
	return db.Submit(ctx, write).Wait()
}

// Submit queues a write and returns at once. Writes are done in the order in
// which they were submitted, so a caller may prepare the next one on top of
// one that is not yet durable.
func (db *DB) Submit(ctx context.Context, write func(ctx context.Context, tx *Tx) error) *Commit {
	c := &Commit{ctx: ctx, write: write, done: make(chan struct{})}
	q := &db.committer
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		c.err = ctx.Err()
	case q.closed:
		c.err = matrix.Unavailable(time.Second)
	case len(q.queue) >= maxQueued:
		c.err = matrix.LimitExceeded(time.Second)
	default:
		q.queue = append(q.queue, c)
		select {
		case q.work <- struct{}{}:
		default:
		}
		return c
	}
	close(c.done)
	return c
}

func (q *committer) next() []*Commit {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.queue), maxBatch)
	batch := q.queue[:n:n]
	if q.queue = q.queue[n:]; len(q.queue) == 0 {
		q.queue = nil
	}
	return batch
}

func (db *DB) commitLoop() {
	q := &db.committer
	defer close(q.stopped)
	for open := true; open; {
		_, open = <-q.work
		for batch := q.next(); len(batch) > 0; batch = q.next() {
			db.commitBatch(batch)
		}
	}
}

func (db *DB) commitBatch(batch []*Commit) {
	err := db.commit(batch, false)
	if errors.Is(err, ErrConflict) && len(batch) > 1 {
		err = db.commit(batch, true) // somebody else moved a row: this tells whose
	}
	// A bad writer hurts only itself. But where the database went away all have
	// failed, and those whose commit was under way must not be written again: it
	// may have happened.
	if err != nil && len(batch) > 1 && !away(err) {
		for _, c := range batch {
			_ = db.commit([]*Commit{c}, true)
		}
	}
	var head Position
	for _, c := range batch {
		if c.err == nil {
			head = max(head, c.pos)
		}
	}
	if head > 0 {
		db.committer.watchersMu.Lock()
		watchers := db.committer.watchers
		db.committer.watchersMu.Unlock()
		for _, fn := range watchers {
			fn(head)
		}
	}
	for _, c := range batch {
		close(c.done)
	}
}

// commit runs the batch in one transaction and sets each writer's outcome.
func (db *DB) commit(batch []*Commit, eager bool) (err error) {
	defer func() {
		if err != nil {
			for _, c := range batch {
				c.pos, c.err = 0, err
			}
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout) // it belongs to several requests
	defer cancel()
	sqlTx, end, err := db.write.begin(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer end()

	reader := Reader{db: db, pool: db.write, tx: sqlTx}
	var before Position
	const lock = `UPDATE stream_head SET pos = pos WHERE id = 1 RETURNING pos`
	if err := reader.QueryRow(ctx, lock).Scan(&before); err != nil {
		return fmt.Errorf("lock log: %w", unavailable(err))
	}
	head, rows := before, buffer{}
	for _, c := range batch {
		if c.pos, c.err = 0, c.ctx.Err(); c.err != nil {
			continue // its caller has given up
		}
		tx := &Tx{Reader: reader, head: head, batch: &rows, eager: eager}
		if c.err = c.write(ctx, tx); c.err != nil {
			if tx.dirty {
				return c.err // its half cannot be taken out of the batch
			}
			continue
		}
		if err := rows.merge(tx.rows); err != nil {
			return err
		}
		head, c.pos = tx.head, tx.head
	}
	if err := reader.flush(ctx, rows); err != nil {
		return err
	}
	if head > before {
		if _, err := reader.exec(ctx, `UPDATE stream_head SET pos = $1 WHERE id = 1`, int64(head)); err != nil {
			return fmt.Errorf("advance log: %w", unavailable(err))
		}
	}
	if err := sqlTx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", unavailable(err))
	}
	return nil
}
