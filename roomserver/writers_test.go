package roomserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// TestWritersOfOneRoomDoNotFork lets 64 writers send messages and state to one
// room. The graph of its events must be a line, in the order of positions.
// BEFFROI_SLOW makes it a minute.
func TestWritersOfOneRoomDoNotFork(t *testing.T) {
	t.Parallel()
	const writers = 64
	each, until := 8, time.Time{}
	if os.Getenv("BEFFROI_SLOW") != "" {
		each, until = 1<<30, time.Now().Add(time.Minute)
	}
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room := createRoom(t, one, alice, "", "private_chat")
		if !until.IsZero() {
			until = time.Now().Add(time.Minute)
		}
		var sent sync.Map
		var number atomic.Int64
		var group sync.WaitGroup
		for w := range writers {
			group.Go(func() {
				for n := 0; n < each && (until.IsZero() || time.Now().Before(until)); n++ {
					req := roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.message", Device: "D",
						TxnID: fmt.Sprint(w, "/", n), Content: json.RawMessage(`{"body":"x"}`)}
					if (w+n)%9 == 0 {
						req.Type, req.StateKey, req.TxnID = "m.room.topic", new(string), ""
						req.Content = json.RawMessage(fmt.Sprintf(`{"topic":"%d %d"}`, w, n))
					}
					id, err := one.Send(context.Background(), req)
					if err != nil {
						t.Error(err)
						return
					}
					if _, twice := sent.LoadOrStore(id, true); twice {
						t.Errorf("%s was answered twice", id)
					}
					number.Add(1)
				}
			})
		}
		group.Wait()
		checkLine(t, one, room, int(number.Load()))
		must(t, one.Work(t.Context()))
		verify(t, one)
	})
}

// checkLine fails where the events of a room are not one line in the order of
// their positions. Besides those that made the room there must be so many.
func checkLine(t *testing.T, nd *node, id matrix.RoomID, sent int) {
	t.Helper()
	var last *rooms.Event
	after, events, made := storage.Position(0), 0, 0
	for {
		var page []*rooms.Event
		must(t, nd.db.View(t.Context(), func(r *storage.Reader) error {
			row, err := rooms.ByID(t.Context(), r, id)
			if err == nil {
				page, err = rooms.Timeline(t.Context(), r, row.NID, after, row.HeadPos, 500, false)
			}
			return err
		}))
		for _, e := range page {
			if last != nil {
				if prev := e.PrevEvents(); len(prev) != 1 || prev[0] != last.ID() || e.Depth() != last.Depth()+1 {
					t.Fatalf("%s at %d does not follow %s at %d", e.ID(), e.Pos, last.ID(), last.Pos)
				}
			}
			if e.IsState() && e.Type() != "m.room.topic" {
				made++
			}
			last, after = e, e.Pos
		}
		if events += len(page); len(page) < 500 {
			break
		}
	}
	if events-made != sent {
		t.Errorf("%d events are stored, %d were sent", events-made, sent)
	}
	if now := tips(t, nd, id); len(now) != 1 || now[0] != last.ID() {
		t.Errorf("the tips are %v", now)
	}
}

// TestClockGoesBack: positions order a room, not times.
func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		var ahead atomic.Int64
		start := time.Now()
		one.now = func() time.Time { return start.Add(time.Duration(ahead.Load())) }
		room := createRoom(t, one, alice, "", "private_chat")
		must(t, one.Work(t.Context()))
		var ids []matrix.EventID
		for i := range 10 {
			if i == 5 {
				ahead.Store(-int64(time.Hour))
				must(t, one.Work(t.Context()))
			}
			ids = append(ids, say(t, one, alice, room, fmt.Sprint(i)))
			topic(t, one, alice, room, fmt.Sprint(i))
			must(t, one.SetReceipt(t.Context(), roomserver.ReceiptRequest{User: alice, Room: room, Type: "m.read", Event: ids[i]}))
		}
		checkLine(t, one, room, 20)
		if a, b := stored(t, one, ids[4]), stored(t, one, ids[5]); a.OriginServerTS() <= b.OriginServerTS() || a.Pos >= b.Pos {
			t.Error("the clock did not go back, or the order did")
		}
		all, _ := walkAll(t, one, roomserver.MessagesRequest{User: alice, Room: room, Limit: 7})
		last := -1
		for i, id := range all {
			if len(ids) > 0 && id == ids[0] {
				if i < last {
					t.Error("out of order")
				}
				last, ids = i, ids[1:]
			}
		}
		if len(ids) > 0 {
			t.Errorf("%d messages are not shown in their order", len(ids))
		}
		must(t, one.Work(t.Context()))
		verify(t, one)
	})
}
