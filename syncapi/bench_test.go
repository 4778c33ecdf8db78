package syncapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/users"
)

const lazyFilter = `{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":10}}}`

// populate makes rooms with some members and messages.
func (s *server) populate(count, members, messages int) (ids []matrix.RoomID) {
	s.t.Helper()
	for n := range count {
		room := s.create(alice, "public_chat")
		s.set(alice, room, "m.room.name", "", fmt.Sprintf(`{"name":"Room %d"}`, n))
		s.join(bob, room)
		for m := range members {
			s.join(matrix.UserID(fmt.Sprintf("@user%d:here", m)), room)
		}
		for m := range messages {
			s.say(alice, room, fmt.Sprintf("message %d of room %d, which is about as long as people write", m, n))
		}
		ids = append(ids, room)
	}
	return ids
}

func eachEngine(b *testing.B, fn func(b *testing.B, s *server)) {
	for _, engine := range testkit.Engines() {
		b.Run(engine, func(b *testing.B) { fn(b, build(b, testkit.OpenDB(b, engine))) })
	}
}

func BenchmarkIdleSync(b *testing.B) {
	eachEngine(b, func(b *testing.B, s *server) {
		stop := s.follow()
		s.populate(20, 0, 1)
		c := s.client(bob)
		c.sync()
		c.sync()
		req := c.req
		stop() // its tick looks at the log, which is not the work of a sync
		before := s.db.Statements()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.sync.Sync(b.Context(), req); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(s.db.Statements()-before)/float64(b.N), "statements/op")
	})
}

func BenchmarkFirstSyncOf200Rooms(b *testing.B) {
	eachEngine(b, func(b *testing.B, s *server) {
		b.Cleanup(s.follow())
		s.populate(200, 3, 10)
		s.append(func(ctx context.Context, tx *storage.Tx) error {
			return users.AddFilter(ctx, tx, bob, "lazy", lazyFilter, 1, 10)
		})
		req := s.client(bob).with(filtered("lazy")).req
		before := s.db.Statements()
		var size int
		b.ReportAllocs()
		for b.Loop() {
			out, err := s.sync.Sync(b.Context(), req)
			if err != nil {
				b.Fatal(err)
			}
			size = len(out)
		}
		b.ReportMetric(float64(s.db.Statements()-before)/float64(b.N), "statements/op")
		b.ReportMetric(float64(size), "bytes")
	})
}

// BenchmarkSendToOther is from the send of a message to the end of the sync of
// somebody who waits for it.
func BenchmarkSendToOther(b *testing.B) {
	eachEngine(b, func(b *testing.B, s *server) {
		b.Cleanup(s.follow())
		room := s.populate(50, 3, 1)[7]
		c := s.client(bob).with(filtered(lazyFilter))
		c.sync()
		var sent time.Duration
		content := json.RawMessage(`{"body":"hello","msgtype":"m.text"}`)
		for b.Loop() {
			waiting := c.await()
			begin := time.Now()
			s.send(roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.message", Content: content})
			sent += time.Since(begin)
			c.req.Since = (<-waiting).NextBatch
		}
		b.ReportMetric(float64(sent.Microseconds())/float64(b.N), "µs-to-send/op")
	})
}
