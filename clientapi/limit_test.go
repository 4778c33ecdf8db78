package clientapi

import (
	"strconv"
	"testing"
	"time"

	"beffroi/account"
	"beffroi/matrix"
	"beffroi/policy"
)

func TestLimitsAreBounded(t *testing.T) {
	t.Parallel()
	l, now := newLimits(), time.Now()
	for i := range maxBuckets + 1000 {
		who := &caller{Session: account.Session{User: matrix.UserID("@" + strconv.Itoa(i) + ":x")}}
		if err := l.take(now, policy.ActionJoin, who); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.buckets) > maxBuckets {
		t.Errorf("%d buckets", len(l.buckets))
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"192.0.2.7": "192.0.2.0/24", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64", "::ffff:192.0.2.7": "192.0.2.0/24", "": "", "x": "",
	} {
		if got := network(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// TestRefusedCountsForNobody has one noisy account in a network: it must not
// use up what the network may do.
func TestRefusedCountsForNobody(t *testing.T) {
	t.Parallel()
	l, now := newLimits(), time.Now()
	noisy := &caller{Session: account.Session{User: "@noisy:x"}, addr: "192.0.2.1"}
	for range rates[policy.ActionJoin].network.burst * 2 {
		_ = l.take(now, policy.ActionJoin, noisy)
	}
	quiet := &caller{Session: account.Session{User: "@quiet:x"}, addr: "192.0.2.2"}
	if err := l.take(now, policy.ActionJoin, quiet); err != nil {
		t.Error(err)
	}
	var none *limits
	if err := none.take(now, policy.ActionJoin, noisy); err != nil {
		t.Error(err)
	}
}
