package scenario

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"beffroi/cmd/matrixload/internal/homeserver"
	"beffroi/cmd/matrixload/internal/measure"
	"beffroi/cmd/matrixload/internal/pace"
)

const (
	// setUpWorkers is how many requests of the set-up run at a time: enough to
	// keep a server busy, too few to make it refuse.
	setUpWorkers = 8
	// maxRetries bounds how often the set-up does what a rate limit asks for.
	maxRetries = 30
	// longestPause bounds how long a server may ask to wait.
	longestPause = time.Minute
	warmUp       = 5 * time.Second
)

// world is the accounts and rooms of one run, and what happens in them.
type world struct {
	Options

	run      string // tells this run from all others, in names and messages
	setUp    *measure.Recorder
	recorder *measure.Recorder // nil until the set-up is done
	users    []*user
	rooms    []*room
	news     *tracker
	steps    atomic.Int64 // of the set-up
	inFlight atomic.Int64
}

// user is an account of the run.
type user struct {
	*homeserver.User
	index   int
	listens bool
	since   string // of the last sync of a listener
}

// room is a room of the run.
type room struct {
	id        string
	members   []*user
	listening int                    // how many of them listen
	last      atomic.Pointer[string] // the ID of a recent event
}

func newWorld(o Options) *world {
	run := strings.ToLower(rand.Text()[:8])
	return &world{Options: o, run: run, setUp: measure.NewRecorder(time.Now(), o.SetUpLimit), news: newTracker(run, o.Patience)}
}

// each calls fn for 0 to n-1, a few at a time, until one fails.
func each(ctx context.Context, n int, fn func(context.Context, int) error) error {
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(setUpWorkers)
	for i := range n {
		if working.Err() != nil {
			break
		}
		group.Go(func() error { return fn(working, i) })
	}
	return errors.Join(group.Wait(), ctx.Err())
}

// try does a step of the set-up, again if the server asks for patience.
func (w *world) try(ctx context.Context, name string, do func() error) error {
	for retry := 0; ; retry++ {
		due := time.Now()
		err := do()
		w.setUp.Done(name, due, 0, err)
		w.steps.Add(1)
		fault, ok := errors.AsType[*homeserver.Fault](err)
		if err == nil || !ok || fault.RetryAfter <= 0 || retry == maxRetries {
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(fault.RetryAfter, longestPause)):
		}
	}
}

// people makes the accounts, on the servers in turn. The last ones listen.
func (w *world) people(ctx context.Context) error {
	w.users = make([]*user, w.Users)
	return each(ctx, w.Users, func(ctx context.Context, i int) error {
		u := &user{index: i, listens: i >= w.Users-w.Listeners}
		w.users[i] = u
		server := w.Servers[i%len(w.Servers)]
		name, password := fmt.Sprintf("load-%s-%d", w.run, i), rand.Text()
		return w.try(ctx, opRegister, func() (err error) {
			if w.Secret != "" {
				u.User, err = server.RegisterWithSecret(ctx, w.Secret, name, password)
			} else {
				u.User, err = server.Register(ctx, name, password)
			}
			return err
		})
	})
}

// furnish makes rooms with these members. The first one makes the room, the
// others join it; then the messages are sent that were there before.
func (w *world) furnish(ctx context.Context, members [][]*user) error {
	w.rooms = make([]*room, len(members))
	if err := each(ctx, len(members), func(ctx context.Context, i int) error { return w.found(ctx, i, members[i]) }); err != nil {
		return err
	}
	pioneers, others := w.joins()
	for _, joins := range [][]join{pioneers, others} {
		err := each(ctx, len(joins), func(ctx context.Context, i int) error { return w.join(ctx, joins[i]) })
		if err != nil {
			return err
		}
	}
	return each(ctx, w.Messages*len(w.rooms), func(ctx context.Context, i int) error {
		r := w.rooms[i%len(w.rooms)]
		return w.try(ctx, opSend, func() error {
			_, err := r.members[i%len(r.members)].Send(ctx, r.id, fmt.Sprintf("%s-before-%d", w.run, i), w.content(pace.Slot{N: -1}))
			return err
		})
	})
}

// found makes a room.
func (w *world) found(ctx context.Context, i int, members []*user) error {
	r := &room{members: members}
	for _, u := range members {
		if u.listens {
			r.listening++
		}
	}
	w.rooms[i] = r
	return w.try(ctx, opCreate, func() (err error) {
		r.id, err = members[0].CreateRoom(ctx, fmt.Sprintf("Load %s %d", w.run, i))
		return err
	})
}

// join is a user who has to be in a room.
type join struct {
	who *user
	to  *room
	via string // the server that has the room, "" if that of the user has it
}

// joins returns who has to join which room: first those who bring a room to
// their server, then the others, a member of each room at a time, because joins
// into one room wait for each other.
func (w *world) joins() (pioneers, others []join) {
	known := make(map[*room]map[*homeserver.Server]bool, len(w.rooms))
	for nth := range w.Users {
		for _, r := range w.rooms {
			switch {
			case nth >= len(r.members):
			case nth == 0:
				known[r] = map[*homeserver.Server]bool{r.members[0].Server: true}
			case known[r][r.members[nth].Server]:
				others = append(others, join{who: r.members[nth], to: r})
			default:
				known[r][r.members[nth].Server] = true
				pioneers = append(pioneers, join{r.members[nth], r, r.members[0].Host()})
			}
		}
	}
	return pioneers, others
}

func (w *world) join(ctx context.Context, j join) error {
	name := opJoin
	if j.via != "" {
		name = opJoinRemote
	}
	return w.try(ctx, name, func() error { return j.who.Join(ctx, j.to.id, j.via) })
}
