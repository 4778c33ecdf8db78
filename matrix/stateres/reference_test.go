package stateres_test

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // the algorithm of version 1
	"encoding/hex"
	"maps"
	"math"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/matrix/stateres"
)

// What follows writes the definitions of the specification down as they
// stand, with sets and without a thought for speed. Resolve must agree.

type idSet = map[matrix.EventID]bool

// authChain returns everything reachable by auth_events, the event left out.
func authChain(s *story, id matrix.EventID) idSet {
	chain := make(idSet)
	todo := []matrix.EventID{id}
	for len(todo) > 0 {
		ev := s.events[todo[0]]
		todo = todo[1:]
		if ev == nil {
			continue
		}
		for _, a := range ev.AuthEvents() {
			if !chain[a] {
				chain[a] = true
				todo = append(todo, a)
			}
		}
	}
	return chain
}

// refState is a state over the auth events of an event.
type refState struct {
	s     *story
	state stateres.StateSet
	of    *event.Event // nil in version 1
}

func (r refState) Event(typ, key string) *event.Event {
	if ev := r.s.events[r.state[event.StateTuple{Type: typ, StateKey: key}]]; ev != nil {
		return ev
	}
	if r.of != nil {
		for _, a := range r.of.AuthEvents() {
			ev := r.s.events[a]
			if ev != nil && ev.IsStateKey(typ, key) && !r.s.bad[a] && ev.RoomID() == r.of.RoomID() {
				return ev
			}
		}
	}
	return nil
}

func (r refState) allows(ev *event.Event) bool {
	create := r.Event("m.room.create", "")
	if r.s.rules.RoomIDIsCreateHash {
		create = r.s.events["$create"]
	}
	if ev.Type() == "m.room.create" {
		create = nil
	}
	return eventauth.Check(ev, r, create) == nil
}

func reference(s *story, sets []stateres.StateSet) stateres.StateSet {
	unconflicted, conflicted := make(stateres.StateSet), make(map[event.StateTuple]idSet)
	for _, set := range sets {
		for tuple := range set {
			ids, n := make(idSet), 0
			for _, other := range sets {
				if id, ok := other[tuple]; ok {
					ids[id] = true
					n++
				}
			}
			if len(ids) == 1 && (n == len(sets) || s.version == "1") {
				unconflicted[tuple] = set[tuple]
			} else {
				conflicted[tuple] = ids
			}
		}
	}
	if len(conflicted) == 0 {
		return unconflicted
	}
	if s.version == "1" {
		return referenceV1(s, unconflicted, conflicted)
	}
	full := fullConflictedSet(s, sets, conflicted)
	powerful := make(idSet)
	for id := range full {
		if refPower(s.events[id]) {
			powerful[id] = true
			for a := range authChain(s, id) {
				if full[a] {
					powerful[a] = true
				}
			}
		}
	}
	state := make(stateres.StateSet)
	if s.version != "12" {
		maps.Copy(state, unconflicted)
	}
	refApply(s, state, refPowerOrder(s, powerful))
	maps.DeleteFunc(full, func(id matrix.EventID, _ bool) bool { return powerful[id] })
	refApply(s, state, refMainline(s, state, full))
	maps.Copy(state, unconflicted)
	return state
}

func refPower(ev *event.Event) bool {
	switch ev.Type() {
	case "m.room.power_levels", "m.room.join_rules":
		return true
	case "m.room.member":
		key, _ := ev.StateKey()
		return key != string(ev.Sender()) && (ev.Membership() == "leave" || ev.Membership() == "ban")
	}
	return false
}

func fullConflictedSet(s *story, sets []stateres.StateSet, conflicted map[event.StateTuple]idSet) idSet {
	full, disputed := make(idSet), make(idSet)
	for _, ids := range conflicted {
		maps.Copy(disputed, ids)
	}
	counts := make(map[matrix.EventID]int)
	for _, set := range sets {
		chain := make(idSet)
		for _, id := range set {
			maps.Copy(chain, authChain(s, id))
		}
		for id := range chain {
			counts[id]++
		}
	}
	for id, n := range counts {
		if n < len(sets) {
			full[id] = true
		}
	}
	maps.Copy(full, disputed)
	if s.version == "12" {
		above := make(idSet) // in the auth chain of a disputed event
		for id := range disputed {
			maps.Copy(above, authChain(s, id))
		}
		for id := range above {
			for a := range authChain(s, id) {
				if disputed[a] {
					full[id] = true
				}
			}
		}
	}
	for id := range full {
		if ev := s.events[id]; ev == nil || ev.RoomID() != s.room() {
			delete(full, id)
		}
	}
	return full
}

// room is the room of the story.
func (s *story) room() matrix.RoomID { return s.events["$create"].RoomID() }

func refApply(s *story, state stateres.StateSet, events []matrix.EventID) {
	for _, id := range events {
		ev := s.events[id]
		if (refState{s, state, ev}).allows(ev) {
			state[ev.StateTuple()] = id
		}
	}
}

