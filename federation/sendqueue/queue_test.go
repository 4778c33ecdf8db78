package sendqueue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/peers"
)

func edu(content string) peers.EDU {
	return peers.EDU{Type: "m.test", Content: json.RawMessage(content)}
}

func TestNothingIsLostWhileAServerIsAway(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, w *world) {
		up, away := w.receiver(t, "up.example"), w.receiver(t, "away.example")
		away.respond(down)
		w.start(t)
		const n = 230
		w.say(t, n, "up.example", "away.example", "self.example")
		up.wait(t, "everything", func() bool { return len(up.pdus) == n })
		away.wait(t, "a second attempt", func() bool { return away.requests > 1 })
		away.respond(nil)
		w.queue.WakeUp("away.example")
		away.wait(t, "everything", func() bool { return len(away.pdus) >= n })
		for _, rc := range []*receiver{up, away} {
			rc.mu.Lock()
			if !inOrder(rc.pdus, n) {
				t.Errorf("%s has %v", rc.name, rc.pdus)
			}
			for _, size := range rc.sizes {
				if size[0] > 50 {
					t.Errorf("a transaction has %d PDUs", size[0])
				}
			}
			rc.mu.Unlock()
		}
		if transactions := len(away.order); transactions > 6 {
			t.Errorf("%d events took %d transactions", n, transactions)
		}
	})
}

func TestTransactionIsRepeatedAfterARestart(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, w *world) {
		rc := w.receiver(t, "peer.example")
		attempts := make(chan string, 100) // more than the test makes
		answerLost := func(res http.ResponseWriter, r *http.Request) bool {
			attempts <- r.PathValue("txn")
			return down(res, r)
		}
		rc.respond(answerLost)
		w.backoff = func(int) time.Duration { return time.Millisecond }
		w.start(t)
		w.say(t, 3, "peer.example")
		if err := w.queue.SendEDU(t.Context(), []matrix.ServerName{"peer.example"}, edu(`"durable"`), "k"); err != nil {
			t.Fatal(err)
		}
		first := <-attempts
		w.say(t, 60, "peer.example") // after the transaction under way
		if second := <-attempts; second != first {
			t.Errorf("repeated as %s, want %s", second, first)
		}
		w.restart(t)
		for range len(attempts) {
			<-attempts
		}
		if third := <-attempts; third != first {
			t.Errorf("after the restart it is %s, want %s", third, first)
		}
		rc.respond(nil)
		rc.wait(t, "everything", func() bool { return len(rc.pdus) == 63 && len(rc.edus) == 1 })
		if rc.order[0] != first || !inOrder(rc.pdus, 63) {
			t.Errorf("transactions %v, events %v", rc.order, rc.pdus)
		}
		w.restart(t)
		w.say(t, 1, "peer.example")
		rc.wait(t, "the next", func() bool { return len(rc.pdus) >= 64 })
		if !inOrder(rc.pdus, 64) {
			t.Errorf("events %v: something came twice", rc.pdus)
		}
	})
}

func TestEDUsDoNotWaitForEvents(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, w *world) {
		rc := w.receiver(t, "peer.example")
		rc.respond(down)
		w.backoff = func(int) time.Duration { return time.Hour }
		w.start(t)
		w.say(t, 1, "peer.example") // fails, and holds back the rest
		rc.wait(t, "the first attempt", func() bool { return rc.requests == 1 })
		w.say(t, 400, "peer.example")
		if _, err := w.db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error { // as an owner does
			for i := range 250 {
				if err := peers.AddEDU(ctx, tx, []matrix.ServerName{"peer.example"}, edu(fmt.Sprint(i)), ""); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		rc.respond(nil)
		w.queue.WakeUp("peer.example")
		rc.wait(t, "everything", func() bool { return len(rc.pdus) == 401 && len(rc.edus) == 250 })
		if !inOrder(rc.pdus, 401) || rc.edus[0] != "0" || rc.edus[249] != "249" {
			t.Errorf("events %v, EDUs %v", rc.pdus, rc.edus)
		}
		want := [][2]int{{1, 0}, {50, 100}, {50, 100}, {50, 50}, {50, 0}}
		if !slices.Equal(rc.sizes[:5], want) {
			t.Errorf("transactions have %v, want %v first", rc.sizes, want)
		}
	})
}

func TestASlowServerDelaysNoOther(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, w *world) {
		slow, fast := w.receiver(t, "slow.example"), w.receiver(t, "fast.example")
		hang := make(chan struct{})
		t.Cleanup(func() { close(hang) })
		slow.respond(func(_ http.ResponseWriter, r *http.Request) bool {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			return false
		})
		w.start(t)
		w.say(t, 1, "slow.example", "fast.example")
		slow.wait(t, "a request", func() bool { return slow.requests == 1 })
		w.say(t, 20, "slow.example", "fast.example")
		fast.wait(t, "everything", func() bool { return len(fast.pdus) == 21 })
	})
}

