package adminapi

import (
	"net/netip"
	"sync"
	"time"

	"beffroi/matrix"
)

// rate is how often something may be done: burst times at once, then once
// every interval.
type rate struct {
	burst    int
	interval time.Duration
}

var (
	// tokenRate is for the holder of a token: a console, or a pipeline.
	tokenRate = rate{100, 100 * time.Millisecond}
	// strangerRate is for calls without a good token from one network.
	strangerRate = rate{20, time.Second}
)

// maxBuckets bounds the memory of the counters. Beyond it all are forgotten:
// that lets a few more calls through.
const maxBuckets = 10_000

// limits counts calls. The counters are of this process.
type limits struct {
	mu      sync.Mutex
	buckets map[string]bucket // guarded by mu
}

type bucket struct {
	empty time.Time // when nothing counts any more
	rate  rate
}

func newLimits() *limits { return &limits{buckets: make(map[string]bucket)} }

// check returns M_LIMIT_EXCEEDED if a key has been counted too often.
func (l *limits) check(now time.Time, key string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets[key]
	if !ok {
		return nil
	}
	if wait := b.empty.Sub(now) - time.Duration(b.rate.burst-1)*b.rate.interval; wait > 0 {
		return matrix.LimitExceeded(wait)
	}
	return nil
}

// count counts one call.
func (l *limits) count(now time.Time, key string, r rate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buckets) >= maxBuckets {
		clear(l.buckets)
	}
	b := l.buckets[key]
	if b.empty.Before(now) {
		b.empty = now
	}
	l.buckets[key] = bucket{b.empty.Add(r.interval), r}
}

// networkOf returns the network of an address: a /64 is one customer.
func networkOf(addr netip.Addr) string {
	if addr.Is6() && !addr.Is4In6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}