func refLevel(s *story, ev *event.Event) eventauth.Level {
	var create, levels *event.Event
	if s.version == "12" {
		create = s.events["$create"]
	}
	for _, a := range ev.AuthEvents() {
		if auth := s.events[a]; auth != nil && auth.IsStateKey("m.room.power_levels", "") {
			levels = auth
		} else if auth != nil && auth.IsStateKey("m.room.create", "") {
			create = auth
		}
	}
	p, err := eventauth.EffectivePowerLevels(create, levels)
	if err != nil {
		return 0
	}
	return p.User(ev.Sender())
}

// refPowerOrder takes the smallest event none of whose auth chain is left,
// again and again.
func refPowerOrder(s *story, events idSet) []matrix.EventID {
	var out []matrix.EventID
	left := maps.Clone(events)
	chains := make(map[matrix.EventID]idSet)
	levels := make(map[matrix.EventID]eventauth.Level)
	for id := range events {
		chains[id], levels[id] = authChain(s, id), refLevel(s, s.events[id])
	}
	for len(left) > 0 {
		var ready []matrix.EventID
		for id := range left {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(left)), func(other matrix.EventID) bool { return chains[id][other] }) {
				ready = append(ready, id)
			}
		}
		if len(ready) == 0 {
			return out // a circle
		}
		next := slices.MinFunc(ready, func(x, y matrix.EventID) int {
			return cmp.Or(cmp.Compare(levels[y], levels[x]), cmp.Compare(s.events[x].OriginServerTS(), s.events[y].OriginServerTS()), cmp.Compare(x, y))
		})
		out = append(out, next)
		delete(left, next)
	}
	return out
}

func refPowerOf(s *story, id matrix.EventID) matrix.EventID {
	for _, a := range s.events[id].AuthEvents() {
		if ev := s.events[a]; ev != nil && ev.IsStateKey("m.room.power_levels", "") {
			return a
		}
	}
	return ""
}

func refMainline(s *story, state stateres.StateSet, events idSet) []matrix.EventID {
	var mainline []matrix.EventID
	for p := state[event.StateTuple{Type: "m.room.power_levels"}]; s.events[p] != nil && !slices.Contains(mainline, p); p = refPowerOf(s, p) {
		mainline = append(mainline, p)
	}
	places := make(map[matrix.EventID]int)
	for id := range events {
		places[id] = math.MaxInt
		seen := make(idSet)
		for p := refPowerOf(s, id); p != "" && !seen[p]; p = refPowerOf(s, p) {
			seen[p] = true
			if i := slices.Index(mainline, p); i >= 0 {
				places[id] = i
				break
			}
		}
	}
	return slices.SortedFunc(maps.Keys(events), func(x, y matrix.EventID) int {
		return cmp.Or(cmp.Compare(places[y], places[x]), cmp.Compare(s.events[x].OriginServerTS(), s.events[y].OriginServerTS()), cmp.Compare(x, y))
	})
}

func referenceV1(s *story, state stateres.StateSet, conflicted map[event.StateTuple]idSet) stateres.StateSet {
	sorted := func(ids idSet) []matrix.EventID {
		known := slices.DeleteFunc(slices.Collect(maps.Keys(ids)), func(id matrix.EventID) bool { return s.events[id] == nil })
		slices.SortFunc(known, func(x, y matrix.EventID) int {
			return cmp.Or(cmp.Compare(s.events[x].Depth(), s.events[y].Depth()), cmp.Compare(sha1Hex(y), sha1Hex(x)))
		})
		return known
	}
	pass := func(in func(event.StateTuple) bool, auth bool) {
		before := maps.Clone(state)
		for tuple, ids := range conflicted {
			if !in(tuple) || len(sorted(ids)) == 0 {
				continue
			}
			r := maps.Clone(before)
			events := sorted(ids)
			if !auth {
				slices.Reverse(events)
				for _, id := range events {
					if (refState{s: s, state: r}).allows(s.events[id]) {
						state[tuple] = id
						break
					}
				}
				continue
			}
			for i, id := range events {
				if i > 0 && !(refState{s: s, state: r}).allows(s.events[id]) {
					break
				}
				r[tuple], state[tuple] = id, id
			}
		}
	}
	isPower := func(t event.StateTuple) bool { return t == event.StateTuple{Type: "m.room.power_levels"} }
	isRules := func(t event.StateTuple) bool { return t == event.StateTuple{Type: "m.room.join_rules"} }
	isMember := func(t event.StateTuple) bool { return t.Type == "m.room.member" }
	pass(isPower, true)
	pass(isRules, true)
	pass(isMember, true)
	pass(func(t event.StateTuple) bool { return !isPower(t) && !isRules(t) && !isMember(t) }, false)
	return state
}

func sha1Hex(id matrix.EventID) string {
	sum := sha1.Sum([]byte(id)) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}
