package stateres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/matrix/stateres"
)

const (
	alice   = "@alice:a.example" // created the room
	bob     = "@bob:b.example"
	charlie = "@charlie:c.example"
	eve     = "@eve:e.example"
)

// story is a room that a test makes up event by event. It is the store.
type story struct {
	t       testing.TB
	version string
	rules   *matrix.VersionRules
	ts      int64
	events  map[matrix.EventID]*event.Event
	bad     map[matrix.EventID]bool // rejected
	loaded  int
	calls   int
}

func newStory(t testing.TB, version string) *story {
	t.Helper()
	rules, err := matrix.RoomVersion(version).Rules()
	if err != nil {
		t.Fatal(err)
	}
	s := &story{t: t, version: version, rules: rules, events: make(map[matrix.EventID]*event.Event), bad: make(map[matrix.EventID]bool)}
	s.add("$create", e{typ: "m.room.create", sender: alice, content: `{"creator":"` + alice + `"}`})
	return s
}

// Events implements stateres.Store.
func (s *story) Events(_ context.Context, ids []matrix.EventID) (map[matrix.EventID]*event.Event, error) {
	s.calls++
	out := make(map[matrix.EventID]*event.Event, len(ids))
	for _, id := range ids {
		if ev := s.events[id]; ev != nil {
			out[id] = ev
			s.loaded++
		}
	}
	return out, nil
}

// Rejected implements stateres.Store.
func (s *story) Rejected(id matrix.EventID) bool { return s.bad[id] }

// e is a state event of a story. What is left out gets a value that does not matter.
type e struct {
	typ, key, sender, content string
	auth                      []matrix.EventID // without the create event
	prev                      []matrix.EventID
	ts, depth                 int64
	room                      string
}

func member(sender, target, membership string, auth ...matrix.EventID) e {
	return e{typ: "m.room.member", key: target, sender: sender, content: `{"membership":"` + membership + `"}`, auth: auth}
}

func power(sender, users string, auth ...matrix.EventID) e {
	return e{typ: "m.room.power_levels", sender: sender, content: `{"users":{` + users + `}}`, auth: auth}
}

func joinRule(sender, rule string, auth ...matrix.EventID) e {
	return e{typ: "m.room.join_rules", sender: sender, content: `{"join_rule":"` + rule + `"}`, auth: auth}
}

func topic(sender string, auth ...matrix.EventID) e {
	return e{typ: "m.room.topic", sender: sender, content: `{"topic":"x"}`, auth: auth}
}

func (x e) at(ts int64) e                 { x.ts = ts; return x }
func (x e) deep(n int64) e                { x.depth = n; return x }
func (x e) after(ids ...matrix.EventID) e { x.prev = ids; return x }
func (x e) with(c string) e               { x.content = c; return x }

// add puts an event into the story and returns its ID.
func (s *story) add(id matrix.EventID, x e) matrix.EventID {
	s.t.Helper()
	if s.ts++; x.ts == 0 {
		x.ts = s.ts
	}
	if x.depth == 0 {
		x.depth = s.ts
	}
	pdu := map[string]any{
		"type": x.typ, "state_key": x.key, "sender": x.sender, "content": json.RawMessage(x.content), "depth": x.depth,
		"origin_server_ts": x.ts, "prev_events": s.refs(x.prev), "auth_events": s.refs(s.authOf(x)),
	}
	switch {
	case x.room != "":
		pdu["room_id"] = x.room
	case s.version != "12":
		pdu["room_id"] = "!room:a.example"
	case x.typ != "m.room.create":
		pdu["room_id"] = "!create"
	}
	raw, err := canonicaljson.Marshal(pdu)
	if err != nil {
		s.t.Fatal(err)
	}
	ev, err := event.ParseStored(raw, id, s.rules)
	if err != nil {
		s.t.Fatal(err)
	}
	s.events[id] = ev
	return id
}

// authOf are the auth events of x with the create event, where it belongs.
func (s *story) authOf(x e) []matrix.EventID {
	if x.typ == "m.room.create" || s.version == "12" {
		return x.auth
	}
	return append([]matrix.EventID{"$create"}, x.auth...)
}

// refs are references to events in the form of the version.
func (s *story) refs(ids []matrix.EventID) []any {
	out := make([]any, len(ids))
	for i, id := range ids {
		if out[i] = id; s.version == "1" || s.version == "2" {
			out[i] = []any{id, map[string]any{"sha256": "x"}}
		}
	}
	return out
}