func TestDeniedServerGetsNothing(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, w *world) {
		denied, good := w.receiver(t, "denied.example"), w.receiver(t, "good.example")
		later := w.receiver(t, "later.example")
		later.respond(down)
		w.gate.denied["denied.example"] = true
		w.start(t)
		w.say(t, 2, "denied.example", "good.example", "later.example")
		if err := w.queue.SendEDU(t.Context(), []matrix.ServerName{"denied.example"}, edu("1"), ""); err != nil {
			t.Fatal(err)
		}
		later.wait(t, "an attempt", func() bool { return later.requests > 0 })
		w.gate.mu.Lock()
		w.gate.denied["later.example"] = true // what waits for it must go too
		w.gate.mu.Unlock()
		good.wait(t, "everything", func() bool { return len(good.pdus) == 2 })
		backlog := func() (names []matrix.ServerName) {
			if err := w.db.View(t.Context(), func(r *storage.Reader) (err error) {
				names, err = peers.Backlog(t.Context(), r)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			// What this test says to keep the queue looking is on its way to good.example.
			return slices.DeleteFunc(names, func(name matrix.ServerName) bool { return name == "good.example" })
		}
		for deadline := time.Now().Add(20 * time.Second); len(backlog()) > 0; {
			if time.Now().After(deadline) {
				t.Fatalf("something waits for %v", backlog())
			}
			w.say(t, 1, "good.example") // each commit makes the queue look again
		}
		if denied.requests > 0 || w.gate.asked == 0 {
			t.Errorf("%d requests, the gate was asked %d times", denied.requests, w.gate.asked)
		}
	})
}

func TestEphemeral(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, w *world) {
		rc, away := w.receiver(t, "peer.example"), w.receiver(t, "away.example")
		to := []matrix.ServerName{"peer.example", "away.example", "self.example"}
		away.respond(down)
		w.backoff = func(int) time.Duration { return time.Hour }
		w.start(t)
		w.say(t, 1, "away.example")
		away.wait(t, "an attempt", func() bool { return away.requests == 1 })
		for i := range 3 {
			if err := w.queue.SendEphemeral(to, edu(fmt.Sprint(i)), "typing in !r"); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.queue.SendEphemeral(to, edu(`"other"`), ""); err != nil {
			t.Fatal(err)
		}
		rc.wait(t, "the newest", func() bool { return slices.Contains(rc.edus, "2") && slices.Contains(rc.edus, `"other"`) })
		away.respond(nil)
		w.queue.WakeUp("away.example")
		away.wait(t, "the event", func() bool { return len(away.pdus) == 1 })
		w.say(t, 1, "away.example")
		away.wait(t, "another", func() bool { return len(away.pdus) == 2 })
		if slices.Contains(away.edus, "0") || slices.Contains(away.edus, "1") {
			t.Errorf("a server that was away has got %v", away.edus)
		}
		huge := edu(`"` + string(make([]byte, 0)) + fmt.Sprintf("%070000d", 0) + `"`)
		if err := w.queue.SendEphemeral(to, huge, ""); !matrix.IsCode(err, "M_TOO_LARGE") {
			t.Errorf("error is %v, want M_TOO_LARGE", err)
		}
	})
}

func TestWaitSurvivesARestart(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, w *world) {
		rc, other := w.receiver(t, "peer.example"), w.receiver(t, "other.example")
		rc.respond(down)
		w.backoff = func(int) time.Duration { return time.Hour }
		w.start(t)
		w.say(t, 1, "peer.example")
		rc.wait(t, "an attempt", func() bool { return rc.requests == 1 })
		for d := (peers.Destination{}); d.Failures == 0; { // written after the answer has come
			if err := w.db.View(t.Context(), func(r *storage.Reader) (err error) {
				d, err = peers.ReadDestination(t.Context(), r, "peer.example")
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		w.restart(t)
		w.say(t, 1, "peer.example", "other.example")
		other.wait(t, "the event", func() bool { return len(other.pdus) == 1 })
		for range 100 { // it speaks but does not listen: once is enough
			w.queue.WakeUp("peer.example")
		}
		rc.wait(t, "a second attempt", func() bool { return rc.requests == 2 })
		w.say(t, 1, "other.example")
		other.wait(t, "the next", func() bool { return len(other.pdus) == 2 })
		rc.mu.Lock()
		defer rc.mu.Unlock()
		if rc.requests != 2 {
			t.Errorf("%d requests in an hour's wait", rc.requests)
		}
	})
}
