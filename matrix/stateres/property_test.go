package stateres_test

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"beffroi/matrix"
	"beffroi/matrix/eventauth"
	"beffroi/matrix/stateres"
)

// testing.TB is sealed; a rapid.T fails a story through this.
type rapidTB struct {
	testing.TB
	r *rapid.T
}

func (t rapidTB) Fatal(args ...any)                 { t.r.Fatal(args...) }
func (t rapidTB) Fatalf(format string, args ...any) { t.r.Fatalf(format, args...) }
func (t rapidTB) Error(args ...any)                 { t.r.Error(args...) }
func (t rapidTB) Errorf(format string, args ...any) { t.r.Errorf(format, args...) }
func (t rapidTB) Helper()                           {}

// TestRandomRooms checks on rooms of all kinds that the result is that of the
// definitions, does not depend on the order of the states, is the state
// itself where the states are equal, and holds nothing that is not authorised.
func TestRandomRooms(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1", "2", "11", "12"} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(r *rapid.T) {
				w := newWorld(rapidTB{t, r}, version, 2+rapid.IntRange(0, 2).Draw(r, "servers"), func(n int) int {
					return rapid.IntRange(0, n-1).Draw(r, "pick")
				})
				w.check = true
				w.run(rapid.IntRange(5, 60).Draw(r, "steps"))
				checkProperties(w)
			})
		})
	}
}

// TestLargeRooms does the same on 8 servers: with 400 events, and when
// BEFFROI_SLOW is set with 2,000 in each of ten rooms, which takes minutes.
func TestLargeRooms(t *testing.T) {
	t.Parallel()
	rooms, events := 1, 400
	if os.Getenv("BEFFROI_SLOW") != "" {
		rooms, events = 10, 2000
	}
	for _, version := range []string{"1", "5", "12"} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			for seed := range rooms {
				random := rand.New(rand.NewPCG(uint64(seed), 1)) //nolint:gosec // a test wants the same every time
				w := newWorld(t, version, 8, random.IntN)
				w.grow(events)
				checkProperties(w)
				if len(w.events) != events {
					t.Errorf("seed %d: %d events", seed, len(w.events))
				}
			}
		})
	}
}

func checkProperties(w *world) {
	w.t.Helper()
	got := w.resolve(w.servers...) // compares with the definitions

	rotated := append(slices.Clone(w.servers[1:]), w.servers[0], w.servers[1]) // one of them twice
	if again := w.resolveFast(rotated); !maps.Equal(got, again) {
		w.t.Errorf("the order of the states matters: %v and %v", got, again)
	}
	same := []stateres.StateSet{w.servers[0], maps.Clone(w.servers[0]), w.servers[0]}
	if again := w.resolveFast(same); !maps.Equal(again, w.servers[0]) {
		w.t.Errorf("equal states %v become %v", w.servers[0], again)
	}
	indexed := &indexedStore{story: w.story}
	again, err := stateres.Resolve(w.t.Context(), w.rules, w.servers, indexed, stateres.Budget{})
	if err != nil || !maps.Equal(got, again) {
		w.t.Errorf("with an index of auth chains: %v and %v, %v", got, again, err)
	}
	w.checkAuthorised(got)
}

// checkAuthorised checks that what the states disagreed about became an event
// that somebody was allowed to send, and that a forged one becomes nothing.
func (w *world) checkAuthorised(got stateres.StateSet) {
	w.t.Helper()
	for tuple, id := range got {
		ev := w.events[id]
		if ev == nil || ev.StateTuple() != tuple {
			w.t.Fatalf("%v became %s, which is another thing", tuple, id)
		}
		create := w.events["$create"]
		if ev == create {
			continue
		}
		var auth eventauth.AuthEvents
		for _, a := range ev.AuthEvents() {
			auth = append(auth, w.events[a])
		}
		if err := eventauth.Check(ev, auth, create); err != nil {
			w.t.Errorf("%v became %s: %v", tuple, id, err)
		}
	}
	if w.version == "1" {
		return // the oldest of the disputed is not checked there
	}
	forged := maps.Clone(w.servers[0])
	w.forge(forged)
	w.forged(forged, "$forgedjoin", member("@mallory:m.example", "@mallory:m.example", "leave", "$power"))
	w.forged(forged, "$forgedban", member("@mallory:m.example", alice, "ban", "$power", "$alice"))
	after := w.resolve(append([]stateres.StateSet{forged}, w.servers[1:]...)...)
	for tuple, id := range after {
		if w.events[id].Sender() == "@mallory:m.example" {
			w.t.Errorf("%v became %s, which is forged", tuple, id)
		}
	}
	for _, id := range []matrix.EventID{"$forged", "$forgedjoin", "$forgedban"} {
		delete(w.events, id)
	}
}