// set is the state of these events. A later one takes the place of an earlier.
func (s *story) set(ids ...matrix.EventID) stateres.StateSet {
	s.t.Helper()
	out := make(stateres.StateSet)
	for _, id := range ids {
		ev := s.events[id]
		if ev == nil {
			s.t.Fatalf("there is no %s in the story", id)
		}
		out[ev.StateTuple()] = id
	}
	return out
}

// with is a state with more events.
func (s *story) with(set stateres.StateSet, ids ...matrix.EventID) stateres.StateSet {
	out := maps.Clone(set)
	maps.Copy(out, s.set(ids...))
	return out
}

// resolve resolves the states in every order of two and checks that they agree.
func (s *story) resolve(sets ...stateres.StateSet) stateres.StateSet {
	s.t.Helper()
	got, err := stateres.Resolve(s.t.Context(), s.rules, sets, s, stateres.Budget{})
	if err != nil {
		s.t.Fatal(err)
	}
	back := slices.Clone(sets)
	slices.Reverse(back)
	again, err := stateres.Resolve(s.t.Context(), s.rules, back, s, stateres.Budget{})
	if err != nil {
		s.t.Fatal(err)
	}
	if !maps.Equal(got, again) {
		s.t.Errorf("the order of the states matters: %v and %v", got, again)
	}
	if want := reference(s, sets); !maps.Equal(got, want) {
		s.t.Errorf("the definitions lead to another state: %v, not %v", want, got)
	}
	return got
}

// want checks one key of a state. "" means absent.
func (s *story) want(got stateres.StateSet, typ, key string, want matrix.EventID) {
	s.t.Helper()
	if id := got[event.StateTuple{Type: typ, StateKey: key}]; id != want {
		s.t.Errorf("version %s: %s %s is %q, want %q", s.version, typ, key, id, want)
	}
}

// founded is a story whose room has alice (100), bob (50) and charlie (0) in
// it and is open to everybody.
func founded(t testing.TB, version string) (*story, stateres.StateSet) {
	t.Helper()
	s := newStory(t, version)
	s.add("$alice", member(alice, alice, "join").after("$create"))
	users := `"` + bob + `":50`
	if version != "12" {
		users += `,"` + alice + `":100`
	}
	s.add("$power", power(alice, users, "$alice"))
	s.add("$rules", joinRule(alice, "public", "$power", "$alice"))
	s.add("$bob", member(bob, bob, "join", "$power", "$rules"))
	s.add("$charlie", member(charlie, charlie, "join", "$power", "$rules"))
	return s, s.set("$create", "$alice", "$power", "$rules", "$bob", "$charlie")
}

// users are the levels of founded, and more.
func (s *story) users(more string) string {
	if s.version == "12" {
		return more
	}
	return `"` + alice + `":100,` + more
}

// eachV2 runs a test in versions of both algorithms from 2 on.
func eachV2(t *testing.T, f func(t *testing.T, version string)) {
	t.Helper()
	for _, version := range []string{"2", "5", "11", "12"} {
		t.Run("version "+version, func(t *testing.T) {
			t.Parallel()
			f(t, version)
		})
	}
}

var errBroken = errors.New("the disk is gone")

// brokenStore fails on its nth call.
type brokenStore struct {
	*story
	left int
}

func (b *brokenStore) Events(ctx context.Context, ids []matrix.EventID) (map[matrix.EventID]*event.Event, error) {
	if b.left--; b.left < 0 {
		return nil, errBroken
	}
	return b.story.Events(ctx, ids)
}

// indexedStore answers questions about auth chains by itself.
type indexedStore struct {
	*story
	asked int
}

func (x *indexedStore) Reached(_ context.Context, from, targets []matrix.EventID) ([]matrix.EventID, error) {
	x.asked++
	chain := make(map[matrix.EventID]bool)
	for _, id := range from {
		maps.Copy(chain, authChain(x.story, id))
	}
	return slices.DeleteFunc(slices.Clone(targets), func(id matrix.EventID) bool { return !chain[id] }), nil
}

var _ stateres.ChainStore = (*indexedStore)(nil)

func id(format string, args ...any) matrix.EventID {
	return matrix.EventID(fmt.Sprintf(format, args...))
}

var _ eventauth.State = refState{}
