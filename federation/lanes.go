package federation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"beffroi/matrix"
	"beffroi/storage/peers"
)

const (
	// maxJudged is how many events are judged at once, and maxJudgedOfOrigin
	// how many of one server: most of the time they wait for other servers.
	maxJudged         = 32
	maxJudgedOfOrigin = 8
	// maxTries is how often an event is tried that could not be handled. With
	// the pauses between that is a quarter of a minute, and the time that
	// other servers take.
	maxTries = 5
	// tryTimeout bounds one try: a gap in the history is asked for in several
	// requests.
	tryTimeout = 2 * time.Minute
	// maxReason bounds why an event was given up.
	maxReason = 500
)

// laneName names what is worked through in order: the events of a server in a
// room, or ("" for the room) its other messages.
type laneName struct {
	origin matrix.ServerName
	room   matrix.RoomID
}

// lane is a queue with at most one worker.
type lane struct {
	queue   []item
	running bool
	// impatient says that the last event was given up: the next ones have one
	// try each, so that a server that does not answer holds up its own events
	// once and not each time. Of the worker alone.
	impatient bool
}

// item is an event, or a message that is none.
type item struct {
	of  *arrived
	pdu json.RawMessage // nil for an EDU
	edu edu
}

// split takes a transaction apart. What is malformed is left out.
func (b *Inbox) split(a *arrived, t *transaction) map[laneName][]item {
	lanes := make(map[laneName][]item)
	add := func(room matrix.RoomID, it item) {
		name := laneName{a.name.origin, room}
		lanes[name] = append(lanes[name], it)
		a.left++
	}
	for _, pdu := range t.PDUs[:min(len(t.PDUs), maxPDUs)] {
		room, err := roomOf(pdu)
		if err != nil {
			b.metrics.pdus.WithLabelValues(outcomeRefused).Inc()
			continue
		}
		add(room, item{of: a, pdu: pdu})
	}
	for _, raw := range t.EDUs[:min(len(t.EDUs), maxEDUs)] {
		e, err := parseEDU(raw)
		kind, known := b.kinds[e.typ]
		switch {
		case err != nil || !known:
			b.metrics.edus.WithLabelValues("other", outcomeRefused).Inc()
		case !kind.durable:
			add("", item{of: a, edu: e})
		}
	}
	return lanes
}

// queue puts the parts of a transaction that is kept into their lanes.
func (b *Inbox) queue(a *arrived, lanes map[laneName][]item) {
	b.mu.Lock()
	if len(lanes) == 0 {
		lanes[laneName{a.name.origin, ""}] = []item{{of: a}} // it has only to be finished
		a.left = 1
	}
	for name, items := range lanes {
		l := b.lanes[name]
		if l == nil {
			l = new(lane)
			b.lanes[name] = l
		}
		l.queue = append(l.queue, items...)
		if !l.running {
			b.ready[name] = true
		}
	}
	b.mu.Unlock()
	select {
	case b.poke <- struct{}{}:
	default:
	}
}

// start gives every lane that has got something a worker.
func (b *Inbox) start(ctx context.Context, workers *sync.WaitGroup) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name := range b.ready {
		l := b.lanes[name]
		if l == nil || l.running {
			continue
		}
		l.running = true
		workers.Go(func() { b.work(ctx, name, l) })
	}
	clear(b.ready)
}

// work empties a lane. What it has not begun when ctx ends stays in it, and in
// the database.
func (b *Inbox) work(ctx context.Context, name laneName, l *lane) {
	for {
		b.workMany(ctx, name, l)
		it, slots, ok := b.next(ctx, name, l)
		if !ok {
			return
		}
		var dead *peers.DeadLetter
		if it.pdu != nil {
			dead = b.judge(ctx, name, l, slots, it)
		} else if it.edu.typ != "" {
			b.receivePassing(ctx, name.origin, it.edu)
		}
		if ctx.Err() != nil {
			b.suspend(name, l, it) // it may not have been handled
			return
		}
		if b.done(it.of, dead) {
			b.finish(ctx, it.of)
		}
	}
}

// workMany gives the events that wait in a lane to their room together, as
// long as that stores any.
func (b *Inbox) workMany(ctx context.Context, name laneName, l *lane) {
	for {
		items, slots := b.peek(ctx, name, l)
		if len(items) == 0 {
			return
		}
		pdus := make([][]byte, len(items))
		for i, it := range items {
			pdus[i] = it.pdu
		}
		n := 0
		err := b.inSlot(ctx, name, slots, func(ctx context.Context) (err error) {
			n, err = b.Rooms.ReceivePDUs(ctx, name.origin, name.room, pdus)
			return err
		})
		if err != nil || n == 0 {
			return // one by one
		}
		b.mu.Lock()
		clear(l.queue[:n])
		l.queue = l.queue[n:]
		b.mu.Unlock()
		l.impatient = false
		b.metrics.pdus.WithLabelValues(outcomeOK).Add(float64(n))
		for _, it := range items[:n] {
			if b.done(it.of, nil) {
				b.finish(ctx, it.of)
			}
		}
	}
}

