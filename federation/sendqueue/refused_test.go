package sendqueue_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/peers"
)

// TestOnePoisonedMessageStopsNothing has a server that refuses, for ever, each
// transaction with one of three messages in it.
func TestOnePoisonedMessageStopsNothing(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, w *world) {
		rc := w.receiver(t, "peer.example")
		rc.mu.Lock()
		rc.refuse = func(txn transaction) bool {
			for _, pdu := range txn.PDUs {
				if pdu.N == 17 || pdu.N == 18 {
					return true
				}
			}
			for _, edu := range txn.EDUs {
				if strings.Contains(string(edu.Content), "poison") {
					return true
				}
			}
			return false
		}
		rc.mu.Unlock()
		w.backoff = func(int) time.Duration { return time.Millisecond }
		w.start(t)
		for _, text := range []string{`"before"`, `"poison"`, `"after"`} {
			if err := w.enqueue(t, text); err != nil {
				t.Fatal(err)
			}
		}
		w.say(t, 120, "peer.example")
		rc.wait(t, "all but three", func() bool { return len(rc.pdus) == 118 && len(rc.edus) == 2 })
		if slices.Contains(rc.pdus, 17) || slices.Contains(rc.pdus, 18) || !slices.IsSorted(rc.pdus) {
			t.Errorf("events %v", rc.pdus)
		}
		w.say(t, 5, "peer.example")
		rc.wait(t, "the rest", func() bool { return len(rc.pdus) == 123 })
		var letters []peers.Refused
		if err := w.db.View(t.Context(), func(r *storage.Reader) (err error) {
			letters, err = peers.RefusedMessages(t.Context(), r, 10)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		var nids []int64
		poison := 0
		for _, l := range letters {
			if !strings.Contains(l.Reason, "not this") || l.Destination != matrix.ServerName("peer.example") || l.At == 0 {
				t.Errorf("dead letter %+v", l)
			}
			if l.EDU == "" {
				nids = append(nids, l.EventNID)
			} else {
				poison++
			}
		}
		if slices.Sort(nids); !slices.Equal(nids, []int64{17, 18}) || poison != 1 {
			t.Errorf("dead letters %+v", letters)
		}
	})
}

// TestARefusalOfTheServerItselfLosesNothing has a server that lets nobody in
// for a while: what waits stays.
func TestARefusalOfTheServerItselfLosesNothing(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, w *world) {
		rc := w.receiver(t, "peer.example")
		rc.respond(closed)
		w.backoff = func(int) time.Duration { return time.Millisecond }
		w.start(t)
		w.say(t, 3, "peer.example")
		rc.wait(t, "many attempts", func() bool { return rc.requests > 10 })
		rc.respond(nil)
		rc.wait(t, "everything", func() bool { return len(rc.pdus) == 3 })
		if !inOrder(rc.pdus, 3) {
			t.Errorf("events %v", rc.pdus)
		}
	})
}

func closed(w http.ResponseWriter, _ *http.Request) bool {
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write([]byte(`{"errcode":"M_FORBIDDEN","error":"closed"}`))
	return false
}

func (w *world) enqueue(t *testing.T, text string) error {
	t.Helper()
	_, err := w.db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
		return peers.AddEDU(ctx, tx, []matrix.ServerName{"peer.example"}, edu(text), "")
	})
	return err
}
