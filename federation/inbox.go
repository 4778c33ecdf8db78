package federation

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"beffroi/e2ee"
	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/peers"
)

const (
	// maxWaiting and maxOriginWaiting bound what one server may have waiting:
	// transactions and bytes. Beyond it the server is told to come back.
	maxWaiting       = 50
	maxOriginWaiting = 32 << 20
	// maxAllWaiting bounds the bytes of all servers, and so the memory.
	maxAllWaiting = 256 << 20
	// roundEvery is how often the inbox looks for transactions that it does
	// not know of, and forgets old ones.
	roundEvery = time.Minute
	// remembered is how long a transaction is known after it was worked
	// through: its server repeats it until it has had its answer.
	remembered = 48 * time.Hour
	// forgetStep is how many are forgotten in one commit.
	forgetStep = 1000
	// maxNames is how many waiting transactions one round looks at.
	maxNames = 10_000
)

// InboxOptions are what an [Inbox] works with.
type InboxOptions struct {
	Name    matrix.ServerName // of this server
	DB      *storage.DB
	Gate    Gate
	Rooms   *roomserver.Server
	Devices *e2ee.Server
	// Backoff is how long to wait before the next try of an event that could
	// not be handled, after a number of tries. nil means 1 s, doubled.
	Backoff func(tries int) time.Duration
	Now     func() time.Time      // nil means time.Now
	Logger  *slog.Logger          // nil: none
	Metrics prometheus.Registerer // nil: none
}

// Inbox keeps what other servers send and works it through: the events of one
// server in one room in their order, everything else side by side. A server
// whose events are slow to judge delays only itself.
//
// What was kept is worked through even if this process dies: a transaction is
// done only when the last of it is. Any node of a cluster may run one.
type Inbox struct {
	InboxOptions
	gate    gate
	kinds   map[string]eduKind
	metrics *metrics
	slots   chan struct{} // capacity: how many events are judged at once
	poke    chan struct{} // capacity 1: says only that ready may not be empty
	round   time.Duration

	mu      sync.Mutex
	bytes   int64                       // guarded by mu: of all that waits
	origins map[matrix.ServerName]*load // guarded by mu: those of which something waits
	waiting map[txnName]bool            // guarded by mu: what waits
	lanes   map[laneName]*lane          // guarded by mu: those with something in them
	ready   map[laneName]bool           // guarded by mu: lanes to be started
	seen    storage.Position            // of Run alone: the newest that waited when last looked at
}

// txnName is what makes a transaction one.
type txnName struct {
	origin matrix.ServerName
	id     string
}

// load is what waits of a server.
type load struct {
	transactions int
	bytes        int64
	slots        chan struct{} // capacity: how many of its events are judged at once
}

// arrived is a transaction that is kept and not worked through.
type arrived struct {
	name  txnName
	bytes int64
	left  int                // of its items; guarded by the inbox's mu
	dead  []peers.DeadLetter // guarded by the inbox's mu
}

// NewInbox returns an inbox; Run makes it work.
func NewInbox(o InboxOptions) *Inbox {
	if o.Gate == nil {
		panic("federation: an inbox needs a gate")
	}
	if o.Backoff == nil {
		o.Backoff = func(tries int) time.Duration { return time.Second << (tries - 1) }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Inbox{
		InboxOptions: o, gate: gate{o.Gate, o.Name}, metrics: newMetrics(o.Metrics), round: roundEvery,
		slots: make(chan struct{}, maxJudged), poke: make(chan struct{}, 1),
		origins: make(map[matrix.ServerName]*load), waiting: make(map[txnName]bool),
		lanes: make(map[laneName]*lane), ready: make(map[laneName]bool),
	}
	b.kinds = b.eduKinds()
	return b
}

// receive keeps a transaction. When it returns nil, all of it is durable: what
// is for devices in their queues, the rest as it came.
func (b *Inbox) receive(ctx context.Context, origin matrix.ServerName, txnID string, t *transaction, body []byte) error {
	known := false
	if err := b.DB.View(ctx, func(r *storage.Reader) (err error) {
		known, err = peers.Received(ctx, r, origin, txnID)
		return err
	}); err != nil || known {
		return err
	}
	a := &arrived{name: txnName{origin, txnID}, bytes: int64(len(body))}
	fresh, err := b.reserve(a)
	if err != nil {
		return err
	}
	if !fresh { // it is being kept at this moment: the answer must be the truth
		return matrix.LimitExceeded(time.Second)
	}
	// Messages to devices are for nobody to send again once we have answered.
	if err := b.receiveDurable(ctx, origin, t.EDUs); err != nil {
		b.release(a)
		return err
	}
	items := b.split(a, t)
	_, err = b.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
		if len(items) > 0 {
			fresh, err = peers.Receive(ctx, tx, origin, txnID, body, b.Now().UnixMilli())
			return err
		}
		if fresh, err = peers.Receive(ctx, tx, origin, txnID, nil, b.Now().UnixMilli()); err == nil {
			err = peers.Done(ctx, tx, origin, txnID)
		}
		return err
	})
	if err != nil || !fresh || len(items) == 0 {
		b.release(a)
		return err
	}
	b.queue(a, items)
	return nil
}

