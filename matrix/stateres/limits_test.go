package stateres_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/stateres"
)

// disputed is a story with two states that differ in a topic.
func disputed(t *testing.T, version string) (*story, []stateres.StateSet) {
	t.Helper()
	s, base := founded(t, version)
	s.add("$one", topic(alice, "$power", "$alice"))
	s.add("$two", topic(bob, "$power", "$bob"))
	return s, []stateres.StateSet{s.with(base, "$one"), s.with(base, "$two")}
}

func TestNoStoreIsAskedWithoutConflict(t *testing.T) {
	t.Parallel()
	for _, version := range matrix.RoomVersions() {
		s, base := founded(t, string(version))
		for name, sets := range map[string][]stateres.StateSet{
			"none": nil, "one": {base}, "three": {base, maps.Clone(base), base}, "empty": {{}, {}},
		} {
			got, err := stateres.Resolve(t.Context(), s.rules, sets, &brokenStore{story: s}, stateres.Budget{})
			if err != nil {
				t.Errorf("version %s, %s: %v", version, name, err)
			}
			if want := reference(s, append(sets, nil)[:max(len(sets), 1)]); !maps.Equal(got, want) {
				t.Errorf("version %s, %s: got %v, want %v", version, name, got, want)
			}
			if got != nil {
				got[event.StateTuple{Type: "m.mine"}] = "$x" // the result is the caller's
			}
		}
		if _, ok := base[event.StateTuple{Type: "m.mine"}]; ok {
			t.Errorf("version %s: the result is the state that was given", version)
		}
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1", "2", "12"} {
		s, sets := disputed(t, version)
		enough := 0
		for n := 1; n < 200 && enough == 0; n++ {
			_, err := stateres.Resolve(t.Context(), s.rules, sets, s, stateres.Budget{Events: n})
			switch spent, ok := errors.AsType[*stateres.BudgetError](err); {
			case err == nil:
				enough = n
			case !ok:
				t.Fatalf("version %s, budget %d: %v", version, n, err)
			case spent.Visited <= n || spent.Budget.Events != n || spent.Error() == "":
				t.Errorf("version %s, budget %d: %+v", version, n, spent)
			}
		}
		if enough < 2 {
			t.Errorf("version %s: %d events are enough", version, enough)
		}
	}
}

func TestTimeBudget(t *testing.T) {
	t.Parallel()
	s, sets := disputed(t, "11")
	for i := range 200 { // the clock is looked at now and then
		sets[0][event.StateTuple{Type: "m.x", StateKey: string(id("%d", i))}] = id("$x%d", i)
	}
	_, err := stateres.Resolve(t.Context(), s.rules, sets, s, stateres.Budget{Duration: time.Nanosecond})
	if spent, ok := errors.AsType[*stateres.BudgetError](err); !ok || spent.Elapsed < time.Nanosecond {
		t.Errorf("got %v", err)
	}
}

func TestStoreFails(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1", "2", "12"} {
		s, sets := disputed(t, version)
		s.add("$power2", power(alice, s.users(`"`+bob+`":49`), "$power", "$alice"))
		sets[1] = s.with(sets[1], "$power2")
		for n := 0; ; n++ {
			store := &brokenStore{story: s, left: n}
			if _, err := stateres.Resolve(t.Context(), s.rules, sets, store, stateres.Budget{}); err == nil {
				if n == 0 {
					t.Errorf("version %s: no question to the store", version)
				}
				break
			} else if !errors.Is(err, errBroken) {
				t.Errorf("version %s, call %d: %v", version, n, err)
			}
		}
	}
}

// TestStoreFailsLate has the store fail where only some rooms ask it.
func TestStoreFailsLate(t *testing.T) {
	t.Parallel()
	s, base := founded(t, "11")
	second := s.add("$power2", power(alice, s.users(`"`+bob+`":51`), "$power", "$alice"))
	third := s.add("$power3", power(alice, s.users(`"`+bob+`":52`), second, "$alice"))
	mine := s.add("$mine", member(eve, eve, "join", "$power", "$rules"))
	again := s.add("$again", member(eve, eve, "join", "$power", "$rules", mine))
	sets := []stateres.StateSet{s.with(base, third, mine), s.with(base, third, again), s.with(base, third)}
	calls := 0
	for n := 0; n < 50; n++ {
		store := &brokenStore{story: s, left: n}
		_, err := stateres.Resolve(t.Context(), s.rules, sets, store, stateres.Budget{})
		if err == nil {
			break
		}
		calls++
		if !errors.Is(err, errBroken) {
			t.Errorf("call %d: %v", n, err)
		}
	}
	if calls < 4 {
		t.Errorf("the store was asked %d times", calls)
	}
	failing := &failingIndex{indexedStore{story: s}}
	if _, err := stateres.Resolve(t.Context(), s.rules, sets, failing, stateres.Budget{}); !errors.Is(err, errBroken) {
		t.Errorf("with a broken index: %v", err)
	}
}

// failingIndex is a ChainStore whose index is gone.
type failingIndex struct{ indexedStore }

func (*failingIndex) Reached(context.Context, []matrix.EventID, []matrix.EventID) ([]matrix.EventID, error) {
	return nil, errBroken
}

func TestIndexSparesTheWalk(t *testing.T) {
	t.Parallel()
	s, base := founded(t, "11")
	mine := s.add("$mine", member(eve, eve, "join", "$power", "$rules"))
	again := s.add("$again", member(eve, eve, "join", "$power", "$rules", mine))
	for i := range 100 {
		user := string(id("@u%d:x.example", i))
		base = s.with(base, s.add(id("$u%d", i), member(user, user, "join", "$power", "$rules")))
	}
	sets := []stateres.StateSet{s.with(base, again), base}
	walked := s.resolve(sets...)
	s.loaded = 0
	x := &indexedStore{story: s}
	got, err := stateres.Resolve(t.Context(), s.rules, sets, x, stateres.Budget{})
	if err != nil || !maps.Equal(got, walked) {
		t.Errorf("got %v, %v", got, err)
	}
	if x.asked != 1 || s.loaded > 20 {
		t.Errorf("%d questions, %d events loaded", x.asked, s.loaded)
	}
}

func TestUnknownCreateEvent(t *testing.T) {
	t.Parallel()
	s, sets := disputed(t, "12")
	delete(s.events, "$create")
	if _, err := stateres.Resolve(t.Context(), s.rules, sets, s, stateres.Budget{}); err == nil {
		t.Error("a room whose create event nobody knows is resolved")
	}
	delete(s.events, "$one")
	delete(s.events, "$two")
	if _, err := stateres.Resolve(t.Context(), s.rules, sets, s, stateres.Budget{}); err != nil {
		t.Errorf("with nothing known of what is disputed: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	s, sets := disputed(t, "12")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := stateres.Resolve(ctx, s.rules, sets, s, stateres.Budget{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
