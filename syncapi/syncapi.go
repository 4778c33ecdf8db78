// Package syncapi tells clients what changed. It follows the log and reads one
// snapshot for each answer. All it writes is what clients have got over the
// connections of sliding sync, where that is not plain from the position.
//
// The lock of the notifier is its only lock. No query runs while it is held;
// that of the room server's typing is taken inside it.
package syncapi

import (
	"context"
	"log/slog"
	"time"

	"github.com/maypok86/otter/v2"

	"beffroi/bus"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/keys"
)

// Devices is what sync asks of the owner of keys. e2ee has it.
type Devices interface {
	// ToDevice returns at most limit messages to a device after a position and
	// not after upto, oldest first.
	ToDevice(ctx context.Context, r *storage.Reader, user matrix.UserID, device matrix.DeviceID,
		after, upto storage.Position, limit int) ([]keys.Message, error)
	// Acknowledge says that a device has received the messages up to a
	// position. It costs nothing where there were none.
	Acknowledge(ctx context.Context, user matrix.UserID, device matrix.DeviceID, upto storage.Position) error
}

// Options is what a [Server] is made of. All fields are needed that do not say
// what they are without.
type Options struct {
	DB      *storage.DB
	Bus     bus.Bus // wakes those who wait; nil leaves it to ticks
	Rooms   *roomserver.Server
	Devices Devices
	Logger  *slog.Logger // nil: none
}

// Server answers sync. It is safe for concurrent use; [Server.Run] must be
// under way for anything to be answered.
type Server struct {
	Options
	notifier *notifier
	filters  *otter.Cache[filterKey, *filter]

	connections *otter.Cache[int64, *connection] // by serial
	kinds       *otter.Cache[int64, kind]        // by number of the room
}

// New returns a server that knows nothing yet.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{Options: o, notifier: newNotifier(time.Now(), o.Rooms.Typing), filters: newFilters(),
		connections: newConnections(), kinds: newKinds()}
	o.Rooms.OnTyping(s.notifier.typed)
	o.Rooms.OnPresence(s.notifier.presented)
	return s
}

const (
	// safetyTick bounds what a lost hint costs: a second, never a message.
	safetyTick = time.Second
	// sweepEvery is how often sessions that are gone are forgotten.
	sweepEvery = time.Minute
	// cleanEvery is how often connections that are gone are removed.
	cleanEvery = 10 * time.Minute
)

// Run follows the log until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	hints := make(chan struct{}, 1) // one is enough: it says only "look again"
	if s.Bus != nil {
		s.Bus.Subscribe(ctx, func(head storage.Position) {
			s.notifier.announce(head)
			select {
			case hints <- struct{}{}:
			default:
			}
		})
	}
	tick, sweep, clean := time.NewTicker(safetyTick), time.NewTicker(sweepEvery), time.NewTicker(cleanEvery)
	defer tick.Stop()
	defer sweep.Stop()
	defer clean.Stop()
	for {
		if err := s.follow(ctx); err != nil && ctx.Err() == nil {
			s.Logger.WarnContext(ctx, "sync cannot follow the log; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-hints:
		case <-tick.C:
		case <-sweep.C:
			s.notifier.sweep(time.Now())
			s.forgetPresent()
		case <-clean.C:
			if err := s.sweepConnections(ctx); err != nil && ctx.Err() == nil {
				s.Logger.WarnContext(ctx, "old connections stay; trying again", "error", err)
			}
		}
	}
}

// follow reads what the log has grown by and wakes whom it concerns.
func (s *Server) follow(ctx context.Context) error {
	return s.DB.View(ctx, func(r *storage.Reader) error {
		_, err := s.catchUp(ctx, r)
		return err
	})
}

// catchUp makes the notifier know everything up to the head of the log in this
// snapshot, which it returns.
func (s *Server) catchUp(ctx context.Context, r *storage.Reader) (storage.Position, error) {
	to, err := storage.Head(ctx, r)
	if err != nil {
		return 0, err
	}
	from, ready := s.notifier.position()
	if !ready {
		s.notifier.begin(to)
		return to, nil
	}
	if to <= from || s.notifier.skip(to) {
		return to, nil
	}
	news, err := readNews(ctx, r, s.Rooms.Name(), from, to)
	if err != nil {
		return 0, err
	}
	s.notifier.apply(news)
	return to, nil
}
