package stateres

import (
	"slices"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

// conflict is a key of the state with the events that the states have there.
type conflict struct {
	tuple event.StateTuple
	ids   []matrix.EventID // each once, sorted
	// complete says that every state has an event there.
	complete bool
}

// split is what the states agree in and what not.
//
// https://spec.matrix.org/v1.19/rooms/v2/#definitions
type split struct {
	sets      []StateSet
	conflicts []conflict // sorted by key
	disputed  map[event.StateTuple]bool
}

// splitStates compares the states. A key that one of them lacks is disputed.
func splitStates(sets []StateSet) *split {
	s := &split{sets: sets, disputed: make(map[event.StateTuple]bool)}
	first, others := sets[0], sets[1:]
	shared := make([]int, len(others)) // keys of first that the other has as well
	for tuple, id := range first {
		same := true
		for i, other := range others {
			otherID, ok := other[tuple]
			if ok {
				shared[i]++
			}
			same = same && ok && otherID == id
		}
		if !same {
			s.disputed[tuple] = true
		}
	}
	for i, other := range others {
		if shared[i] == len(other) {
			continue // it has no key that first lacks
		}
		for tuple := range other {
			if _, ok := first[tuple]; !ok {
				s.disputed[tuple] = true
			}
		}
	}
	for tuple := range s.disputed {
		s.conflicts = append(s.conflicts, s.conflict(tuple))
	}
	slices.SortFunc(s.conflicts, func(a, b conflict) int { return compareTuples(a.tuple, b.tuple) })
	return s
}

func (s *split) conflict(tuple event.StateTuple) conflict {
	c := conflict{tuple: tuple, complete: true}
	for _, set := range s.sets {
		id, ok := set[tuple]
		switch {
		case !ok:
			c.complete = false
		case !slices.Contains(c.ids, id):
			c.ids = append(c.ids, id)
		}
	}
	slices.Sort(c.ids)
	return c
}

// unconflicted returns the event that every state has at a key.
func (s *split) unconflicted(tuple event.StateTuple) (matrix.EventID, bool) {
	if s.disputed[tuple] {
		return "", false
	}
	id, ok := s.sets[0][tuple]
	return id, ok
}

// parts returns, for each state, its disputed events. States that have the
// same ones count once: they have the same auth chains.
func (s *split) parts() [][]matrix.EventID {
	var parts [][]matrix.EventID
	seen := make(map[string]bool)
	for _, set := range s.sets {
		var part []matrix.EventID
		var key strings.Builder
		for _, c := range s.conflicts {
			if id, ok := set[c.tuple]; ok {
				part = append(part, id)
				key.WriteString(string(id))
			}
			key.WriteByte(0)
		}
		if !seen[key.String()] {
			seen[key.String()] = true
			parts = append(parts, part)
		}
	}
	return parts
}

func compareTuples(a, b event.StateTuple) int {
	if c := strings.Compare(a.Type, b.Type); c != 0 {
		return c
	}
	return strings.Compare(a.StateKey, b.StateKey)
}