// reserve makes room for a transaction, or returns M_LIMIT_EXCEEDED. It
// reports false for one that is known already.
func (b *Inbox) reserve(a *arrived) (fresh bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting[a.name] {
		return false, nil
	}
	l := b.origins[a.name.origin]
	if l == nil {
		l = &load{slots: make(chan struct{}, maxJudgedOfOrigin)}
	}
	if l.transactions >= maxWaiting || l.bytes+a.bytes > maxOriginWaiting || b.bytes+a.bytes > maxAllWaiting {
		return false, matrix.LimitExceeded(2 * time.Second)
	}
	b.origins[a.name.origin] = l
	b.waiting[a.name] = true
	b.bytes += a.bytes
	l.transactions++
	l.bytes += a.bytes
	b.metrics.waiting.Inc()
	return true, nil
}

// release ends what reserve began.
func (b *Inbox) release(a *arrived) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.origins[a.name.origin]
	delete(b.waiting, a.name)
	b.bytes -= a.bytes
	l.bytes -= a.bytes
	if l.transactions--; l.transactions == 0 {
		delete(b.origins, a.name.origin)
	}
	b.metrics.waiting.Dec()
}

// Run works until ctx ends, and returns when every worker has stopped.
func (b *Inbox) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	tick := time.NewTicker(b.round)
	defer tick.Stop()
	b.adopt(ctx, true)
	for {
		b.start(ctx, &workers)
		select {
		case <-ctx.Done():
			return nil
		case <-b.poke:
		case <-tick.C:
			b.adopt(ctx, false)
			b.forget(ctx)
		}
	}
}

// adopt takes up transactions that wait in the database alone: from before a
// restart, and those of a node that is gone, which have waited for a whole
// round. What another node works on at the same time is only judged twice.
func (b *Inbox) adopt(ctx context.Context, all bool) {
	var names []peers.Inbound
	err := b.DB.View(ctx, func(r *storage.Reader) (err error) {
		names, err = peers.WaitingNames(ctx, r, maxNames)
		return err
	})
	seen := b.seen
	for _, in := range names {
		if b.seen = max(b.seen, in.Pos); err == nil && (all || in.Pos <= seen) {
			err = b.adoptOne(ctx, in)
		}
	}
	if err != nil && ctx.Err() == nil && !matrix.IsCode(err, "M_LIMIT_EXCEEDED") {
		b.Logger.WarnContext(ctx, "federation inbox not read; trying again", "error", err)
	}
}

func (b *Inbox) adoptOne(ctx context.Context, in peers.Inbound) error {
	b.mu.Lock()
	known := b.waiting[txnName{in.Origin, in.TxnID}]
	b.mu.Unlock()
	if known {
		return nil
	}
	var found []peers.Inbound
	if err := b.DB.View(ctx, func(r *storage.Reader) (err error) {
		found, err = peers.Waiting(ctx, r, in.Pos-1, 1, 1)
		return err
	}); err != nil || len(found) == 0 || found[0].Pos != in.Pos {
		return err // done in the meantime
	}
	a := &arrived{name: txnName{in.Origin, in.TxnID}, bytes: int64(len(found[0].Body))}
	fresh, err := b.reserve(a)
	if err != nil || !fresh {
		return err
	}
	var t transaction
	if err := httpx.Unmarshal(found[0].Body, &t); err != nil {
		b.Logger.ErrorContext(ctx, "kept transaction cannot be read", "origin", in.Origin, "error", err)
	}
	b.queue(a, b.split(a, &t))
	return nil
}

// forget drops what was worked through long ago.
func (b *Inbox) forget(ctx context.Context) {
	before := b.Now().Add(-remembered).UnixMilli()
	for dropped := int64(forgetStep); dropped == forgetStep; {
		_, err := b.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) (err error) {
			dropped, err = peers.Forget(ctx, tx, before, forgetStep)
			return err
		})
		if err != nil {
			return // the next round tries again
		}
	}
}

// finish notes that a transaction is worked through, and what was given up of
// it. A database that is away is waited for.
func (b *Inbox) finish(ctx context.Context, a *arrived) {
	for tries := 1; ; tries++ {
		_, err := b.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
			if len(a.dead) > 0 {
				if err := peers.AddDeadLetters(ctx, tx, a.dead); err != nil {
					return err
				}
			}
			return peers.Done(ctx, tx, a.name.origin, a.name.id)
		})
		if err == nil {
			b.release(a)
			return
		}
		if ctx.Err() != nil {
			return // it is worked through again, which changes nothing
		}
		b.Logger.WarnContext(ctx, "transaction not finished; trying again", "origin", a.name.origin, "error", err)
		b.pause(ctx, min(tries, maxTries))
	}
}

// pause waits before the next try, and reports false if ctx ended.
func (b *Inbox) pause(ctx context.Context, tries int) bool {
	timer := time.NewTimer(b.Backoff(tries))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
