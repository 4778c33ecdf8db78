package sendqueue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"beffroi/bus"
	"beffroi/federation/client"
	"beffroi/federation/sendqueue"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/policy"
	"beffroi/storage"
)

// gate denies the servers named.
type gate struct {
	mu     sync.Mutex
	denied map[matrix.ServerName]bool // guarded by mu
	asked  int                        // guarded by mu: how often about a denied one
}

func (g *gate) Check(_ context.Context, req *policy.Request) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.denied[req.Server] {
		g.asked++
		return matrix.Forbidden("%s is not a partner", req.Server)
	}
	return nil
}

// eventLog is the log of a server without rooms. It outlives a restart.
type eventLog struct {
	mu     sync.Mutex
	events []sendqueue.Outgoing // guarded by mu
	pdus   map[int64]json.RawMessage
}

func (l *eventLog) OutgoingEvents(_ context.Context, after storage.Position, limit int) (sendqueue.Page, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	page := sendqueue.Page{UpTo: after}
	for _, e := range l.events {
		if e.Pos <= after {
			continue
		}
		if len(page.Events) == limit {
			page.More = true
			break
		}
		page.Events, page.UpTo = append(page.Events, e), e.Pos
	}
	return page, nil
}

func (l *eventLog) PDUs(_ context.Context, nids []int64) (map[int64]json.RawMessage, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[int64]json.RawMessage)
	for _, nid := range nids {
		if pdu, ok := l.pdus[nid]; ok {
			out[nid] = pdu
		}
	}
	return out, nil
}

// receiver is another server. It takes each transaction once, by its ID.
type receiver struct {
	name matrix.ServerName

	mu       sync.Mutex
	answer   func(w http.ResponseWriter, r *http.Request) bool // guarded by mu; false: instead of 200
	refuse   func(txn transaction) bool                        // guarded by mu; true: 400
	requests int                                               // guarded by mu
	bodies   map[string]string                                 // guarded by mu; by transaction ID
	order    []string                                          // guarded by mu: transaction IDs
	pdus     []int                                             // guarded by mu: what arrived, in order
	edus     []string                                          // guarded by mu
	sizes    [][2]int                                          // guarded by mu: of the transactions
	changed  chan struct{}                                     // guarded by mu; closed at the next request
}

func newReceiver(name matrix.ServerName) *receiver {
	return &receiver{name: name, bodies: make(map[string]string), changed: make(chan struct{})}
}

type transaction struct {
	PDUs []struct {
		N int `json:"n"`
	} `json:"pdus"`
	EDUs []struct {
		Type    string          `json:"edu_type"`
		Content json.RawMessage `json:"content"`
	} `json:"edus"`
}

