package stateres_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/matrix/stateres"
)

// world is a room on several servers that do what chance tells them: send
// events that they believe to be allowed, hear from each other, and now and
// then get hold of an outdated piece of state.
type world struct {
	*story
	pick    func(n int) int // 0 to n-1
	servers []stateres.StateSet
	levels  map[matrix.EventID]map[string]int // what a power levels event says
	history map[event.StateTuple][]matrix.EventID
	people  []string
	n       int
	check   bool // compare every merge with the reference
}

func newWorld(t testing.TB, version string, servers int, pick func(int) int) *world {
	s, base := founded(t, version)
	w := &world{
		story: s, pick: pick, people: []string{alice, bob, charlie, eve, "@fay:f.example", "@gus:a.example"},
		levels:  map[matrix.EventID]map[string]int{"$power": {bob: 50, alice: 100}},
		history: make(map[event.StateTuple][]matrix.EventID),
	}
	if version == "12" {
		delete(w.levels["$power"], alice)
	}
	for range servers {
		w.servers = append(w.servers, maps.Clone(base))
	}
	return w
}

// stateOf shows a server's state to the authorisation rules.
type stateOf struct {
	s   *story
	set stateres.StateSet
}

func (v stateOf) Event(typ, key string) *event.Event {
	return v.s.events[v.set[event.StateTuple{Type: typ, StateKey: key}]]
}

// run lets the servers act.
func (w *world) run(steps int) {
	for range steps {
		i := w.pick(len(w.servers))
		switch w.pick(12) {
		case 0: // hears from another
			j := w.pick(len(w.servers))
			sets := []stateres.StateSet{w.servers[i], w.servers[j]}
			if w.check {
				w.servers[i] = w.resolve(sets...)
			} else {
				w.servers[i] = w.resolveFast(sets)
			}
		case 1: // is told something outdated
			w.outdate(i)
		default:
			w.act(i)
		}
	}
}

// grow lets the servers act until the room has n events. Most of what they
// try makes none, because it is not allowed.
func (w *world) grow(n int) {
	w.t.Helper()
	const triesPerEvent = 200
	for tries := 0; len(w.events) < n; tries++ {
		if tries > triesPerEvent*n {
			w.t.Fatalf("the room stays at %d events: nobody may do anything in it", len(w.events))
		}
		w.run(1)
	}
}

func (w *world) resolveFast(sets []stateres.StateSet) stateres.StateSet {
	w.t.Helper()
	out, err := stateres.Resolve(w.t.Context(), w.rules, sets, w, stateres.Budget{})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) outdate(i int) {
	tuples := slices.SortedFunc(maps.Keys(w.history), func(a, b event.StateTuple) int {
		return strings.Compare(a.Type+"|"+a.StateKey, b.Type+"|"+b.StateKey)
	})
	if len(tuples) > 0 {
		tuple := tuples[w.pick(len(tuples))]
		w.servers[i][tuple] = w.history[tuple][w.pick(len(w.history[tuple]))]
	}
}

// act makes one event on a server, if the server's state allows it.
func (w *world) act(i int) {
	set := w.servers[i]
	sender, target := w.people[w.pick(len(w.people))], w.people[w.pick(len(w.people))]
	x, said := w.invent(set, sender, target)
	x.ts = int64(100 + w.pick(40)) // often the same
	x.depth = int64(100 + w.pick(20))
	key := x.key
	subject := eventauth.Subject{Type: x.typ, StateKey: &key, Sender: matrix.UserID(sender), Content: []byte(x.content)}
	for _, tuple := range eventauth.NeededFor(subject, w.rules) {
		if auth, ok := set[tuple]; ok && tuple.Type != "m.room.create" {
			x.auth = append(x.auth, auth)
		}
	}
	w.n++
	name := id("$%c%d", 'a'+rune(w.n*7%26), w.n)
	w.add(name, x)
	ev := w.events[name]
	if eventauth.Check(ev, stateOf{w.story, set}, w.events["$create"]) != nil {
		delete(w.events, name)
		return
	}
	set[ev.StateTuple()] = name
	w.history[ev.StateTuple()] = append(w.history[ev.StateTuple()], name)
	if said != nil {
		w.levels[name] = said
	}
}

// invent makes an event up. said are the levels of one that sets them.
func (w *world) invent(set stateres.StateSet, sender, target string) (x e, said map[string]int) {
	switch w.pick(11) {
	case 0, 1:
		return member(sender, sender, "join"), nil
	case 2:
		return member(sender, sender, "leave"), nil
	case 3:
		return member(sender, target, "leave"), nil
	case 4:
		return member(sender, target, "ban"), nil
	case 5:
		return member(sender, target, "invite"), nil
	case 6, 7:
		said = maps.Clone(w.levels[set[event.StateTuple{Type: typePower}]])
		if said == nil {
			said = make(map[string]int)
		}
		if said[target] = []int{0, 10, 50, 60, 100}[w.pick(5)]; w.version == "12" {
			delete(said, alice)
		}
		var users []string
		for _, user := range slices.Sorted(maps.Keys(said)) {
			users = append(users, fmt.Sprintf("%q:%d", user, said[user]))
		}
		return power(sender, strings.Join(users, ",")), said
	case 8:
		return joinRule(sender, []string{"public", "invite", "knock"}[w.pick(3)]), nil
	}
	return topic(sender), nil
}

// forge puts an event of somebody who was never in the room into a state.
func (w *world) forge(set stateres.StateSet) matrix.EventID {
	x := power("@mallory:m.example", `"@mallory:m.example":100`, "$power")
	return w.forged(set, "$forged", x.at(int64(90+w.pick(60))).deep(int64(90+w.pick(60))))
}

func (w *world) forged(set stateres.StateSet, name matrix.EventID, x e) matrix.EventID {
	w.add(name, x)
	set[w.events[name].StateTuple()] = name
	return name
}
