package roomserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// count returns what a query counts.
func count(t *testing.T, db *storage.DB, query string, args ...any) (n int) {
	t.Helper()
	must(t, db.View(t.Context(), func(r *storage.Reader) error {
		return r.QueryRow(t.Context(), query, args...).Scan(&n)
	}))
	return n
}

// job waits for nothing: it does all that is due and returns how the job ended.
func job(t *testing.T, nd *node, id int64) rooms.Job {
	t.Helper()
	must(t, nd.Work(t.Context()))
	j, err := nd.Job(t.Context(), id)
	must(t, err)
	if j.FinishedAt == 0 {
		t.Fatal("the job is not done")
	}
	return j
}

func TestPurgeRemovesMessagesAndKeepsState(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room := createRoom(t, one, alice, "", "private_chat", bob)
		must(t, one.Join(t.Context(), roomserver.JoinRequest{User: bob, Room: room}))
		var old []matrix.EventID
		for i := range 20 {
			old = append(old, say(t, one, alice, room, fmt.Sprint("secret ", i)))
			topic(t, one, alice, room, fmt.Sprint("topic ", i))
		}
		txn := roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.message", Device: "D", TxnID: "1", Content: json.RawMessage(`{}`)}
		last, err := one.Send(t.Context(), txn)
		must(t, err)
		read := roomserver.ReceiptRequest{User: bob, Room: room, Type: "m.read", Event: old[7]}
		must(t, one.SetReceipt(t.Context(), read))
		before := statesOf(t, one, room)
		kept := say(t, one, alice, room, "kept")
		was := state(t, one, room)

		id, err := one.PurgeHistory(t.Context(), roomserver.PurgeRequest{Room: room, Event: last})
		must(t, err)
		if j := job(t, one, id); j.Removed != 21 || j.Error != "" {
			t.Errorf("%d removed, %q", j.Removed, j.Error)
		}
		for _, id := range append(old, last) {
			if _, err := one.Event(t.Context(), alice, "D", room, id); !matrix.IsCode(err, "M_NOT_FOUND") {
				t.Errorf("%s can be read: %v", id, err)
			}
		}
		if n := count(t, db, `SELECT COUNT(*) FROM events WHERE json LIKE '%secret%'`); n != 0 {
			t.Errorf("%d messages are still stored", n)
		}
		if n := count(t, db, `SELECT COUNT(*) FROM receipts`) + count(t, db, `SELECT COUNT(*) FROM transactions`); n != 0 {
			t.Errorf("%d rows name messages that are gone", n)
		}
		all, _ := walkAll(t, one, roomserver.MessagesRequest{User: alice, Room: room, Backwards: true, Limit: 7})
		if !slices.Contains(all, kept) || len(all) != 1+20+len(was) { // every topic, and the topic is one of the state
			t.Errorf("%d events are left", len(all))
		}
		sameState(t, was, state(t, one, room))
		for id, want := range before {
			if len(stored(t, one, id).JSON()) == 0 || fmt.Sprint(stateBefore(t, one, id)) != fmt.Sprint(want) {
				t.Errorf("the state before %s is another", id)
			}
		}
		say(t, one, bob, room, "the room lives")
		must(t, one.SetReceipt(t.Context(), roomserver.ReceiptRequest{User: bob, Room: room, Type: "m.read", Event: kept}))
		one.restart()
		say(t, one, alice, room, "also after a restart")
		verify(t, one)
	})
}

func sameState(t *testing.T, a, b map[string]matrix.EventID) {
	t.Helper()
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("state %v, want %v", b, a)
	}
}

// statesOf returns the states before all state events of a room.
func statesOf(t *testing.T, nd *node, room matrix.RoomID) map[matrix.EventID]rooms.State {
	t.Helper()
	out := make(map[matrix.EventID]rooms.State)
	must(t, nd.db.View(t.Context(), func(r *storage.Reader) error {
		row, err := rooms.ByID(t.Context(), r, room)
		if err != nil {
			return err
		}
		list, err := rooms.Timeline(t.Context(), r, row.NID, 0, row.HeadPos, 1000, false)
		for _, e := range list {
			if e.IsState() {
				if out[e.ID()], err = rooms.StateBeforeEvent(t.Context(), r, e); err != nil {
					return err
				}
			}
		}
		return err
	}))
	return out
}

func stateBefore(t *testing.T, nd *node, id matrix.EventID) (state rooms.State) {
	t.Helper()
	e := stored(t, nd, id)
	must(t, nd.db.View(t.Context(), func(r *storage.Reader) (err error) {
		state, err = rooms.StateBeforeEvent(t.Context(), r, e)
		return err
	}))
	return state
}

