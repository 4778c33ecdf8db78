package roomserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// BenchmarkSend sends durable messages from many goroutines at a time, to one
// room and to many. The floor is what the engine takes for the same rows.
func BenchmarkSend(b *testing.B) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	for _, engine := range testkit.Engines() {
		for _, count := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/rooms=%d", engine, count), func(b *testing.B) { benchmarkSend(b, engine, count) })
		}
		b.Run(engine+"/floor", func(b *testing.B) { benchmarkFloor(b, engine) })
	}
}

func benchmarkSend(b *testing.B, engine string, count int) {
	db := testkit.OpenDB(b, engine)
	one := newNetwork().startWith(b, db, "one.example", permissive(b, db))
	ids, err := make([]matrix.RoomID, count), error(nil)
	for i := range ids {
		if ids[i], err = one.CreateRoom(b.Context(), roomserver.CreateRequest{CreateRequest: policy.CreateRequest{Creator: alice}}); err != nil {
			b.Fatal(err)
		}
	}
	var next atomic.Int64
	before := db.Statements()
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := next.Add(1)
			if _, err := one.Send(context.Background(), message(ids[int(n)%count], fmt.Sprint(n))); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(db.Statements()-before)/float64(b.N), "statements/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sends/s")
}

// benchmarkFloor writes the rows of such messages, with what the engine keeps in
// order for them, and does nothing else: nothing is built, signed or judged,
// and the room is not advanced.
func benchmarkFloor(b *testing.B, engine string) {
	db := testkit.OpenDB(b, engine)
	one := newNetwork().startWith(b, db, "one.example", permissive(b, db))
	room, err := one.CreateRoom(b.Context(), roomserver.CreateRequest{CreateRequest: policy.CreateRequest{Creator: alice}})
	if err != nil {
		b.Fatal(err)
	}
	sent, err := one.Send(b.Context(), message(room, "first"))
	if err != nil {
		b.Fatal(err)
	}
	var model *rooms.Event
	if err := db.View(b.Context(), func(r *storage.Reader) (err error) {
		model, err = rooms.EventIn(b.Context(), r, room, sent)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := fmt.Sprintf("%012d", next.Add(1))
			id := matrix.EventID(string(sent)[:len(sent)-len(n)] + n)
			e, err := event.ParseStored(model.JSON(), id, model.Rules())
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := db.Append(context.Background(), func(_ context.Context, tx *storage.Tx) error {
				row := *model
				row.Event, row.Pos = e, tx.Next()
				row.NID = int64(row.Pos)
				rooms.InsertEvent(tx, &row)
				rooms.AddTransaction(tx, alice, "D", n, id, e.OriginServerTS())
				return nil
			}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func permissive(b *testing.B, db *storage.DB) *policystore.Store {
	gate, err := policystore.Open(b.Context(), policystore.Options{DB: db, Self: "one.example", Development: true})
	if err != nil {
		b.Fatal(err)
	}
	return gate
}

func message(room matrix.RoomID, txn string) roomserver.SendRequest {
	return roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.message", Device: "D", TxnID: txn,
		Content: json.RawMessage(`{"msgtype":"m.text","body":"a message of an ordinary length, as people write them"}`)}
}