func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var txn transaction
	if err := json.NewDecoder(r.Body).Decode(&txn); err != nil {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	rc.mu.Lock()
	rc.requests++
	answer, refuse := rc.answer, rc.refuse
	close(rc.changed)
	rc.changed = make(chan struct{})
	rc.mu.Unlock()
	if answer != nil && !answer(w, r) {
		return
	}
	if refuse != nil && refuse(txn) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"errcode":"M_BAD_JSON","error":"not this"}`))
		return
	}
	rc.take(r.PathValue("txn"), txn)
	_, _ = w.Write([]byte(`{"pdus":{}}`))
}

// take works a transaction through, unless it has been.
func (rc *receiver) take(id string, txn transaction) {
	raw, _ := json.Marshal(txn)
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if _, again := rc.bodies[id]; again {
		return
	}
	rc.bodies[id] = string(raw)
	rc.order = append(rc.order, id)
	rc.sizes = append(rc.sizes, [2]int{len(txn.PDUs), len(txn.EDUs)})
	for _, pdu := range txn.PDUs {
		rc.pdus = append(rc.pdus, pdu.N)
	}
	for _, edu := range txn.EDUs {
		rc.edus = append(rc.edus, string(edu.Content))
	}
	close(rc.changed)
	rc.changed = make(chan struct{})
}

func (rc *receiver) respond(answer func(http.ResponseWriter, *http.Request) bool) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.answer = answer
}

// down is what a server answers that is overloaded.
func down(w http.ResponseWriter, _ *http.Request) bool {
	http.Error(w, "{}", http.StatusServiceUnavailable)
	return false
}

// wait returns when cond holds of the receiver.
func (rc *receiver) wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		rc.mu.Lock()
		ok, changed := cond(), rc.changed
		rc.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			rc.mu.Lock()
			defer rc.mu.Unlock()
			t.Fatalf("%s: %s does not come; %d requests, %d PDUs, %d EDUs", rc.name, what, rc.requests, len(rc.pdus), len(rc.edus))
		}
	}
}

// world is a server with a queue, and those it sends to.
type world struct {
	dsn       string
	ca        *testkit.CA
	hosts     map[matrix.ServerName]string
	log       *eventLog
	gate      *gate
	backoff   func(int) time.Duration
	timeout   time.Duration
	db        *storage.DB
	bus       *bus.Local
	queue     *sendqueue.Queue
	stopQueue func()
}

// eachEngine runs fn in a world of its own on each engine.
func eachEngine(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	for _, engine := range testkit.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			fn(t, &world{
				dsn: testkit.DSN(t, engine), ca: testkit.NewCA(t), hosts: make(map[matrix.ServerName]string),
				log: &eventLog{pdus: make(map[int64]json.RawMessage)}, gate: &gate{denied: make(map[matrix.ServerName]bool)},
				backoff: func(int) time.Duration { return 5 * time.Millisecond }, timeout: 10 * time.Second,
			})
		})
	}
}

func (w *world) receiver(t *testing.T, name matrix.ServerName) *receiver {
	t.Helper()
	rc := newReceiver(name)
	mux := http.NewServeMux()
	mux.Handle("PUT /_matrix/federation/v1/send/{txn}", rc)
	w.hosts[name] = w.ca.Serve(t, mux, string(name)).Listener.Addr().String()
	return rc
}

// start opens the database and runs the queue.
func (w *world) start(t *testing.T) {
	t.Helper()
	var err error
	if w.db, err = storage.Open(t.Context(), w.dsn); err != nil {
		t.Fatal(err)
	}
	w.bus = new(bus.Local)
	w.db.OnCommit(w.bus.Publish)
	key, err := signing.NewKey("self.example", "1")
	if err != nil {
		t.Fatal(err)
	}
	sender := client.New(client.Options{
		Name: "self.example", Key: key, Gate: w.gate, RootCAs: w.ca.Pool(), Resolver: w.hosts, Timeout: w.timeout,
	})
	w.queue = sendqueue.New(sendqueue.Options{
		Name: "self.example", DB: w.db, Bus: w.bus, Log: w.log, Sender: sender, Backoff: w.backoff,
	})
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- w.queue.Run(ctx) }()
	w.stopQueue = sync.OnceFunc(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("Run: %v", err)
		}
		sender.Close()
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { w.stopQueue() })
}

// restart is an end and a new beginning of the process.
func (w *world) restart(t *testing.T) {
	t.Helper()
	w.stopQueue()
	w.start(t)
}

// say writes n events for servers into the log.
func (w *world) say(t *testing.T, n int, to ...matrix.ServerName) {
	t.Helper()
	for range n {
		var pos storage.Position
		_, err := w.db.Append(t.Context(), func(_ context.Context, tx *storage.Tx) error {
			pos = tx.Next()
			w.log.mu.Lock()
			defer w.log.mu.Unlock()
			nid := int64(len(w.log.events))
			w.log.pdus[nid] = json.RawMessage(fmt.Sprintf(`{"n":%d}`, nid))
			w.log.events = append(w.log.events, sendqueue.Outgoing{Pos: pos, EventNID: nid, Destinations: to})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// inOrder reports whether the numbers are first, first+1, … last-1.
func inOrder(got []int, n int) bool {
	if len(got) != n {
		return false
	}
	for i, v := range got {
		if v != i {
			return false
		}
	}
	return true
}
