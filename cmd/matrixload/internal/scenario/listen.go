package scenario

import (
	"context"
	"sync"
	"time"

	"beffroi/cmd/matrixload/internal/homeserver"
)

const (
	// longPoll is how long a listener lets the server hold its request.
	longPoll = 30 * time.Second
	// afterFailure is how long a listener waits before it asks again.
	afterFailure = time.Second
	// listenerFilter asks for what clients ask for, and for as many messages as
	// a busy room has between two requests: what a server leaves out of a long
	// timeline would count as never delivered.
	listenerFilter = `{"room":{"timeline":{"limit":100},"state":{"lazy_load_members":true}}}`
)

// gather has every listener learn the state of its rooms, so that only news is
// measured.
func (w *world) gather(ctx context.Context) error {
	var listeners []*user
	for _, u := range w.users {
		if u.listens {
			listeners = append(listeners, u)
		}
	}
	return each(ctx, len(listeners), func(ctx context.Context, i int) error {
		u := listeners[i]
		return w.try(ctx, opFirstSync, func() (err error) {
			_, u.since, err = u.Sync(ctx, homeserver.Sync{Filter: listenerFilter})
			return err
		})
	})
}

// listen has the listeners wait for news until ctx ends. The function that it
// returns waits for them.
func (w *world) listen(ctx context.Context) (wait func()) {
	var listening sync.WaitGroup
	for _, u := range w.users {
		if u.listens {
			listening.Go(func() { w.follow(ctx, u) })
		}
	}
	listening.Go(func() { w.sweep(ctx) })
	return listening.Wait
}

// follow asks for what is new, over and over.
func (w *world) follow(ctx context.Context, u *user) {
	for ctx.Err() == nil {
		begun := time.Now()
		raw, next, err := u.Sync(ctx, homeserver.Sync{Since: u.since, Wait: longPoll, Filter: listenerFilter})
		if err != nil {
			w.recorder.Done(opSync, begun, 0, err)
			select {
			case <-ctx.Done():
			case <-time.After(afterFailure):
			}
			continue
		}
		w.recorder.Tally(opSync, len(raw))
		w.news.read(raw, u)
		u.since = next
	}
}

// sweep gives up what was not delivered.
func (w *world) sweep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			w.news.sweep(now)
		}
	}
}

// settle waits for what is on its way, for as long as a message may take.
func (w *world) settle(ctx context.Context) {
	last := time.Now().Add(w.Patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for w.news.outstanding() > 0 && time.Now().Before(last) {
		select {
		case <-ctx.Done():
			return // what is missing was not given its time
		case <-tick.C:
		}
	}
	w.news.sweep(last)
}
