package syncapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"beffroi/e2ee"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/keys"
)

func TestAccountDataIsTold(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room, other := s.create(alice, "private_chat", bob), s.create(alice, "private_chat", bob)
		s.data(bob, "", "org.a", `{"a":1}`)
		s.data(bob, "", "m.push_rules", `{"defaults":{},"global":{"override":[]},"own":{}}`)
		s.data(bob, room, "m.tag", `{"tags":{}}`)
		s.join(bob, other)
		c := s.client(bob)
		got := c.sync()
		if e := got.AccountData.find("org.a", ""); e == nil || string(e.Content) != `{"a":1}` {
			t.Errorf("account data %+v", got.AccountData)
		}
		if e := got.AccountData.find("m.push_rules", ""); e == nil || string(e.Content) != `{"global":{"override":[]}}` {
			t.Errorf("push rules %+v", e)
		}
		s.data(bob, "", "org.a", `{"a":2}`)
		s.data(bob, other, "m.fully_read", `{"event_id":"$x"}`)
		got = c.sync()
		if len(got.AccountData.Events) != 1 || string(got.AccountData.Events[0].Content) != `{"a":2}` {
			t.Errorf("what changed: %+v", got.AccountData)
		}
		if r := got.Rooms.Join[other]; r == nil || r.AccountData.find("m.fully_read", "") == nil {
			t.Errorf("data of a room: %+v", got.Rooms)
		}
		s.join(bob, room)
		if r := c.sync().Rooms.Join[room]; r == nil || r.AccountData.find("m.tag", "") == nil {
			t.Errorf("data of a room that was entered: %+v", r)
		}
		if got := s.client(alice).sync(); got.AccountData.find("org.a", "") != nil {
			t.Error("account data of another account")
		}
	})
}

func TestReceiptsAreTold(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room := s.create(alice, "private_chat", bob)
		s.join(bob, room)
		id := s.say(alice, room, "1")
		as, bs := s.client(alice), s.client(bob)
		as.sync()
		bs.sync()
		read := func(user matrix.UserID, typ string, thread *string) {
			t.Helper()
			s.do(s.rooms.SetReceipt(t.Context(), roomserver.ReceiptRequest{User: user, Room: room, Type: typ, Thread: thread, Event: id}))
		}
		read(bob, "m.read.private", nil)
		if got := as.sync(); len(got.Rooms.Join) != 0 {
			t.Errorf("a private receipt of somebody else: %+v", got.Rooms.Join[room])
		}
		check := func(c *client, path ...string) {
			t.Helper()
			r := c.sync().Rooms.Join[room]
			if r == nil {
				t.Fatalf("%q: no room", path)
			}
			for _, e := range r.Ephemeral.Events {
				var content map[string]map[string]map[string]struct {
					TS     int64  `json:"ts"`
					Thread string `json:"thread_id"`
				}
				if err := json.Unmarshal(e.Content, &content); err != nil || e.Type != "m.receipt" {
					t.Errorf("%s: %v", e.Content, err)
				}
				if got, ok := content[string(id)][path[0]][path[1]]; ok && got.TS > 0 && got.Thread == path[2] {
					return
				}
			}
			t.Errorf("no receipt %q in %+v", path, r.Ephemeral)
		}
		check(bs, "m.read.private", string(bob), "")
		read(bob, "m.read", nil)
		read(bob, "m.read", new("main"))
		as2 := s.client(alice).with(func(r *syncRequest) { r.Since = as.req.Since })
		check(as, "m.read", string(bob), "")
		check(as2, "m.read", string(bob), "main")
		check(s.client(alice), "m.read", string(bob), "main")
		if got := as.sync(); len(got.Rooms.Join) != 0 {
			t.Error("a receipt is told twice")
		}
	})
}

func TestTypingIsTold(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		room := s.create(alice, "private_chat", bob)
		s.join(bob, room)
		c := s.client(bob)
		c.sync()
		check := func(what string, got *answer, want string) {
			t.Helper()
			r := got.Rooms.Join[room]
			if r == nil || r.Ephemeral.find("m.typing", "") == nil || string(r.Ephemeral.Events[0].Content) != want {
				t.Fatalf("%s: %+v", what, r)
			}
			if what != "is typing" && len(r.Timeline.Events) != 0 {
				t.Errorf("%s: timeline %q", what, r.Timeline.bodies())
			}
			c.req.Since = got.NextBatch
		}
		waiting := c.await()
		s.do(s.rooms.SetTyping(t.Context(), alice, room, true, 30*time.Second))
		check("begins", <-waiting, `{"user_ids":["@alice:here"]}`)
		check("is typing", s.client(bob).sync(), `{"user_ids":["@alice:here"]}`)
		waiting = c.await()
		s.do(s.rooms.SetTyping(t.Context(), alice, room, false, 0))
		check("stops", <-waiting, `{"user_ids":[]}`)
		if got := c.sync(); len(got.Rooms.Join) != 0 {
			t.Errorf("told twice: %+v", got.Rooms.Join[room])
		}
		if got := s.client(bob).sync(); len(got.Rooms.Join[room].Ephemeral.Events) > 0 {
			t.Errorf("nobody types: %+v", got.Rooms.Join[room].Ephemeral)
		}
	})
}

