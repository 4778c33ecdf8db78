package roomserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/policy"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

func TestRedactionsWithoutPowerDoNothing(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		secret := say(t, g.one, alice, g.room, "secret")
		redaction := g.forge(event.Proto{Type: "m.room.redaction", Redacts: secret, Content: json.RawMessage(`{}`)})
		must(t, g.send(redaction))
		if e := g.known(secret); e.RedactedBy != "" {
			t.Errorf("redacted by %s", e.RedactedBy)
		}
		g.unharmed()
	})
}

func TestRedactionBeforeItsEvent(t *testing.T) {
	t.Parallel()
	eachSiege(t, func(t *testing.T, g *siege) {
		own := g.forge(event.Proto{Content: json.RawMessage(`{"body":"mine"}`)})
		late := g.forge(event.Proto{Content: json.RawMessage(`{"body":"late"}`)})
		for _, target := range []*event.Event{own, late} {
			must(t, g.send(g.forge(event.Proto{Type: "m.room.redaction", Redacts: target.ID(), Content: json.RawMessage(`{}`)})))
		}
		// One comes by itself, the other was told as an auth event or a state before.
		must(t, g.send(own))
		g.net.lie("evil.example", &lies{
			missing:  func([]matrix.EventID) ([][]byte, error) { return nil, nil },
			stateIDs: func(matrix.EventID) ([]matrix.EventID, []matrix.EventID, error) { return g.stateIDs(), nil, nil },
			event:    func(matrix.EventID) ([]byte, error) { return late.JSON(), nil },
		})
		must(t, g.send(g.forge(event.Proto{PrevEvents: []matrix.EventID{late.ID()}})))
		g.want(late, rooms.Outlier)
		must(t, g.send(late))
		for _, target := range []*event.Event{own, late} {
			g.want(target, rooms.Accepted)
			if e := g.known(target.ID()); e.RedactedBy == "" || string(e.Content()) != "{}" {
				t.Errorf("content %s, redacted by %q", e.Content(), e.RedactedBy)
			}
		}
		g.unharmed()
	})
}

func TestCancelledSendsHoldNothingUp(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room := createRoom(t, one, alice, "", "private_chat")
		var group sync.WaitGroup
		for w := range 16 {
			group.Go(func() {
				for i := range 10 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(w*i)*20*time.Microsecond)
					_, _ = one.Send(ctx, roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.topic", StateKey: new(string),
						Content: json.RawMessage(fmt.Sprintf(`{"topic":"%d %d"}`, w, i))})
					cancel()
				}
			})
		}
		group.Wait()
		say(t, one, alice, room, "nobody holds the room")
		if n := len(tips(t, one, room)); n != 1 {
			t.Errorf("%d tips", n)
		}
		verify(t, one)
	})
}

// TestACommitThatFailsTakesNoOtherWithIt lets writers repeat a transaction at
// the same time: its second commit fails, after others were prepared on top.
func TestACommitThatFailsTakesNoOtherWithIt(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room := createRoom(t, one, alice, "", "private_chat")
		var mu sync.Mutex
		sent := make(map[string]map[matrix.EventID]bool)
		var group sync.WaitGroup
		for w := range 8 {
			group.Go(func() {
				for i := range 10 {
					txn := fmt.Sprint("same ", i)
					if w%2 == 0 {
						txn = fmt.Sprint(w, " ", i)
					}
					id, err := one.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.message", Device: "D", TxnID: txn,
						Content: json.RawMessage(fmt.Sprintf(`{"body":%q}`, txn))})
					if err != nil {
						t.Errorf("%s: %v", txn, err)
						continue
					}
					mu.Lock()
					if sent[txn] == nil {
						sent[txn] = make(map[matrix.EventID]bool)
					}
					sent[txn][id] = true
					mu.Unlock()
				}
			})
		}
		group.Wait()
		for txn, ids := range sent {
			if len(ids) != 1 {
				t.Errorf("%q became %d events", txn, len(ids))
			}
			for id := range ids {
				stored(t, one, id)
			}
		}
		verify(t, one)
	})
}

// TestACommitPreparedOnAFailedOneConflicts gives a room a second writer, as
// another node of a cluster is: what was prepared on top of a commit that lost
// must not be written, though the number of events is right again.
func TestACommitPreparedOnAFailedOneConflicts(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		net := newNetwork()
		one := net.startWith(t, db, "one.example", openGate(t, db, "one.example"))
		room := createRoom(t, one, alice, "", "private_chat")
		other := &node{db: db, gate: one.gate, now: one.now, key: one.key, net: net}
		other.restart()
		var group sync.WaitGroup
		var sent atomic.Int64
		for _, nd := range []*node{one, other} {
			for w := range 4 {
				group.Go(func() {
					for i := range 10 {
						if _, err := nd.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.message",
							Content: json.RawMessage(fmt.Sprintf(`{"body":"%d %d"}`, w, i))}); err != nil {
							t.Log(err) // it may lose too often; it must not break the room
							continue
						}
						sent.Add(1)
					}
				})
			}
		}
		group.Wait()
		checkLine(t, one, room, int(sent.Load()))
		verify(t, one)
	})
}

func TestRoomsOfOneMillisecondAreTwo(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
		at := one.now()
		one.now = func() time.Time { return at }
		var mu sync.Mutex
		seen := make(map[matrix.RoomID]bool)
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				id, err := one.CreateRoom(t.Context(), roomserver.CreateRequest{CreateRequest: policy.CreateRequest{Creator: alice, Version: "12"}})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				seen[id] = true
			})
		}
		group.Wait()
		if len(seen) != 4 {
			t.Errorf("%d rooms", len(seen))
		}
		verify(t, one)
	})
}
