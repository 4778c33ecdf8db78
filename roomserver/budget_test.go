package roomserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// ordinary is a message of an ordinary length.
const ordinary = `{"body":"a message of an ordinary length, as people write them to each other at work","msgtype":"m.text"}`

// slow skips what measures time, unless the machine is for it alone.
func slow(t *testing.T) {
	t.Helper()
	if os.Getenv("BEFFROI_SLOW") == "" {
		t.Skip("measures time: needs BEFFROI_SLOW")
	}
}

// flood sends messages to rooms from writers at once, in turn, and returns how
// long it took.
func flood(t *testing.T, nd *node, ids []matrix.RoomID, writers, messages int) time.Duration {
	t.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	run := time.Now().UnixNano()
	start := time.Now()
	for range writers {
		group.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(messages) {
					return
				}
				req := roomserver.SendRequest{Sender: alice, Room: ids[int(n)%len(ids)], Type: "m.room.message", Device: "D",
					TxnID: fmt.Sprint(run, "/", n), Content: json.RawMessage(ordinary)}
				if _, err := nd.Send(context.Background(), req); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	return time.Since(start)
}

func createRooms(t *testing.T, nd *node, n int) (ids []matrix.RoomID) {
	t.Helper()
	for range n {
		ids = append(ids, createRoom(t, nd, alice, "", "private_chat"))
	}
	return ids
}

// TestStatementsOfAMessage: at most 3 a message where many are sent at once,
// to one room or to many.
func TestStatementsOfAMessage(t *testing.T) {
	t.Parallel()
	const messages = 640
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		for name, ids := range map[string][]matrix.RoomID{"one room": createRooms(t, one, 1), "64 rooms": createRooms(t, one, 64)} {
			flood(t, one, ids, 64, len(ids)) // they are read into memory
			before := db.Statements()
			flood(t, one, ids, 64, messages)
			each := float64(db.Statements()-before) / messages
			t.Logf("%s: %.2f statements a message", name, each)
			if each > 3 {
				t.Errorf("%s: %.2f statements a message", name, each)
			}
		}
	})
}

// TestBytesOfAMessage: at most 3 bytes of the database for one of its JSON.
func TestBytesOfAMessage(t *testing.T) {
	t.Parallel()
	messages := 2000
	if os.Getenv("BEFFROI_SLOW") != "" {
		messages = 20_000
	}
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		ids := createRooms(t, one, 1)
		size := func() int {
			if db.Engine() == "sqlite" {
				return count(t, db, `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`)
			}
			return count(t, db, `SELECT SUM(pg_total_relation_size(c.oid)) FROM pg_class c
				JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relkind = 'r'`)
		}
		const json = `SELECT SUM(LENGTH(json)) FROM events`
		bytes, told := size(), count(t, db, json)
		flood(t, one, ids, 64, messages)
		bytes, told = size()-bytes, count(t, db, json)-told
		ratio := float64(bytes) / float64(told)
		t.Logf("%d bytes a message, of %d bytes of JSON: %.2f", bytes/messages, told/messages, ratio)
		if ratio > 3 {
			t.Errorf("%.2f bytes for one of JSON", ratio)
		}
	})
}

// TestMessageInALargeRoom: with 10,000 local members it costs at most twice
// what it costs with 10.
func TestMessageInALargeRoom(t *testing.T) { //nolint:paralleltest // it measures time
	slow(t)
	const rounds, messages = 5, 2000
	for _, engine := range testkit.Engines() {
		t.Run(engine, func(t *testing.T) {
			one := newNetwork().start(t, engine, "one.example")
			ids := createRooms(t, one, 2)
			crowd(t, one, ids[0], 10)
			crowd(t, one, ids[1], 10_000)
			small, large := ids[:1], ids[1:]
			var ratios []float64
			for range rounds { // in turn, since the machine is not always the same
				a, b := flood(t, one, small, 64, messages), flood(t, one, large, 64, messages)
				ratios = append(ratios, float64(b)/float64(a))
			}
			slices.Sort(ratios)
			t.Logf("with 10,000 members / with 10: %.2f", ratios)
			if ratios[rounds/2] > 2 {
				t.Errorf("a message costs %.2f times as much", ratios[rounds/2])
			}
		})
	}
}

// crowd makes local members join a room, as a join over federation would write
// them: straight into the state.
func crowd(t *testing.T, nd *node, id matrix.RoomID, n int) {
	t.Helper()
	rules := stored(t, nd, tips(t, nd, id)[0]).Rules()
	_, err := nd.db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
		r, err := tx.Snapshot(ctx)
		if err != nil {
			return err
		}
		row, err := rooms.ByID(ctx, r, id)
		if err != nil {
			return err
		}
		deltas := make([]rooms.Delta, 0, n)
		for i := range n {
			user := matrix.UserID(fmt.Sprintf("@member%d:one.example", i))
			key := string(user)
			p := event.Proto{RoomID: id, Sender: user, Type: "m.room.member", StateKey: &key,
				Content: json.RawMessage(`{"membership":"join"}`), Depth: 2, OriginServerTS: 1, PrevEvents: row.Tips}
			e, err := p.Build(rules, nd.key)
			if err != nil {
				return err
			}
			nid := int64(tx.Next())
			rooms.InsertEvent(tx, &rooms.Event{Event: e, NID: nid, RoomNID: row.NID, Status: rooms.Outlier})
			rooms.AddMember(tx, rooms.Member{RoomNID: row.NID, User: user, Membership: "join", EventNID: nid, Pos: storage.Position(nid)})
			deltas = append(deltas, rooms.Delta{StateTuple: event.StateTuple{Type: p.Type, StateKey: key}, NewNID: nid})
		}
		if err := rooms.ChangeState(ctx, tx, row.NID, tx.Next(), deltas, false); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE rooms SET joined = joined + $1 WHERE room_nid = $2`, n, row.NID)
		return err
	})
	must(t, err)
	nd.restart()
	verify(t, nd)
}

// TestHotRoom: one room takes at least 60 % of what many rooms take.
func TestHotRoom(t *testing.T) { //nolint:paralleltest // it measures time
	slow(t)
	const rounds, messages = 5, 3000
	for _, engine := range testkit.Engines() {
		t.Run(engine, func(t *testing.T) {
			one := newNetwork().start(t, engine, "one.example")
			hot, many := createRooms(t, one, 1), createRooms(t, one, 64)
			flood(t, one, many, 64, 256)
			var ratios []float64
			for range rounds {
				a, b := flood(t, one, many, 64, messages), flood(t, one, hot, 64, messages)
				ratios = append(ratios, float64(a)/float64(b))
			}
			slices.Sort(ratios)
			t.Logf("one room / many rooms: %.2f", ratios)
			if ratios[rounds/2] < 0.6 {
				t.Errorf("one room takes %.0f %% of many", 100*ratios[rounds/2])
			}
		})
	}
}