func TestMessagesToADeviceStayUntilTheyAreAcknowledged(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		s.device(bob, "D")
		s.device(bob, "E")
		send := func(txn string, n int) {
			t.Helper()
			content := json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))
			s.do(s.keys.Send(t.Context(), alice, "A", "m.room_key", txn, e2ee.Messages{bob: {"D": content}}))
		}
		c, other := s.client(bob), s.client(bob).with(func(r *syncRequest) { r.Device = "E" })
		c.sync()
		other.sync()
		send("t", 0)
		send("t", 0) // repeated
		for range 2 {
			if got := c.peek(); len(got.ToDevice.Events) != 1 || got.ToDevice.Events[0].Sender != alice || got.ToDevice.Events[0].Type != "m.room_key" {
				t.Fatalf("to device %+v", got.ToDevice)
			}
		}
		if got := other.sync(); len(got.ToDevice.Events) != 0 {
			t.Error("another device got it")
		}
		c.sync()
		if got := c.sync(); len(got.ToDevice.Events) != 0 {
			t.Error("a message came twice")
		}
		if left := s.waiting(bob, "D"); left != 0 {
			t.Errorf("%d messages are left", left)
		}
		const many = 250
		for n := range many {
			send(fmt.Sprint("n", n), n)
		}
		seen := 0
		for seen < many {
			got := c.sync()
			if len(got.ToDevice.Events) == 0 {
				t.Fatalf("%d of %d messages", seen, many)
			}
			for _, e := range got.ToDevice.Events {
				if want := fmt.Sprintf(`{"n":%d}`, seen); string(e.Content) != want {
					t.Fatalf("message %s, want %s", e.Content, want)
				}
				seen++
			}
		}
		if got := c.sync(); len(got.ToDevice.Events) != 0 || s.waiting(bob, "D") != 0 {
			t.Errorf("%d messages more", len(got.ToDevice.Events))
		}
		waiting := c.await()
		send("last", 1)
		if got := <-waiting; len(got.ToDevice.Events) != 1 {
			t.Errorf("who waits gets %+v", got.ToDevice)
		}
	})
}

func (s *server) waiting(user matrix.UserID, device matrix.DeviceID) (n int) {
	s.t.Helper()
	s.do(s.db.View(s.t.Context(), func(r *storage.Reader) error {
		list, err := keys.Messages(s.t.Context(), r, user, device, 0, 1<<40, 1000)
		n = len(list)
		return err
	}))
	return n
}

func TestKeyCountsAreTold(t *testing.T) {
	story(t, func(t *testing.T, s *server) {
		s.device(bob, "D")
		c := s.client(bob)
		if got := c.sync(); got.Counts["signed_curve25519"] != 0 || got.Fallback == nil {
			t.Errorf("no keys: %+v", got)
		}
		slot := keys.SlotOf(bob, "D", "signed_curve25519")
		add := func(n int) {
			s.append(func(ctx context.Context, tx *storage.Tx) error {
				for i := range n {
					keys.AddOneTimeKey(tx, keys.OneTimeKey{Slot: slot, ID: fmt.Sprint(i), JSON: "{}"})
				}
				keys.CountsChanged(tx, bob, "D")
				return keys.SetFallbackKey(ctx, tx, keys.OneTimeKey{Slot: slot, ID: "f", JSON: "{}"})
			})
		}
		add(3)
		if got := c.sync(); got.Counts["signed_curve25519"] != 3 || len(got.Fallback) != 1 {
			t.Errorf("uploaded: %+v", got)
		}
		waiting := c.await()
		if _, err := s.keys.Claim(t.Context(), e2ee.Claim{OneTimeKeys: map[matrix.UserID]map[matrix.DeviceID]string{
			bob: {"D": "signed_curve25519"}}}); err != nil {
			t.Fatal(err)
		}
		if got := <-waiting; got.Counts["signed_curve25519"] != 2 {
			t.Errorf("claimed: %+v", got)
		}
	})
}
