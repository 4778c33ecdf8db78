// Package bus carries hints between nodes: "the log has grown to here".
//
// A hint may be lost, repeated or late, because nothing is kept in it: a
// follower that misses one reads the log a moment later anyway. That is why
// one node needs no broker and many nodes need only a simple one.
package bus

import (
	"context"
	"sync"

	"beffroi/storage"
)

// Bus tells every node that the log has grown.
type Bus interface {
	Publish(head storage.Position)
	// Subscribe calls fn until ctx ends. fn must not block.
	Subscribe(ctx context.Context, fn func(head storage.Position))
}

// Local is the bus of a server that runs alone.
type Local struct {
	mu   sync.Mutex
	next int
	subs map[int]func(storage.Position) // guarded by mu
}

// Publish calls every subscriber before it returns.
func (b *Local) Publish(head storage.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fn := range b.subs {
		fn(head)
	}
}

// Subscribe registers fn until ctx ends.
func (b *Local) Subscribe(ctx context.Context, fn func(storage.Position)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = make(map[int]func(storage.Position))
	}
	id := b.next
	b.next++
	b.subs[id] = fn
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs, id)
	})
}

// Hints returns a channel on which something arrives after the log has grown.
// One hint is enough for many changes: it says only "look again".
func Hints(ctx context.Context, b Bus) <-chan struct{} {
	hint := make(chan struct{}, 1)
	b.Subscribe(ctx, func(storage.Position) {
		select {
		case hint <- struct{}{}:
		default:
		}
	})
	return hint
}
