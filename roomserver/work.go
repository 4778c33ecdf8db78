package roomserver

import (
	"context"
	"errors"
	"sync"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// workTick bounds how long work waits that nobody told of, such as a job
	// that a command queued.
	workTick = time.Second
	// stepRows bounds the rows of one step, which holds the log for as long.
	stepRows = 500
	// dueRooms bounds the rooms whose checkpoints are written in one round.
	dueRooms = 100
	// roundJobs bounds the jobs that are known in one round.
	roundJobs = 100
	// jobMemory is how long a finished job is told of.
	jobMemory = 30 * 24 * time.Hour
	// transactionMemory is how long a repeated request sends nothing twice.
	transactionMemory = 7 * 24 * time.Hour
	// transactionScans bounds how many parts of the transaction IDs are looked
	// at in an hour.
	transactionScans = 200
)

// work is what is done beside requests.
type work struct {
	wake chan struct{} // capacity 1: says only that there may be a job

	mu           sync.Mutex           // one round at a time
	transactions rooms.TransactionKey // guarded by mu: where the next scan begins
	cleaned      int64                // guarded by mu: when clean did all of it, in milliseconds; 0: not yet read
}

// Run writes checkpoints, does jobs and removes what is too old, until ctx
// ends. What fails is tried again.
func (s *Server) Run(ctx context.Context) error {
	tick := time.NewTicker(workTick)
	defer tick.Stop()
	for {
		if err := s.Work(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "work on rooms not finished; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.work.wake:
		case <-tick.C:
		}
	}
}

// Work does what [Server.Run] does, once: it returns when nothing more is due.
func (s *Server) Work(ctx context.Context) error {
	s.work.mu.Lock()
	defer s.work.mu.Unlock()
	err := s.writeCheckpoints(ctx)
	err = errors.Join(err, s.doJobs(ctx))
	return errors.Join(err, s.clean(ctx))
}

// writeCheckpoints keeps the states of rooms that have changed much.
func (s *Server) writeCheckpoints(ctx context.Context) error {
	var due []int64
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		due, err = rooms.DueCheckpoints(ctx, r, dueRooms)
		return err
	}); err != nil {
		return err
	}
	for _, nid := range due {
		for {
			var next *rooms.Checkpoint
			if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
				next, err = rooms.NextCheckpoint(ctx, r, nid)
				return err
			}); err != nil {
				return err
			}
			if next == nil {
				break
			}
			if _, err := s.db.Append(ctx, next.Write); err != nil {
				return err
			}
		}
	}
	return nil
}

// clean does once an hour what need not be done at once.
func (s *Server) clean(ctx context.Context) error {
	now := s.now()
	if s.work.cleaned == 0 {
		if err := s.resume(ctx, now); err != nil {
			return err
		}
	}
	since := now.Sub(time.UnixMilli(s.work.cleaned))
	if since >= 0 && since < time.Hour {
		return nil
	}
	first := s.work.cleaned == 0
	if _, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		if err := rooms.DropJobs(ctx, tx, now.Add(-jobMemory).UnixMilli()); err != nil {
			return err
		}
		return rooms.NoteTime(ctx, tx, now.UnixMilli())
	}); err != nil {
		return err
	}
	s.work.cleaned = now.UnixMilli()
	var err error
	if !first && (since > clockLeap || since < 0) {
		s.log.WarnContext(ctx, "the clock has leapt, or the server was away for long: nothing is too old for an hour",
			"by", since)
	} else {
		err = s.retain(ctx, now)
	}
	err = errors.Join(err, s.dropTransactions(ctx, now))
	return errors.Join(err, s.collectSnapshots(ctx))
}

// resume reads when a process of this server last cleaned, and finishes what
// it had begun.
func (s *Server) resume(ctx context.Context, now time.Time) error {
	var unfinished storage.Position
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		if s.work.cleaned, err = rooms.LastNoted(ctx, r); err == nil {
			unfinished, err = storage.Cursor(ctx, r, retentionCursor)
		}
		return err
	}); err != nil || unfinished == 0 {
		return err
	}
	return s.retain(ctx, now)
}

// dropTransactions forgets old transaction IDs of a part of them, which goes
// round.
func (s *Server) dropTransactions(ctx context.Context, now time.Time) error {
	before := now.Add(-transactionMemory).UnixMilli()
	for range transactionScans {
		after := s.work.transactions
		var last rooms.TransactionKey
		var old, more bool
		if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
			last, old, more, err = rooms.OldTransactions(ctx, r, after, before, stepRows)
			return err
		}); err != nil {
			return err
		}
		if !more {
			s.work.transactions = rooms.TransactionKey{}
			return nil
		}
		if old {
			if _, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
				return rooms.DropTransactions(ctx, tx, after, last, before)
			}); err != nil {
				return err
			}
		}
		s.work.transactions = last
	}
	return nil
}

// collectSnapshots removes the snapshots of events that were removed.
func (s *Server) collectSnapshots(ctx context.Context) error {
	for after := int64(0); ; {
		start := time.Now()
		next := int64(0)
		if _, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
			next, _, err = rooms.CollectSnapshots(ctx, tx, after, stepRows)
			return err
		}); err != nil || next == 0 {
			return err
		}
		after = next
		if err := giveWay(ctx, start); err != nil {
			return err
		}
	}
}

// giveWay waits as long as a step took that began at start, so that what
// people wait for has at least half of the log.
func giveWay(ctx context.Context, start time.Time) error {
	timer := time.NewTimer(time.Since(start))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// forget drops events that were removed from memory.
func (s *Server) forget(ids []matrix.EventID) {
	for _, id := range ids {
		s.events.Invalidate(id)
	}
}