func TestPurgeByTime(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		start := time.Now()
		one.now = func() time.Time { return start }
		room := createRoom(t, one, alice, "", "private_chat")
		old := say(t, one, alice, room, "old")
		one.now = func() time.Time { return start.Add(time.Hour) }
		young := say(t, one, alice, room, "young")
		tip := say(t, one, alice, room, "tip")

		id, err := one.PurgeHistory(t.Context(), roomserver.PurgeRequest{Room: room, Before: start.Add(time.Minute)})
		must(t, err)
		if j := job(t, one, id); j.Removed != 1 {
			t.Errorf("%d removed", j.Removed)
		}
		if n := count(t, db, `SELECT COUNT(*) FROM events WHERE event_id = $1`, string(old)); n != 0 {
			t.Error("the old message is there")
		}
		stored(t, one, young)
		id, err = one.PurgeHistory(t.Context(), roomserver.PurgeRequest{Room: room, Before: start.Add(time.Hour * 2)})
		must(t, err)
		if j := job(t, one, id); j.Removed != 1 {
			t.Errorf("%d removed", j.Removed)
		}
		stored(t, one, tip) // which the next event follows
		say(t, one, alice, room, "next")
		verify(t, one)

		for name, req := range map[string]roomserver.PurgeRequest{
			"no bound": {Room: room}, "no room": {Room: "!no:one.example", Before: start}, "no event": {Room: room, Event: "$no"},
		} {
			if _, err := one.PurgeHistory(t.Context(), req); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	})
}

// TestPurgeIsNotUndone: what was removed is not asked of other servers again,
// and other servers that ask for it get what is left.
func TestPurgeIsNotUndone(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			net := newNetwork()
			one, two := net.start(t, engine, "one.example"), net.start(t, engine, "two.example")
			room := createRoom(t, one, alice, "", "public_chat")
			for i := range 10 {
				say(t, one, alice, room, fmt.Sprint(i))
			}
			must(t, two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room, Via: []matrix.ServerName{"one.example"}}))
			history := roomserver.MessagesRequest{User: carol, Room: room, Backwards: true, Limit: 100}
			had, _ := walkAll(t, two, history)
			if len(had) < 10 {
				t.Fatalf("only %d events were fetched", len(had))
			}
			say(t, two, carol, room, "hello")
			id, err := two.PurgeHistory(t.Context(), roomserver.PurgeRequest{Room: room, Before: time.Now().Add(time.Hour)})
			must(t, err)
			if j := job(t, two, id); j.Removed != 10 {
				t.Errorf("%d removed", j.Removed)
			}
			left, _ := walkAll(t, two, history)
			for _, id := range left {
				if e := stored(t, two, id); !e.IsState() && e.Sender() != carol {
					t.Errorf("%s came back", id)
				}
			}
			verify(t, two)
			if _, err := two.BackfillFor(t.Context(), "one.example", room, tips(t, two, room), 100); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		now := time.Now()
		one.now = func() time.Time { return now }
		keeps := createRoom(t, one, alice, "", "private_chat")
		short := createRoom(t, one, alice, "", "private_chat")
		day := fmt.Sprintf(`{"max_lifetime":%d}`, 24*time.Hour.Milliseconds())
		_, err := one.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: short, Type: "m.room.retention",
			StateKey: new(string), Content: json.RawMessage(day)})
		must(t, err)
		hours := func(n int) {
			for range n {
				now = now.Add(time.Hour)
				must(t, one.Work(t.Context()))
			}
		}
		hours(1)
		first := say(t, one, alice, short, "first")
		stays := say(t, one, alice, keeps, "stays")
		hours(20)
		second := say(t, one, alice, short, "second")
		hours(3)
		stored(t, one, first)
		stored(t, one, second)
		hours(2)
		gone := func(id matrix.EventID, want bool) {
			t.Helper()
			if n := count(t, db, `SELECT COUNT(*) FROM events WHERE event_id = $1`, string(id)); (n == 0) != want {
				t.Errorf("%s is there: %v", id, n > 0)
			}
		}
		gone(first, true)
		gone(second, false)
		hours(30)
		gone(second, false) // the tip, which the next event follows
		third := say(t, one, alice, short, "third")
		hours(1)
		gone(second, true)
		gone(third, false)
		gone(stays, false)
		verify(t, one)

		now = now.Add(366 * 24 * time.Hour) // the clock is wrong
		fourth := say(t, one, alice, short, "fourth")
		must(t, one.Work(t.Context()))
		gone(third, false)
		hours(1)
		gone(third, true)
		gone(fourth, false)
	})
}

func TestRetentionResumes(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room := createRoom(t, one, alice, "", "private_chat")
		_, err := db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
			return storage.SetCursor(ctx, tx, "room retention", 1) // as a server leaves it that is killed
		})
		must(t, err)
		must(t, one.Work(t.Context()))
		if n := count(t, db, `SELECT pos FROM cursors WHERE follower = 'room retention'`); n != 0 {
			t.Errorf("retention stands at %d", n)
		}
		say(t, one, alice, room, "well")
	})
}

func TestTransactionIDsAreForgotten(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		now := time.Now()
		one.now = func() time.Time { return now }
		room := createRoom(t, one, alice, "", "private_chat")
		send := func(txn string) matrix.EventID {
			id, err := one.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.message",
				Device: "D", TxnID: txn, Content: json.RawMessage(`{"body":"x"}`)})
			must(t, err)
			return id
		}
		first := send("1")
		now = now.Add(6 * 24 * time.Hour)
		must(t, one.Work(t.Context()))
		if send("1") != first {
			t.Error("a repeated request sent another event")
		}
		second := send("2")
		now = now.Add(2 * 24 * time.Hour)
		must(t, one.Work(t.Context()))
		if send("1") == first {
			t.Error("the transaction ID was not forgotten")
		}
		if send("2") != second {
			t.Error("a younger one was forgotten")
		}
	})
}
