package scenario

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"beffroi/cmd/matrixload/internal/homeserver"
	"beffroi/cmd/matrixload/internal/measure"
	"beffroi/cmd/matrixload/internal/pace"
)

func servers(t *testing.T, n int) []*homeserver.Server {
	t.Helper()
	s, err := homeserver.Open("http://127.0.0.1:1", homeserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Repeat([]*homeserver.Server{s}, n)
}

func TestDefaultsAreInBounds(t *testing.T) {
	t.Parallel()
	for _, s := range All() {
		o, err := s.resolve(Options{Servers: servers(t, s.Servers)})
		if err != nil || o.Duration == 0 || o.Seed == 0 {
			t.Errorf("%s: %+v, %v", s.Name, o, err)
		}
		if ByName(s.Name) == nil {
			t.Errorf("%s is not found", s.Name)
		}
	}
	if ByName("another") != nil {
		t.Error("another scenario is found")
	}
}

func TestOptionsAreBounded(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		scenario string
		o        Options
		want     string
	}{
		"rate":        {"one-room", Options{Rate: maxRate + 1}, "the rate must be"},
		"no number":   {"one-room", Options{Rate: math.NaN()}, "the rate must be"},
		"negative":    {"one-room", Options{Rate: -2}, "the rate must be"},
		"workers":     {"one-room", Options{Workers: maxWorkers + 1}, "the workers must be"},
		"in flight":   {"one-room", Options{MaxInFlight: -1}, "the actions in flight must be"},
		"actions":     {"one-room", Options{Actions: maxActions + 1}, "the actions must be"},
		"duration":    {"one-room", Options{Duration: maxDuration + 1}, "the duration in seconds must be"},
		"warm-up":     {"one-room", Options{WarmUp: maxDuration + 1}, "the warm-up in seconds must be"},
		"set-up":      {"one-room", Options{SetUpLimit: time.Millisecond}, "the limit of the set-up"},
		"patience":    {"one-room", Options{Patience: maxPatience + 1}, "the patience in seconds must be"},
		"users":       {"one-room", Options{Users: maxUsers + 1}, "the users must be"},
		"rooms":       {"one-room", Options{Rooms: maxRooms + 1}, "the rooms must be"},
		"members":     {"one-room", Options{Members: 17}, "the members of a room must be between 1 and 16"},
		"joins":       {"one-room", Options{Users: 20_000, Members: 20_000, Rooms: 51}, "the joins must be"},
		"messages":    {"one-room", Options{Messages: maxMessages + 1}, "the messages in a room must be"},
		"listeners":   {"one-room", Options{Listeners: 17}, "the listeners must be"},
		"length":      {"one-room", Options{MessageBytes: maxMessageBytes + 1}, "the bytes of a message must be"},
		"one server":  {"federated", Options{Servers: servers(t, 1)}, "federated needs 2 servers and has 1"},
		"two servers": {"one-room", Options{Servers: servers(t, 2)}, "one-room needs 1 servers and has 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ByName(tc.scenario)
			if tc.o.Servers == nil {
				tc.o.Servers = servers(t, s.Servers)
			}
			if _, err := s.resolve(tc.o); err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want only %q", err, tc.want)
			}
		})
	}
}

func TestZeroIsTheDefaultAndNoneIsNothing(t *testing.T) {
	t.Parallel()
	s := ByName("mixed")
	o, err := s.resolve(Options{Servers: servers(t, 1), Users: 10, WarmUp: None})
	if err != nil || o.Listeners != 10 || o.Rate != 2 || o.Members != 10 || o.WarmUp != 0 {
		t.Errorf("got %+v, %v", o, err)
	}
	if o, err = s.resolve(Options{Servers: servers(t, 1), Listeners: None}); err != nil || o.Listeners != 0 || o.Rate != 40 {
		t.Errorf("got %+v, %v", o, err)
	}
}

// A fifth of the rooms have four fifths of the members.
func TestSizesOfRooms(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ rooms, mean, users int }{
		"default": {50, 20, 200}, "few rooms": {5, 10, 100}, "one room": {1, 5, 9}, "few users": {50, 3, 4}, "many": {2000, 20, 5000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := sizes(tc.rooms, tc.mean, tc.users)
			sum, large := 0, 0
			for i, size := range got {
				if size < 1 || size > tc.users {
					t.Errorf("room %d has %d members", i, size)
				}
				sum += size
				if i < tc.rooms/5 {
					large += size
				}
			}
			if len(got) != tc.rooms || got[0] != tc.users {
				t.Errorf("got %v", got)
			}
			if share := float64(large) / float64(sum); name == "default" && (share < 0.75 || share > 0.85) {
				t.Errorf("the large rooms have %.0f %% of the members", 100*share)
			}
		})
	}
}

func TestListenersAreQuietIfTheyCan(t *testing.T) {
	t.Parallel()
	a, b, c := &user{index: 0}, &user{index: 1, listens: true}, &user{index: 2}
	r := &room{members: []*user{a, b, c}, listening: 1}
	for n, want := range []*user{a, c, a, c} {
		if got := r.sender(int64(n)); got != want {
			t.Errorf("%d is sent by %d", n, got.index)
		}
	}
	all := &room{members: []*user{b, b}, listening: 2}
	if all.sender(3) != b {
		t.Error("nobody speaks")
	}
}

