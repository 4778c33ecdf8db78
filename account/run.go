package account

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/users"
)

const (
	// followEvery bounds for how long a node honours a session that another
	// node has ended.
	followEvery = time.Second
	// housekeepEvery is how often sightings are written and what has expired goes.
	housekeepEvery = time.Minute
	followChunk    = 500
	// maxSightings bounds one write of sightings: the commit lock is held for it.
	maxSightings = 500
)

// Run follows what other nodes do to sessions, writes when devices were seen
// and removes what has expired, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	var pos storage.Position
	err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		pos, err = storage.Head(ctx, r)
		return err
	})
	if ctx.Err() != nil {
		err = nil // we were stopped before we began
	}
	follow, clean := time.NewTicker(followEvery), time.NewTicker(housekeepEvery)
	defer follow.Stop()
	defer clean.Stop()
	for err == nil {
		select {
		case <-ctx.Done():
			return s.writeSightings(context.WithoutCancel(ctx))
		case <-follow.C:
			pos, err = s.follow(ctx, pos)
		case <-clean.C:
			err = s.housekeep(ctx)
		}
		if ctx.Err() != nil || matrix.Answer(err).Status == http.StatusServiceUnavailable {
			err = nil // we are being stopped, or the database is away: the next tick tries again
		}
	}
	return fmt.Errorf("accounts: %w", err)
}

// follow forgets the sessions that changed after a position.
func (s *Server) follow(ctx context.Context, pos storage.Position) (storage.Position, error) {
	for {
		var list []users.SessionChange
		err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
			list, err = users.SessionChanges(ctx, r, pos, followChunk)
			return err
		})
		if err != nil {
			return pos, err
		}
		for _, c := range list {
			s.sessions.forget(c.User)
			pos = c.Pos
		}
		if len(list) < followChunk {
			return pos, nil
		}
	}
}

func (s *Server) housekeep(ctx context.Context) error {
	if err := s.writeSightings(ctx); err != nil {
		return err
	}
	return s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		now := s.now()
		return users.Sweep(ctx, tx, now, now-mailDay.Milliseconds())
	})
}

// writeSightings writes when devices were seen, in steps that do not hold the
// log for long.
func (s *Server) writeSightings(ctx context.Context) error {
	left := s.seen.take()
	for len(left) > 0 {
		step := make(map[seenDevice]sighting, min(len(left), maxSightings))
		for device, seen := range left {
			step[device] = seen
			delete(left, device)
			if len(step) == maxSightings {
				break
			}
		}
		err := s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
			for device, seen := range step {
				if err := users.SawDevice(ctx, tx, device.user, device.device, seen.at, seen.ip); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
