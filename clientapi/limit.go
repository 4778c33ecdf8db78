package clientapi

import (
	"net/netip"
	"sync"
	"time"

	"beffroi/matrix"
	"beffroi/policy"
)

// rate is how often a thing may be done: burst times at once, then once every
// interval. The zero rate is no limit.
type rate struct {
	burst    int
	interval time.Duration
}

// limit is how often a user may do a thing, and everybody of a network
// together: a whole ministry may stand behind one address.
type limit struct{ user, network rate }

// What is no action of the policy, but a commit, or a secret to guess.
const (
	reporting policy.Action = 255 - iota
	tokens                  // to log in, and to name oneself to others
	guessing                // at registration tokens
	asking                  // what the policy would say
	mailing                 // to oneself
	placing                 // where an address belongs
)

// rates are the limits of what costs others something: a hash of a password, a
// commit, another server's time. What is not here is not limited.
var rates = map[policy.Action]limit{
	policy.ActionLogin:       {network: rate{100, 200 * time.Millisecond}},
	policy.ActionRegister:    {network: rate{50, time.Second}},
	policy.ActionSendMessage: {user: rate{200, 100 * time.Millisecond}, network: rate{5000, 5 * time.Millisecond}},
	policy.ActionSendState:   {user: rate{200, 100 * time.Millisecond}, network: rate{5000, 5 * time.Millisecond}},
	policy.ActionCreateRoom:  {user: rate{30, 5 * time.Second}, network: rate{1000, 50 * time.Millisecond}},
	policy.ActionJoin:        {user: rate{60, time.Second}, network: rate{2000, 20 * time.Millisecond}},
	policy.ActionKnock:       {user: rate{60, time.Second}, network: rate{2000, 20 * time.Millisecond}},
	policy.ActionInvite:      {user: rate{100, 500 * time.Millisecond}, network: rate{2000, 20 * time.Millisecond}},
	policy.ActionUploadMedia: {user: rate{100, 500 * time.Millisecond}, network: rate{2000, 20 * time.Millisecond}},
	policy.ActionReadMedia:   {user: rate{1000, 20 * time.Millisecond}, network: rate{20000, time.Millisecond}},
	reporting:                {user: rate{20, 10 * time.Second}, network: rate{500, 100 * time.Millisecond}},
	tokens:                   {user: rate{20, 3 * time.Second}, network: rate{500, 20 * time.Millisecond}},
	asking:                   {user: rate{200, 100 * time.Millisecond}, network: rate{5000, 5 * time.Millisecond}},
	guessing:                 {network: rate{10, 6 * time.Second}},
	mailing:                  {user: rate{5, time.Minute}, network: rate{100, time.Second}},
	placing:                  {network: rate{30, 2 * time.Second}},
	policy.ActionReadProfile: {user: rate{500, 50 * time.Millisecond}, network: rate{5000, 5 * time.Millisecond}},
}

// limits counts what was done. The counters are of this process.
type limits struct {
	mu      sync.Mutex
	buckets map[bucket]time.Time // guarded by mu; when the bucket will be empty again
}

type bucket struct {
	action policy.Action
	key    string // a user ID or a network
}

// maxBuckets bounds the memory of the counters. Beyond it those go first that
// are empty, and then any: a limit that is forgotten lets a few more through.
const maxBuckets = 100_000

func newLimits() *limits { return &limits{buckets: map[bucket]time.Time{}} }

// take counts one use of an action, or returns M_LIMIT_EXCEEDED. What is
// refused counts for nobody. No limits at all are a nil *limits.
//
// https://spec.matrix.org/v1.19/client-server-api/#rate-limiting
func (l *limits) take(now time.Time, action policy.Action, who *caller) error {
	rule, limited := rates[action]
	if l == nil || !limited {
		return nil
	}
	uses := []struct {
		key string
		rate
	}{{string(who.User), rule.user}, {network(who.addr), rule.network}}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, use := range uses {
		if wait := l.over(now, bucket{action, use.key}, use.rate); wait > 0 {
			return matrix.LimitExceeded(wait)
		}
	}
	for _, use := range uses {
		l.count(now, bucket{action, use.key}, use.rate)
	}
	return nil
}

// over returns how long to wait until a bucket takes one more, 0 if it does
// now. The caller holds mu.
func (l *limits) over(now time.Time, b bucket, r rate) time.Duration {
	if b.key == "" || r.burst == 0 {
		return 0
	}
	empty := l.buckets[b]
	if empty.Before(now) {
		empty = now
	}
	return max(0, empty.Add(r.interval).Sub(now)-time.Duration(r.burst)*r.interval)
}

// count puts one into a bucket. The caller holds mu.
func (l *limits) count(now time.Time, b bucket, r rate) {
	if b.key == "" || r.burst == 0 {
		return
	}
	empty, known := l.buckets[b]
	if empty.Before(now) {
		empty = now
	}
	if !known && len(l.buckets) >= maxBuckets {
		l.makeRoom(now)
	}
	l.buckets[b] = empty.Add(r.interval)
}

// makeRoom drops empty buckets, or a tenth of all. The caller holds mu.
func (l *limits) makeRoom(now time.Time) {
	for b, empty := range l.buckets {
		if empty.Before(now) {
			delete(l.buckets, b)
		}
	}
	for b := range l.buckets {
		if len(l.buckets) < maxBuckets*9/10 {
			return
		}
		delete(l.buckets, b)
	}
}

// network returns the network of an address: a /24 of IPv4, a /64 of IPv6, ""
// for what is no address.
func network(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return ""
	}
	ip = ip.Unmap()
	bits := 64
	if ip.Is4() {
		bits = 24
	}
	p, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}
