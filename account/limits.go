package account

import (
	"net/netip"
	"sync"
	"time"

	"beffroi/matrix"
)

// limits bounds how often somebody may try a secret. The counters are of this
// process: on several nodes an attacker has as many times the attempts.
type limits struct {
	mu      sync.Mutex
	buckets map[string]time.Time // guarded by mu; when the bucket will be empty again
}

// maxBuckets bounds the memory of the counters. Beyond it those go first that
// are empty, and then any: a limit that is forgotten is one attempt more.
const maxBuckets = 100_000

func newLimits() *limits { return &limits{buckets: map[string]time.Time{}} }

// rate is how often a thing may be done: burst times at once, then once every
// interval.
type rate struct {
	burst    int
	interval time.Duration
}

// The rates of attempts at a password.
var (
	ratePair    = rate{5, 12 * time.Second}         // one account from one network
	rateAccount = rate{50, 12 * time.Second}        // one account from anywhere
	rateNetwork = rate{100, 500 * time.Millisecond} // any account from one network
)

// attempt is one use of some limits.
type attempt struct {
	l    *limits
	keys []string
	took []time.Duration
}

// password counts an attempt at the password of an account, or returns
// M_LIMIT_EXCEEDED. The attempt is given back if it was right.
func (l *limits) password(now time.Time, account, source string) (*attempt, error) {
	a := &attempt{l: l}
	if l == nil {
		return a, nil
	}
	network := prefix(source)
	for _, use := range []struct {
		key string
		rate
	}{
		{"p\x00" + account + "\x00" + network, ratePair},
		{"a\x00" + account, rateAccount},
		{"n\x00" + network, rateNetwork},
	} {
		if wait := l.take(now, use.key, use.rate); wait > 0 {
			a.giveBack()
			return nil, matrix.LimitExceeded(wait)
		}
		a.keys, a.took = append(a.keys, use.key), append(a.took, use.interval)
	}
	return a, nil
}

// take counts one use, or returns how long to wait.
func (l *limits) take(now time.Time, key string, r rate) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	empty, known := l.buckets[key]
	if empty.Before(now) {
		empty = now
	}
	empty = empty.Add(r.interval)
	if over := empty.Sub(now) - time.Duration(r.burst)*r.interval; over > 0 {
		return over
	}
	if !known && len(l.buckets) >= maxBuckets {
		l.makeRoom(now)
	}
	l.buckets[key] = empty
	return 0
}

// makeRoom drops empty buckets, or a tenth of all. The caller holds mu.
func (l *limits) makeRoom(now time.Time) {
	for key, empty := range l.buckets {
		if empty.Before(now) {
			delete(l.buckets, key)
		}
	}
	for key := range l.buckets {
		if len(l.buckets) < maxBuckets*9/10 {
			return
		}
		delete(l.buckets, key)
	}
}

// giveBack undoes the use: who knows the password is not the one to slow down.
func (a *attempt) giveBack() {
	if a.l == nil {
		return
	}
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	for i, key := range a.keys {
		if empty, known := a.l.buckets[key]; known {
			a.l.buckets[key] = empty.Add(-a.took[i])
		}
	}
}

// prefix returns the network of an address: a /24 of IPv4, a /64 of IPv6. What
// is no address is its own network.
func prefix(source string) string {
	addr, err := netip.ParseAddr(source)
	if err != nil {
		return source
	}
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 24
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return source
	}
	return p.String()
}
