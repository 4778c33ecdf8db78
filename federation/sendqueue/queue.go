// Package sendqueue follows the log and brings events and other messages to
// the servers that shall have them.
//
// What waits is in the database: rows of an outbox, and for each destination
// the transaction under way. A row is dropped only after its server has
// answered 200, and a transaction that got no answer is repeated under its
// old ID, after a crash too, so that nothing is lost and nothing counts twice.
// Each destination has a worker of its own while something waits for it: one
// that is slow or away delays no other.
package sendqueue

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"beffroi/bus"
	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/peers"
)

const (
	// follower is the name of the cursor in the log.
	follower = "federation/sendqueue"
	// safetyTick bounds what a lost hint costs.
	safetyTick = time.Second
	// maxParallel is how many servers are sent to at once.
	maxParallel = 128
	// batch is how many events are read from the log at once.
	batch = 200
	// cursorStep is how far the cursor may lag behind when there was nothing to
	// send: writing it each time would cost a commit for each local message.
	cursorStep = 1000
)

// Outgoing is an event that this server has to send.
type Outgoing struct {
	Pos      storage.Position
	EventNID int64
	// Destinations are the servers with joined members right after the event,
	// and those that just left, were kicked or banned by it. Neither this
	// server nor the one that sent the event to us are among them.
	Destinations []matrix.ServerName
}

// Page is a stretch of the log.
type Page struct {
	Events []Outgoing // in the order of the log
	// UpTo says how far the log was looked through, also where nothing of it
	// has to be sent.
	UpTo storage.Position
	// More says that there is more after UpTo.
	More bool
}

// Log is what the queue needs of the room server's tables.
type Log interface {
	// OutgoingEvents returns the accepted events after a position that this
	// server has to send, at most limit: those of its own users, and those it
	// has let in for others (send_join, send_leave, send_knock).
	OutgoingEvents(ctx context.Context, after storage.Position, limit int) (Page, error)
	// PDUs returns events in their federation form. Those that are gone are
	// missing.
	PDUs(ctx context.Context, eventNIDs []int64) (map[int64]json.RawMessage, error)
}

// Sender speaks with other servers, as federation/client does.
type Sender interface {
	// Check asks the policy about a server. A refusal is an M_FORBIDDEN, and
	// recorded.
	Check(ctx context.Context, destination matrix.ServerName) error
	SendTransaction(ctx context.Context, destination matrix.ServerName, txnID string, pdus, edus []json.RawMessage) (map[matrix.EventID]string, error)
}

// Options are what a queue needs.
type Options struct {
	Name   matrix.ServerName // of this server
	DB     *storage.DB
	Bus    bus.Bus
	Log    Log
	Sender Sender
	// Backoff says how long to wait after a number of failures in a row; nil
	// means 1 s, doubled up to 1 h, give or take a quarter.
	Backoff func(failures int) time.Duration
	Logger  *slog.Logger          // nil: none
	Metrics prometheus.Registerer // nil: none
}

// Queue sends. One node of a cluster runs it.
type Queue struct {
	name    matrix.ServerName
	db      *storage.DB
	bus     bus.Bus
	log     Log
	sender  Sender
	backoff func(int) time.Duration
	logger  *slog.Logger
	metrics *metrics
	slots   chan struct{} // capacity: how many may send at once
	poke    chan struct{} // capacity 1: says only that ready may not be empty

	mu           sync.Mutex
	ready        map[matrix.ServerName]bool         // guarded by mu: have got something to send
	destinations map[matrix.ServerName]*destination // guarded by mu: those with a worker, or something in memory
}

// New returns a queue; Run makes it send.
func New(o Options) *Queue {
	q := &Queue{
		name: o.Name, db: o.DB, bus: o.Bus, log: o.Log, sender: o.Sender, backoff: o.Backoff,
		logger: o.Logger, metrics: newMetrics(o.Metrics),
		slots: make(chan struct{}, maxParallel), poke: make(chan struct{}, 1),
		ready: make(map[matrix.ServerName]bool), destinations: make(map[matrix.ServerName]*destination),
	}
	if q.backoff == nil {
		q.backoff = defaultBackoff
	}
	if q.logger == nil {
		q.logger = slog.New(slog.DiscardHandler)
	}
	return q
}

// Run sends until ctx ends, and returns when every worker has stopped. A
// database that is away is waited for.
func (q *Queue) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	hints := bus.Hints(ctx, q.bus)
	tick := time.NewTicker(safetyTick)
	defer tick.Stop()
	var at progress
	for {
		if err := q.follow(ctx, &at); err != nil && ctx.Err() == nil {
			q.logger.WarnContext(ctx, "federation queue cannot follow the log; trying again", "error", err)
		}
		q.start(ctx, &workers)
		select {
		case <-ctx.Done():
			return nil
		case <-hints:
		case <-q.poke:
		case <-tick.C:
		}
	}
}

// SendEDU queues a message that must arrive. An owner with a transaction of
// its own calls [peers.AddEDU] there instead; the queue finds it in the log.
func (q *Queue) SendEDU(ctx context.Context, destinations []matrix.ServerName, edu peers.EDU, key string) error {
	_, err := q.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return peers.AddEDU(ctx, tx, destinations, edu, key)
	})
	return err
}

// WakeUp says that a server is there, because it has just sent a request whose
// signature is good: what waits for it is sent now. It is cheap enough to be
// called for every request.
func (q *Queue) WakeUp(server matrix.ServerName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if d := q.destinations[server]; d != nil {
		select {
		case d.wakeUp <- struct{}{}:
		default:
		}
	}
}

// note keeps that servers have got something to send; the loop of Run does it
// before it looks at them.
func (q *Queue) note(servers []matrix.ServerName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range servers {
		q.ready[s] = true
	}
}

// wake is note for everybody else.
func (q *Queue) wake(servers ...matrix.ServerName) {
	q.note(servers)
	select {
	case q.poke <- struct{}{}:
	default:
	}
}

// start gives every server that has got something a worker.
func (q *Queue) start(ctx context.Context, workers *sync.WaitGroup) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name := range q.ready {
		d := q.destination(name)
		if d.running {
			d.again = true
			continue
		}
		d.running = true
		workers.Go(func() { q.work(ctx, name, d) })
	}
	clear(q.ready)
}

// destination returns the entry of a server. q.mu is held.
func (q *Queue) destination(name matrix.ServerName) *destination {
	d := q.destinations[name]
	if d == nil {
		d = &destination{wakeUp: make(chan struct{}, 1)}
		q.destinations[name] = d
	}
	return d
}

// Outbox queues messages in the transactions of owners that must not know this
// package.
type Outbox struct{}

// QueueEDU is [peers.AddEDU] for one server.
func (Outbox) QueueEDU(ctx context.Context, tx *storage.Tx, destination matrix.ServerName, typ string, content json.RawMessage, key string) error {
	return peers.AddEDU(ctx, tx, []matrix.ServerName{destination}, peers.EDU{Type: typ, Content: content}, key)
}
