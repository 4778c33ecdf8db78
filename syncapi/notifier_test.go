package syncapi

import (
	"fmt"
	"testing"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

var t0 = time.UnixMilli(1_750_000_000_000)

func newForgetful(t *testing.T) *notifier {
	t.Helper()
	n := newNotifier(t0, func(matrix.RoomID) ([]matrix.UserID, uint64) { return nil, 0 })
	n.begin(1)
	return n
}

// standingIn returns memberships of @a:x in rooms that are joined.
func standingIn(nids ...int64) (list []rooms.Standing) {
	for _, nid := range nids {
		list = append(list, standing(nid, "join", 1))
	}
	return list
}

func standing(nid int64, membership string, pos storage.Position) rooms.Standing {
	return rooms.Standing{RoomID: matrix.RoomID(fmt.Sprintf("!%d:x", nid)),
		Member: rooms.Member{RoomNID: nid, User: "@a:x", Membership: membership, Pos: pos}}
}

// News may come while an account is loaded, twice, and late.
func TestNewsInAnyOrder(t *testing.T) {
	t.Parallel()
	n := newForgetful(t)
	acc, _, _ := n.watch("@a:x", "D", t0)
	n.apply(&news{from: 1, to: 8, members: []rooms.Standing{standing(1, "leave", 7), standing(3, "join", 8)}})
	n.loaded(acc, standingIn(1, 2), 6) // read before that
	if got := n.since(acc, "D", token{6, 0, 6}); !got.all {
		t.Error("what happened while it was loaded is taken for known")
	}
	check := func(what string, at token, want ...int64) {
		t.Helper()
		got := n.since(acc, "D", at)
		var nids []int64
		for _, name := range got.events {
			nids = append(nids, name.nid)
		}
		if fmt.Sprint(nids) != fmt.Sprint(want) || got.any() != (len(want) > 0) {
			t.Errorf("%s: rooms %v, want %v (%+v)", what, nids, want, got)
		}
	}
	at := token{8, newTypingVersion(n.typing, false), 8}
	check("nothing", at)
	n.apply(&news{from: 8, to: 12, rooms: map[int64]storage.Position{1: 9, 2: 10, 3: 12, 4: 11}})
	check("rooms", at, 2, 3)
	n.apply(&news{from: 8, to: 10, rooms: map[int64]storage.Position{2: 10}}) // late
	check("late news", token{11, at.typing, 11}, 3)
	n.apply(&news{from: 10, to: 14, rooms: map[int64]storage.Position{2: 14, 3: 12}}) // overlaps
	check("overlapping news", token{12, at.typing, 12}, 2)
	if got := n.since(acc, "D", token{9, at.typing, 8}); !got.messages {
		t.Error("a token that lacks messages does not ask for them")
	}
}

func TestTooManyAccounts(t *testing.T) {
	t.Parallel()
	n := newForgetful(t)
	_, _, _ = n.watch("@waits:x", "D", t0)
	for i := range maxAccounts + 10 {
		acc, w, _ := n.watch(matrix.UserID(fmt.Sprintf("@u%d:x", i)), "D", t0)
		n.leave(acc, w, t0)
	}
	if len(n.users) > maxAccounts || n.users["@waits:x"] == nil {
		t.Errorf("%d accounts", len(n.users))
	}
}

// An account that nobody asks for is forgotten, with its rooms.
func TestTheNotifierForgets(t *testing.T) {
	t.Parallel()
	s := newForgetful(t)
	acc, w, _ := s.watch("@a:x", "D", t0)
	s.loaded(acc, standingIn(1, 2), storage.Position(5))
	s.sweep(t0.Add(2 * forgetAfter))
	if len(s.users) != 1 || len(s.rooms) != 2 || len(s.byID) != 2 {
		t.Errorf("with a request: %d accounts, %d rooms", len(s.users), len(s.rooms))
	}
	s.leave(acc, w, t0)
	s.sweep(t0.Add(forgetAfter / 2))
	if len(s.users) != 1 {
		t.Error("forgotten too early")
	}
	s.sweep(t0.Add(2 * forgetAfter))
	if len(s.users)+len(s.rooms)+len(s.byID) != 0 {
		t.Errorf("left: %d accounts, %d rooms", len(s.users), len(s.rooms))
	}
}
