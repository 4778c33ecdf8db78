package scenario

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"time"

	"beffroi/cmd/matrixload/internal/measure"
	"beffroi/cmd/matrixload/internal/pace"
)

const (
	// maxExpected bounds the messages that are looked out for at a time. The
	// oldest are given up for those that come.
	maxExpected = 500_000
	// maxDigits bounds the number in a mark, which anybody could have sent.
	maxDigits = 19
)

// tracker knows which messages are on their way to whom.
type tracker struct {
	prefix   []byte        // of every mark of this run
	patience time.Duration // how long a message may take to those who wait for it

	mu       sync.Mutex
	recorder *measure.Recorder
	expected map[int64]*message
	queue    []*message // the oldest first
	missing  int        // deliveries that did not happen yet
}

// message is one that some listeners have not seen.
type message struct {
	n      int64
	due    time.Time
	sent   time.Time
	from   *user
	wanted int
	seen   map[int]bool // by index of the listener
}

// missed is a delivery that went wrong.
type missed string

// Error returns what went wrong.
func (m missed) Error() string { return string(m) }

// Kind returns the same.
func (m missed) Kind() string { return string(m) }

func newTracker(run string, patience time.Duration) *tracker {
	return &tracker{patience: patience, prefix: []byte("mxload." + run + "."), expected: make(map[int64]*message)}
}

// mark returns the text by which a message is known.
func (t *tracker) mark(n int64) string { return string(t.prefix) + strconv.FormatInt(n, 10) + ". " }

// expect looks out for a message that is about to be sent.
func (t *tracker) expect(slot pace.Slot, from *user, to *room) {
	wanted := to.listening
	if from.listens {
		wanted--
	}
	if wanted <= 0 {
		return
	}
	m := &message{n: slot.N, due: slot.Due, sent: time.Now(), from: from, wanted: wanted, seen: make(map[int]bool, wanted)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) >= maxExpected {
		t.giveUp()
	}
	t.expected[m.n] = m
	t.queue = append(t.queue, m)
	t.missing += wanted
}

// forget stops looking out for a message that was not sent.
func (t *tracker) forget(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := t.expected[n]; m != nil {
		t.missing -= m.wanted - len(m.seen)
		m.wanted = 0
		delete(t.expected, n)
	}
}

// read looks through what a listener got.
func (t *tracker) read(raw []byte, reader *user) {
	for {
		at := bytes.Index(raw, t.prefix)
		if at < 0 {
			return
		}
		raw = raw[at+len(t.prefix):]
		end := bytes.IndexByte(raw[:min(len(raw), maxDigits+1)], '.')
		if end < 0 {
			continue
		}
		if n, err := strconv.ParseInt(string(raw[:end]), 10, 64); err == nil {
			t.arrived(n, reader)
		}
	}
}

// arrived records that a listener has a message.
func (t *tracker) arrived(n int64, reader *user) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.expected[n]
	if m == nil || m.from == reader {
		return
	}
	name := m.operation(reader)
	if m.seen[reader.index] {
		t.recorder.Done(name, m.due, 0, missed("delivered twice"))
		return
	}
	m.seen[reader.index] = true
	t.missing--
	t.recorder.Done(name, m.due, 0, nil)
}

func (m *message) operation(reader *user) string {
	if m.from.Server != reader.Server {
		return opDeliveryRemote
	}
	return opDelivery
}

// sweep gives up what was sent too long ago. What arrived is kept as long, to
// notice it if it arrives again.
func (t *tracker) sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.queue) > 0 && now.Sub(t.queue[0].sent) >= t.patience {
		t.giveUp()
	}
}

// giveUp counts what is missing of the oldest message. The caller holds mu.
func (t *tracker) giveUp() {
	m := t.queue[0]
	t.queue[0] = nil
	t.queue = t.queue[1:]
	delete(t.expected, m.n)
	for range m.wanted - len(m.seen) {
		t.missing--
		t.recorder.Done(opDelivery, m.due, 0, missed(fmt.Sprintf("not delivered in %v", t.patience)))
	}
}

// outstanding returns how many deliveries are missing.
func (t *tracker) outstanding() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.missing
}
