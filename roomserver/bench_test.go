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
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/roomserver"
	"beffroi/storage"
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
	gate, err := policystore.Open(b.Context(), policystore.Options{DB: db, Self: "one.example", Development: true})
	if err != nil {
		b.Fatal(err)
	}
	one := newNetwork().startWith(b, db, "one.example", gate)
	ids := make([]matrix.RoomID, count)
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
			req := roomserver.SendRequest{Sender: alice, Room: ids[int(n)%count], Type: "m.room.message", Device: "D",
				TxnID: fmt.Sprint(n), Content: json.RawMessage(`{"msgtype":"m.text","body":"a message of an ordinary length, as people write them"}`)}
			if _, err := one.Send(context.Background(), req); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(db.Statements()-before)/float64(b.N), "statements/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sends/s")
}

// benchmarkFloor writes rows of the size of events, 64 a commit.
func benchmarkFloor(b *testing.B, engine string) {
	db := testkit.OpenDB(b, engine)
	row := storage.NewInsert("cursors", []string{"follower", "pos"}, "")
	text := make([]byte, 900)
	for i := range text {
		text[i] = 'x'
	}
	var next atomic.Int64
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := next.Add(1)
			if _, err := db.Append(context.Background(), func(_ context.Context, tx *storage.Tx) error {
				tx.Insert(row, fmt.Sprint(n)+string(text), int64(tx.Next()))
				return nil
			}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