const patience = 10 * time.Second

func TestTracker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tr := newTracker("run", patience)
		tr.recorder = measure.NewRecorder(time.Now(), time.Minute)
		here, there := servers(t, 1)[0], servers(t, 1)[0]
		on := func(s *homeserver.Server, index int) *user {
			return &user{User: &homeserver.User{Server: s}, index: index, listens: true}
		}
		alice, bob, carol := on(here, 0), on(here, 1), on(there, 2)
		all := &room{members: []*user{alice, bob, carol}, listening: 3}
		quiet := &user{User: alice.User, index: 3}

		due := time.Now()
		<-time.After(time.Second) // it starts late, which counts
		tr.expect(pace.Slot{N: 7, Due: due}, alice, all)
		tr.expect(pace.Slot{N: 8, Due: due}, quiet, all)
		tr.expect(pace.Slot{N: 9, Due: due}, quiet, all)
		if n := tr.outstanding(); n != 2+3+3 {
			t.Errorf("%d are outstanding", n)
		}
		tr.read([]byte(`x"`+tr.mark(7)+`"`+tr.mark(8)+`mxload.run.`), bob)
		tr.read([]byte(tr.mark(7)), alice) // who sent it
		tr.read([]byte(tr.mark(7)), carol)
		for _, strange := range []string{tr.mark(1000), "mxload.run.7", "mxload.run.x.", "mxload.run.99999999999999999999999.", "mxload.other.7."} {
			tr.read([]byte(strange), carol)
		}
		tr.read([]byte(tr.mark(8)+tr.mark(8)), bob) // again, twice
		tr.forget(9)
		tr.forget(9)
		if n := tr.outstanding(); n != 2 {
			t.Errorf("%d are outstanding", n)
		}
		tr.sweep(time.Now().Add(patience - 1))
		if n := tr.outstanding(); n != 2 {
			t.Errorf("given up too early: %d are outstanding", n)
		}
		tr.sweep(time.Now().Add(patience))
		if n := tr.outstanding(); n != 0 || len(tr.queue) != 0 || len(tr.expected) != 0 {
			t.Errorf("%d are outstanding, %d are kept", n, len(tr.queue))
		}
		ops, err := tr.recorder.Operations(time.Second)
		if err != nil || len(ops) != 2 || ops[0].Name != opDelivery || ops[0].Count != 2 || ops[0].Failed != 4 ||
			ops[1].Name != opDeliveryRemote || ops[1].Count != 1 || math.Round(ops[1].Latency.P50) != 1000 {
			t.Errorf("got %+v, %v", ops, err)
		}
		var kinds []string
		for _, f := range tr.recorder.Failures() {
			kinds = append(kinds, f.Kind)
		}
		if !slices.Equal(kinds, []string{"delivered twice", "not delivered in 10s"}) {
			t.Errorf("got %v", kinds)
		}
	})
}

func TestExpectationsAreBounded(t *testing.T) {
	t.Parallel()
	tr := newTracker("run", patience)
	tr.recorder = measure.NewRecorder(time.Now(), time.Minute)
	to, from := &room{listening: 1}, &user{}
	for n := range int64(maxExpected + 10) {
		tr.expect(pace.Slot{N: n, Due: time.Now()}, from, to)
	}
	if len(tr.queue) != maxExpected || len(tr.expected) != maxExpected || tr.outstanding() != maxExpected {
		t.Errorf("%d are kept, %d outstanding", len(tr.queue), tr.outstanding())
	}
	if f := tr.recorder.Failures(); len(f) != 1 || f[0].Count != 10 {
		t.Errorf("got %+v", f)
	}
}

// The set-up waits when it is told to, and stops at what it cannot get over.
func TestSetUpObeysRateLimits(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	remote := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch asked.Add(1) {
		case 1:
			w.WriteHeader(http.StatusTooManyRequests)
			io.WriteString(w, `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1}`)
		case 2:
			io.WriteString(w, `{"user_id":"@a:one.example","access_token":"t"}`)
		default:
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"errcode":"M_FORBIDDEN","error":"no rooms for you"}`)
		}
	}))
	defer remote.Close()
	server, err := homeserver.Open(remote.URL, homeserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = ByName("one-room").Run(t.Context(), Options{Servers: []*homeserver.Server{server}, Users: 1}, func(Progress) {})
	if err == nil || !strings.Contains(err.Error(), "create: 403 M_FORBIDDEN: no rooms for you") ||
		!strings.Contains(err.Error(), "1 × register: 429 M_LIMIT_EXCEEDED") || asked.Load() != 3 {
		t.Errorf("after %d requests: %v", asked.Load(), err)
	}
}

func TestSetUpEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := ByName("one-room").Run(ctx, Options{Servers: servers(t, 1)}, func(Progress) {})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	before := map[string]float64{"process_cpu_seconds_total": 2, "process_resident_memory_bytes": 5, "a": 10}
	after := map[string]float64{"process_cpu_seconds_total": 3.5, "process_resident_memory_bytes": 7, "a": 12, "new": 4}
	p := grown(before, after, []string{"a", "new", "none"})
	if p.CPUSeconds != 1.5 || p.ResidentBytes != 7 || p.Counters["a"] != 2 || p.Counters["new"] != 4 || !slices.Equal(p.Missing, []string{"none"}) {
		t.Errorf("got %+v", p)
	}
}
