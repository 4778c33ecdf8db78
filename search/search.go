// Package search finds people, and keeps the index by which messages are found.
// It follows the log from a cursor of its own: nobody who sends waits for it.
package search

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"beffroi/bus"
	"beffroi/matrix"
	"beffroi/storage"
)

const (
	// cursor names the follower in the table of cursors.
	cursor = "search"
	// stretch is how much of the log is read for one commit.
	stretch = 500
	// gather is how long the follower waits for more before it writes, so that
	// a busy room costs a commit now and then and not one for each message.
	gather = 500 * time.Millisecond
	// tick bounds what a lost hint costs.
	tick = 5 * time.Second
	// levelTimeout bounds how long a question waits for the index. A new index
	// of an old server takes longer: then it answers with what there is.
	levelTimeout = 2 * time.Second
	// lag is up to how far a cursor that was not worth a commit stays behind.
	lag = 10_000
)

// Options is what a [Server] is made of. All fields are needed that do not say
// what they are without.
type Options struct {
	DB         *storage.DB
	Bus        bus.Bus // nil leaves it to ticks
	ServerName matrix.ServerName
	// Everybody says that each account of this server is found by all others,
	// and not only by those who share a room with it.
	Everybody bool
	Logger    *slog.Logger // nil: none
}

// Server is safe for concurrent use.
type Server struct {
	Options

	mu     sync.Mutex       // one reader of the log at a time
	begun  bool             // guarded by mu: at and stored were read
	at     storage.Position // guarded by mu: everything up to here is in the index
	stored storage.Position // guarded by mu: the cursor
}

// New returns a server that has read nothing.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{Options: o}
}

// Run follows the log until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	var hint <-chan struct{}
	if s.Bus != nil {
		hint = bus.Hints(ctx, s.Bus)
	}
	for {
		if err := s.follow(ctx, 0); err != nil && ctx.Err() == nil {
			s.Logger.WarnContext(ctx, "index not written; trying again", "error", err)
		}
		wait := time.NewTimer(tick)
		select {
		case <-ctx.Done():
		case <-hint:
			wait.Reset(gather)
			select {
			case <-ctx.Done():
			case <-wait.C:
			}
		case <-wait.C:
		}
		wait.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// Level reads what is in the log when it is called, so that who asks finds what
// they have just written.
func (s *Server) Level(ctx context.Context) error {
	return s.follow(ctx, levelTimeout)
}

// follow reads up to the head of the log, or for as long as it may.
func (s *Server) follow(ctx context.Context, most time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	for ctx.Err() == nil && (most == 0 || time.Since(began) < most) {
		more, err := s.step(ctx)
		if err != nil || !more {
			return err
		}
	}
	return ctx.Err()
}

// step reads a stretch of the log. The lock is held.
func (s *Server) step(ctx context.Context) (more bool, err error) {
	var n *news
	var head storage.Position
	if err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		if !s.begun {
			if s.at, err = storage.Cursor(ctx, r, cursor); err != nil {
				return err
			}
			s.begun, s.stored = true, s.at
		}
		if head, err = storage.Head(ctx, r); err != nil || head <= s.at {
			return err
		}
		n, err = s.read(ctx, r, s.at, min(head, s.at+stretch))
		return err
	}); err != nil || n == nil {
		return false, err
	}
	if !n.empty() || n.to-s.stored > lag {
		if _, err := s.DB.Append(ctx, n.write); err != nil {
			return false, err
		}
		s.stored = n.to
	}
	s.at = n.to
	return s.at < head, nil
}
