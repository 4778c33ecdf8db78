package roomserver

import (
	"fmt"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/signing"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

func TestCourse(t *testing.T) {
	t.Parallel()
	c := course{first: "a", steps: []step{{pos: 5, word: "b"}, {pos: 9, word: "c"}}}
	for pos, want := range map[storage.Position]string{-3: "a a", 4: "a a", 5: "a b", 6: "b b", 9: "b c", 10: "c c"} {
		if got := c.before(pos) + " " + c.after(pos); got != want {
			t.Errorf("at %d: %s, want %s", pos, got, want)
		}
	}
}

// What this server missed while nobody of it was in the room is backfilled
// below everything else. Who was removed before must not see it.
func TestTheGapAfterAKickStaysHidden(t *testing.T) {
	t.Parallel()
	kicked := sight{full: true, member: course{steps: []step{{pos: 3, depth: 4, word: "join"}, {pos: 8, depth: 9, word: "leave"}}}}
	kicked.left = kicked.member.lastLeft()
	inside := kicked
	inside.since = 20
	inside.left = nil
	for _, test := range []struct {
		depth            int64
		pos              storage.Position
		toKicked, toBack bool
	}{{2, -7, true, true}, {8, -6, true, true}, {9, -5, false, true}, {12, -4, false, true}, {8, 7, true, true}, {10, 9, false, true}} {
		e := &rooms.Event{Event: atDepth(t, test.depth), Pos: test.pos, Status: rooms.Accepted}
		if got := kicked.sees("@bob:s", e); got != test.toKicked {
			t.Errorf("depth %d at %d: the kicked see it is %v", test.depth, test.pos, got)
		}
		if got := inside.sees("@bob:s", e); got != test.toBack {
			t.Errorf("depth %d at %d: a member sees it is %v", test.depth, test.pos, got)
		}
	}
}

func atDepth(t *testing.T, depth int64) *event.Event {
	t.Helper()
	rules, err := matrix.RoomVersion("11").Rules()
	if err != nil {
		t.Fatal(err)
	}
	key, err := signing.NewKey("s", "a")
	if err != nil {
		t.Fatal(err)
	}
	p := event.Proto{RoomID: "!r:s", Sender: "@alice:s", Type: "m.room.message", Content: []byte(`{}`), Depth: depth,
		PrevEvents: []matrix.EventID{"$p"}, AuthEvents: []matrix.EventID{"$a"}, OriginServerTS: 1}
	e, err := p.Build(rules, key)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestSpans(t *testing.T) {
	t.Parallel()
	join, leave := step{pos: 10, word: "join"}, step{pos: 20, depth: 9, word: "leave"}
	cases := map[string]struct {
		sight sight
		want  string
	}{
		"never there":      {sight{}, "[]"},
		"shared, joined":   {sight{since: 10, member: course{steps: []step{join}}}, fmt.Sprintf("[{%d %d}]", firstPosition, lastPosition)},
		"hidden, joined":   {sight{since: 10, setting: course{first: "joined"}, member: course{steps: []step{join}}}, fmt.Sprintf("[{10 %d}]", lastPosition)},
		"hidden, left":     {sight{setting: course{first: "joined"}, member: course{steps: []step{join, leave}}}, "[{10 20}]"},
		"shared, left":     {sight{member: course{steps: []step{join, leave}}}, fmt.Sprintf("[{%d 20}]", firstPosition)},
		"readable a while": {sight{setting: course{first: "joined", steps: []step{{pos: 3, word: "world_readable"}, {pos: 5, word: "joined"}}}}, "[{3 5}]"},
	}
	for name, test := range cases {
		test.sight.full = true
		test.sight.left = test.sight.member.lastLeft()
		if got := fmt.Sprint(test.sight.spans()); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

// CheckAliases lets the tests outside reach what Send asks.
var CheckAliases = (*Server).checkAliases
