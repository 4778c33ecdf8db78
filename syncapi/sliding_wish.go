package syncapi

import (
	"encoding/json"
	"slices"
)

// StatePattern matches state events. What is nil matches anything.
type StatePattern struct {
	Type     *string `json:"type,omitempty"`
	StateKey *string `json:"state_key,omitempty"`
}

func (p *StatePattern) matches(typ, key string) bool {
	return (p.Type == nil || *p.Type == typ) && (p.StateKey == nil || *p.StateKey == key)
}

// StateWish is which state of a room a client wants: what one of Include
// matches and none of Exclude. Where LazyMembers is set, members are matched
// only by a pattern with a state key; of the others come those that the
// timeline needs.
type StateWish struct {
	Include     []StatePattern `json:"include,omitempty"`
	Exclude     []StatePattern `json:"exclude,omitempty"`
	LazyMembers bool           `json:"lazy_members,omitempty"`
}

func (w *StateWish) matches(typ, key string) bool {
	match := func(p StatePattern) bool { return p.matches(typ, key) }
	lazily := w.LazyMembers && typ == typeMember
	return slices.ContainsFunc(w.Include, func(p StatePattern) bool { return match(p) && !(lazily && p.StateKey == nil) }) &&
		!slices.ContainsFunc(w.Exclude, match)
}

// allMembers reports whether it wants every member.
func (w *StateWish) allMembers() bool {
	return !w.LazyMembers && slices.ContainsFunc(w.Include, func(p StatePattern) bool {
		return p.StateKey == nil && (p.Type == nil || *p.Type == typeMember)
	}) && !slices.ContainsFunc(w.Exclude, func(p StatePattern) bool {
		return p.StateKey == nil && (p.Type == nil || *p.Type == typeMember)
	})
}

// wish is the union of what several rules want of a room.
type wish struct {
	parts []StateWish
	text  string // the same as JSON: equal wishes have equal texts
}

// newWish returns the union of some wishes.
func newWish(parts []StateWish) *wish {
	texts := make([]string, 0, len(parts))
	for i := range parts {
		raw, err := json.Marshal(&parts[i])
		if err != nil { // they were read from JSON
			continue
		}
		texts = append(texts, string(raw))
	}
	slices.Sort(texts)
	texts = slices.Compact(texts)
	out := []byte{'['}
	for i, text := range texts {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, text...)
	}
	w := &wish{text: string(append(out, ']'))}
	_ = json.Unmarshal([]byte(w.text), &w.parts) // what was just written
	return w
}

// parseWish reads the text of a wish.
func parseWish(text string) (*wish, error) {
	w := &wish{text: text}
	err := json.Unmarshal([]byte(text), &w.parts)
	return w, err
}

func (w *wish) matches(typ, key string) bool {
	return slices.ContainsFunc(w.parts, func(p StateWish) bool { return p.matches(typ, key) })
}

func (w *wish) allMembers() bool {
	return slices.ContainsFunc(w.parts, func(p StateWish) bool { return p.allMembers() })
}

// lazy reports whether the members come that the timeline needs.
func (w *wish) lazy() bool {
	return slices.ContainsFunc(w.parts, func(p StateWish) bool { return p.LazyMembers })
}

// members returns which members it names: those that it wants whether or not
// the timeline needs them.
func (w *wish) members() (keys []string) {
	for i := range w.parts {
		for _, p := range w.parts[i].Include {
			if p.StateKey != nil && p.matches(typeMember, *p.StateKey) && !slices.Contains(keys, *p.StateKey) {
				keys = append(keys, *p.StateKey)
			}
		}
	}
	return keys
}

// covers reports whether all that another wish matches this one does, as far
// as that can be told without a look at the room.
func (w *wish) covers(other *wish) bool {
	if w.text == other.text {
		return true
	}
	for i := range other.parts {
		if !slices.ContainsFunc(w.parts, func(p StateWish) bool { return p.covers(&other.parts[i]) }) {
			return false
		}
	}
	return true
}

func (w *StateWish) covers(other *StateWish) bool {
	for _, p := range other.Include {
		members := (p.Type == nil || *p.Type == typeMember) && !(other.LazyMembers && p.StateKey == nil)
		if !slices.ContainsFunc(w.Include, func(q StatePattern) bool {
			return q.covers(&p) && !(members && w.LazyMembers && q.StateKey == nil)
		}) {
			return false
		}
	}
	for _, p := range w.Exclude { // what is left out here must be left out there
		if !slices.ContainsFunc(other.Exclude, func(q StatePattern) bool { return q.covers(&p) }) {
			return false
		}
	}
	return true
}

func (p *StatePattern) covers(other *StatePattern) bool {
	same := func(x, y *string) bool { return x == nil || y != nil && *x == *y }
	return same(p.Type, other.Type) && same(p.StateKey, other.StateKey)
}