// peek returns the first items of a lane of a room, which stay in it.
func (b *Inbox) peek(ctx context.Context, name laneName, l *lane) ([]item, chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if name.room == "" || len(l.queue) == 0 || ctx.Err() != nil {
		return nil, nil
	}
	items := slices.Clone(l.queue[:min(len(l.queue), maxPDUs)])
	for i, it := range items {
		if it.pdu == nil {
			items = items[:i]
			break
		}
	}
	return items, b.origins[name.origin].slots
}

// next takes the first item of a lane, or ends it.
func (b *Inbox) next(ctx context.Context, name laneName, l *lane) (it item, slots chan struct{}, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(l.queue) == 0:
		delete(b.lanes, name)
		return item{}, nil, false
	case ctx.Err() != nil:
		l.running, b.ready[name] = false, true
		return item{}, nil, false
	}
	it = l.queue[0]
	l.queue[0] = item{}
	l.queue = l.queue[1:]
	return it, b.origins[name.origin].slots, true
}

// suspend ends the worker of a lane that a later Run takes up.
func (b *Inbox) suspend(name laneName, l *lane, it item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.queue = append([]item{it}, l.queue...)
	l.running, b.ready[name] = false, true
}

// done counts an item as handled and reports whether it was the last of its
// transaction.
func (b *Inbox) done(a *arrived, dead *peers.DeadLetter) (last bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if dead != nil {
		a.dead = append(a.dead, *dead)
	}
	a.left--
	return a.left == 0
}

// judge gives an event to its room, again where the fault is ours or that of
// a server that does not answer. An event that is given up is returned.
func (b *Inbox) judge(ctx context.Context, name laneName, l *lane, slots chan struct{}, it item) *peers.DeadLetter {
	tries := maxTries
	if l.impatient {
		tries = 1
	}
	var err error
	for n := 1; ; n++ {
		err = b.try(ctx, name, slots, it.pdu)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil || !mayPass(err) || n >= tries {
			break
		}
		if !b.pause(ctx, n) {
			return nil
		}
	}
	l.impatient = err != nil && mayPass(err)
	log := b.Logger.With("origin", name.origin, "room_id", name.room)
	switch {
	case err == nil:
		b.metrics.pdus.WithLabelValues(outcomeOK).Inc()
		return nil
	case matrix.Answer(err).Status < http.StatusInternalServerError: // also of a room that is still unknown
		b.metrics.pdus.WithLabelValues(outcomeRefused).Inc()
		log.DebugContext(ctx, "event refused", "error", err)
		return nil
	}
	b.metrics.pdus.WithLabelValues(outcomeDead).Inc()
	log.WarnContext(ctx, "event given up", "error", err)
	reason := err.Error()
	return &peers.DeadLetter{Origin: name.origin, TxnID: it.of.name.id, Room: name.room,
		Reason: reason[:min(len(reason), maxReason)], At: b.Now().UnixMilli(), Body: it.pdu}
}

// mayPass reports whether another try may go better. A room that is not known
// may be one that is being joined.
func mayPass(err error) bool {
	if _, broken := errors.AsType[*panicError](err); broken {
		return false
	}
	status := matrix.Answer(err).Status
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests || status == http.StatusNotFound
}

// panicError is a mistake of ours that an event has found. It must not find it
// again after each restart.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// try gives an event to its room once.
func (b *Inbox) try(ctx context.Context, name laneName, slots chan struct{}, pdu json.RawMessage) error {
	return b.inSlot(ctx, name, slots, func(ctx context.Context) error {
		return b.Rooms.ReceivePDU(ctx, name.origin, name.room, pdu)
	})
}

// inSlot runs what judges events when it is the turn of their server. A panic
// becomes an error.
func (b *Inbox) inSlot(ctx context.Context, name laneName, slots chan struct{}, fn func(ctx context.Context) error) (err error) {
	for _, slot := range []chan struct{}{slots, b.slots} {
		select {
		case slot <- struct{}{}:
			defer func() { <-slot }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() {
		if value := recover(); value != nil {
			b.Logger.ErrorContext(ctx, "event panicked", "origin", name.origin, "room_id", name.room,
				"panic", fmt.Sprint(value), "stack", string(debug.Stack()))
			err = &panicError{value}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return fn(ctx)
}
