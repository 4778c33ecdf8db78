package roomserver

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// course is how a word of the state of a room went.
type course struct {
	first string // before the first step
	steps []step // by position
}

// step is a change: events after pos have word before them.
type step struct {
	pos   storage.Position
	depth int64 // of the event that made it so, 0 where there is none
	word  string
}

// newCourse reads the words of a stored course, which may be nil.
func newCourse(c *rooms.Course, events map[int64]*rooms.Event, word func(*rooms.Event) string) (out course) {
	if c == nil {
		return out
	}
	out.first = word(events[c.First])
	out.steps = make([]step, len(c.Steps))
	for i, s := range c.Steps {
		out.steps[i] = step{pos: s.Pos, word: word(events[s.NID])}
		if e := events[s.NID]; e != nil {
			out.steps[i].depth = e.Depth()
		}
	}
	return out
}

// before returns the word in the state before a position.
func (c *course) before(pos storage.Position) string {
	return c.upTo(sort.Search(len(c.steps), func(i int) bool { return c.steps[i].pos >= pos }))
}

// after returns the word in the state after a position.
func (c *course) after(pos storage.Position) string {
	return c.upTo(sort.Search(len(c.steps), func(i int) bool { return c.steps[i].pos > pos }))
}

// upTo returns the word after the first n steps.
func (c *course) upTo(n int) string {
	if n == 0 {
		return c.first
	}
	return c.steps[n-1].word
}

// lastLeft returns where the last time of being joined ended, nil where it
// lasts or never was.
func (c *course) lastLeft() *ending {
	n := len(c.steps)
	if c.upTo(n) == "join" {
		return nil
	}
	for i := n - 1; i >= 0; i-- {
		if c.upTo(i) == "join" {
			return &ending{c.steps[i].pos, c.steps[i].depth}
		}
	}
	return nil
}

// ending is the end of being in a room.
type ending struct {
	pos   storage.Position
	depth int64
}

// precedes reports whether an event is from after an ending; nil ends nothing.
// Where this server itself was away, what it missed is backfilled below every
// position: there the depth tells.
func (d *ending) precedes(e *rooms.Event) bool {
	return d != nil && (e.Pos > d.pos || e.Pos < 0 && d.depth > 0 && e.Depth() >= d.depth)
}

// membershipWord returns the membership that an event sets, "" for nil.
func membershipWord(e *rooms.Event) string {
	if e == nil {
		return ""
	}
	return e.Membership()
}

// visibilityWord returns the history visibility that an event sets. What is
// not understood is shared.
func visibilityWord(e *rooms.Event) string {
	if e == nil {
		return visShared
	}
	word, _ := canonicaljson.Unquote(canonicaljson.Field(e.Content(), "history_visibility"))
	return visibilityOr(word)
}

func visibilityOr(word string) string {
	switch word {
	case visWorldReadable, visInvited, visJoined:
		return word
	}
	return visShared
}

// span is a stretch of positions, both ends included.
type span struct{ from, to storage.Position }

const (
	firstPosition storage.Position = math.MinInt64 + 2 // there is room to subtract from it
	lastPosition  storage.Position = math.MaxInt64 - 1
)

// spans returns where events may be that the user sees: no event outside of
// them is visible. They are in ascending order and apart. The sight is full.
func (g *sight) spans() (out []span) {
	ends := make([]storage.Position, 0, len(g.setting.steps)+len(g.member.steps)+1)
	for _, s := range g.setting.steps {
		ends = append(ends, s.pos)
	}
	for _, s := range g.member.steps {
		ends = append(ends, s.pos)
	}
	slices.Sort(ends)
	ends = append(slices.Compact(ends), lastPosition)
	from := firstPosition
	for _, end := range ends {
		// The state before every event after one end and up to the next is the same.
		if g.allows(visibilityOr(g.setting.before(end)), probe(end)) {
			out = addSpan(out, span{from, end})
		}
		from = end // the event at an end may be visible by what comes after it
	}
	if g.forgotten {
		return out
	}
	for _, s := range g.member.steps { // the user's own membership events
		out = append(out, span{s.pos, s.pos})
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	merged := out[:0]
	for _, s := range out {
		merged = addSpan(merged, s)
	}
	return merged
}

// probe is an event of which only the position counts.
func probe(pos storage.Position) *rooms.Event { return &rooms.Event{Pos: pos} }

// addSpan adds a span to spans that do not begin after it.
func addSpan(spans []span, next span) []span {
	if n := len(spans); n > 0 && next.from <= spans[n-1].to+1 {
		spans[n-1].to = max(spans[n-1].to, next.to)
		return spans
	}
	return append(spans, next)
}
