package media

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/files"
)

const (
	// writeEvery is how often it is written when files were served, and
	// reservations go that nobody used.
	writeEvery = time.Minute
	// retireEvery is how often files are looked for that nobody looks at.
	retireEvery = 10 * time.Minute
	// sweepEvery is how often the store is compared with the tables.
	sweepEvery = 24 * time.Hour
	// stepFiles bounds what one commit removes.
	stepFiles = 200
	// minAge is how old bytes are before the sweep takes them for nobody's: an
	// upload puts them into the store first.
	minAge = 2 * time.Hour
)

// Run writes when files were served, and removes what has expired, what nobody
// looks at and what belongs to nobody, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	err := s.sweepFolder()
	write, retire, sweep := time.NewTicker(writeEvery), time.NewTicker(retireEvery), time.NewTicker(sweepEvery)
	follow, removed := time.NewTicker(followEvery), time.NewTicker(removedEvery)
	for _, t := range []*time.Ticker{write, retire, sweep, follow, removed} {
		defer t.Stop()
	}
	s.mayOrphan() // a command may have dropped files while we did not run
	for err == nil {
		select {
		case <-ctx.Done():
			return s.writeServed(context.WithoutCancel(ctx))
		case <-write.C:
			err = s.housekeep(ctx)
		case <-retire.C:
			err = s.retire(ctx)
			s.mayOrphan() // commands drop files beside us
		case <-follow.C:
			err = s.followRooms(ctx)
		case <-removed.C:
			err = s.dropRemoved(ctx)
		case <-s.orphan:
			err = s.dropOrphans(ctx)
		case <-sweep.C:
			err = s.sweepStore(ctx)
		}
		if ctx.Err() != nil || err != nil && matrix.Answer(err).Status == http.StatusServiceUnavailable {
			err = nil // we are being stopped, or the database or the store is away: the next tick tries again
		}
	}
	return fmt.Errorf("media: %w", err)
}

func (s *Server) housekeep(ctx context.Context) error {
	if err := s.writeServed(ctx); err != nil {
		return err
	}
	_, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return files.DropExpired(ctx, tx, s.nowMS())
	})
	return err
}

func (s *Server) writeServed(ctx context.Context) error {
	s.mu.Lock()
	seen := s.seen
	s.seen = make(map[matrix.MXC]int64)
	s.mu.Unlock()
	for len(seen) > 0 {
		step := make(map[matrix.MXC]int64, min(len(seen), stepFiles))
		for mxc, at := range seen {
			step[mxc] = at
			delete(seen, mxc)
			if len(step) == stepFiles {
				break
			}
		}
		if _, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
			for mxc, at := range step {
				if err := files.Saw(ctx, tx, mxc, at); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// retire removes files that nobody has looked at for longer than they are kept.
func (s *Server) retire(ctx context.Context) error {
	if err := s.writeServed(ctx); err != nil {
		return err
	}
	for _, kept := range []struct {
		local bool
		lasts time.Duration
	}{{true, s.LocalRetention}, {false, s.RemoteRetention}} {
		if kept.lasts <= 0 {
			continue
		}
		if err := s.retireOlder(ctx, kept.local, s.Now().Add(-kept.lasts).UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) retireOlder(ctx context.Context, local bool, before int64) error {
	n, err := s.dropAll(ctx, func(ctx context.Context, r *storage.Reader) ([]matrix.MXC, error) {
		return files.Unused(ctx, r, local, before, stepFiles)
	})
	if n > 0 {
		s.log.InfoContext(ctx, "files that nobody looked at were removed", "local", local, "files", n)
	}
	return err
}

// dropAll removes what next lists, stepFiles in a commit, until it lists no
// more, and returns how many files that were.
func (s *Server) dropAll(ctx context.Context, next func(context.Context, *storage.Reader) ([]matrix.MXC, error)) (dropped int, err error) {
	for {
		n := 0
		if _, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
			r, err := tx.Snapshot(ctx)
			if err != nil {
				return err
			}
			list, err := next(ctx, r)
			if err != nil {
				return err
			}
			n = len(list)
			_, err = files.Drop(ctx, tx, list)
			return err
		}); err != nil {
			return dropped, err
		}
		if dropped += n; n > 0 {
			s.mayOrphan()
		}
		if n < stepFiles {
			return dropped, nil
		}
	}
}

// mayOrphan has bytes looked for that belong to nobody.
func (s *Server) mayOrphan() {
	select {
	case s.orphan <- struct{}{}:
	default:
	}
}

// dropOrphans removes bytes that no file has: first from the tables, in one
// commit that no upload of the same bytes is between, and then from the store.
func (s *Server) dropOrphans(ctx context.Context) error {
	for {
		var gone []string
		if _, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
			gone, err = files.DropOrphans(ctx, tx, stepFiles)
			return err
		}); err != nil || len(gone) == 0 {
			return err
		}
		for _, name := range gone {
			s.discard(ctx, name)
		}
	}
}

// sweepStore removes bytes that the store has and no table knows: a crash
// between the two has left them.
func (s *Server) sweepStore(ctx context.Context) error {
	var old []string
	flush := func() error {
		var known map[string]bool
		if err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
			known, err = files.Known(ctx, r, old)
			return err
		}); err != nil {
			return err
		}
		for _, name := range old {
			if !known[name] {
				s.discard(ctx, name)
			}
		}
		old = old[:0]
		return nil
	}
	if err := s.Store.Each(ctx, func(name string, written time.Time) error {
		if s.Now().Sub(written) < minAge {
			return nil
		}
		if old = append(old, name); len(old) < stepFiles {
			return nil
		}
		return flush()
	}); err != nil {
		return storeError("list store", err)
	}
	return flush()
}
