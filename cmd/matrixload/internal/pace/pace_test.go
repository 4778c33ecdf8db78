package pace

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// server takes a fixed time for each action and notes when they began.
type server struct {
	takes time.Duration
	mu    sync.Mutex
	late  []time.Duration // from when it was due to its start, by start
	dues  []time.Duration // from the begin of the run
	begin time.Time
}

func (s *server) do(ctx context.Context, slot Slot) {
	s.mu.Lock()
	s.late = append(s.late, time.Since(slot.Due))
	s.dues = append(s.dues, slot.Due.Sub(s.begin))
	s.mu.Unlock()
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
	}
}

func TestOpenDoesNotWaitForAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{takes: 10 * time.Second, begin: time.Now()}
		got := Open(t.Context(), Even(100), Limits{For: time.Second, MaxInFlight: 1000}, s.do)
		if got != (Count{Started: 100}) {
			t.Errorf("got %+v", got)
		}
		if took := time.Since(s.begin); took != 10*time.Second+990*time.Millisecond {
			t.Errorf("the run took %v and did not wait for its last action, or longer", took)
		}
		for i, due := range s.dues {
			if due != time.Duration(i)*10*time.Millisecond || s.late[i] != 0 {
				t.Fatalf("action %d was due at %v and %v late", i, due, s.late[i])
			}
		}
	})
}

// What waits because the server is slow keeps the time at which it was due.
func TestOpenCountsFromWhenItWasDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{takes: 200 * time.Millisecond, begin: time.Now()}
		got := Open(t.Context(), Even(10), Limits{For: time.Second, MaxInFlight: 1}, s.do)
		// One at a time is 5 a second: they start at 0, 0.2 … 0.8 s, the last of
		// the ten that are due cannot start.
		if got != (Count{Started: 5, Shed: 5}) {
			t.Errorf("got %+v", got)
		}
		for i, late := range s.late {
			if want := time.Duration(i) * 100 * time.Millisecond; late != want || s.dues[i] != want {
				t.Errorf("action %d was due at %v and started %v late, want %v", i, s.dues[i], late, want)
			}
		}
	})
}

func TestOpenEnds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		limits Limits
		cancel time.Duration
		want   Count
	}{
		"in time":        {Limits{For: time.Second, MaxInFlight: 9}, time.Hour, Count{Started: 10}},
		"in count":       {Limits{For: time.Hour, Actions: 7, MaxInFlight: 9}, time.Hour, Count{Started: 7}},
		"when told":      {Limits{For: time.Hour, MaxInFlight: 9}, 350 * time.Millisecond, Count{Started: 4}},
		"told when busy": {Limits{For: time.Hour, MaxInFlight: 2}, 350 * time.Millisecond, Count{Started: 2}},
		"shed to count":  {Limits{For: time.Second, Actions: 4, MaxInFlight: 1}, time.Hour, Count{Started: 1, Shed: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tc.cancel)
				defer cancel()
				s := &server{takes: time.Minute, begin: time.Now()}
				if name == "in time" || name == "in count" {
					s.takes = time.Millisecond
				}
				if got := Open(ctx, Even(10), tc.limits, s.do); got != tc.want {
					t.Errorf("got %+v, want %+v", got, tc.want)
				}
			})
		})
	}
}

func TestClosedKeepsAllBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{takes: 100 * time.Millisecond, begin: time.Now()}
		got := Closed(t.Context(), Limits{For: time.Second, MaxInFlight: 4}, s.do)
		if got != (Count{Started: 40}) || time.Since(s.begin) != time.Second {
			t.Errorf("got %+v in %v", got, time.Since(s.begin))
		}
	})
}

func TestClosedNumbersEachActionOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen [25]atomic.Int64
		got := Closed(t.Context(), Limits{For: time.Hour, Actions: 25, MaxInFlight: 4}, func(_ context.Context, slot Slot) {
			seen[slot.N].Add(1)
		})
		if got != (Count{Started: 25}) {
			t.Errorf("got %+v", got)
		}
		for n := range seen {
			if seen[n].Load() != 1 {
				t.Errorf("action %d was done %d times", n, seen[n].Load())
			}
		}
	})
}

func TestGapsKeepTheRate(t *testing.T) {
	t.Parallel()
	for name, gaps := range map[string]Gaps{
		"even":   Even(1234.5),
		"random": Random(1234.5, rand.New(rand.NewPCG(1, 2))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sum time.Duration
			const n = 1_000_000
			for range n {
				sum += gaps()
			}
			tolerance := 0.005 // five times the deviation of a random sum
			if name == "even" {
				tolerance = 1e-9
			}
			if rate := n / sum.Seconds(); rate < 1234.5*(1-tolerance) || rate > 1234.5*(1+tolerance) {
				t.Errorf("%v actions a second", rate)
			}
		})
	}
}
