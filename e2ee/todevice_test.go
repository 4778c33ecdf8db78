package e2ee_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/e2ee"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/peers"
)

// inbox returns what a device is given after a position.
func (s *server) inbox(t *testing.T, user matrix.UserID, id matrix.DeviceID, after storage.Position, limit int) (list []keys.Message) {
	t.Helper()
	read(t, s.db, func(r *storage.Reader) (err error) {
		list, err = s.ToDevice(t.Context(), r, user, id, after, 1<<62, limit)
		return err
	})
	return list
}

func TestToDeviceExactlyOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		s.device(t, alice, "PHONE")
		s.device(t, alice, "LAPTOP")
		s.device(t, bob, "B")
		messages := e2ee.Messages{
			alice:                  {"PHONE": json.RawMessage(`{"n":1}`), "NONE": json.RawMessage(`{}`)},
			bob:                    {e2ee.AllDevices: json.RawMessage(`{"n":2}`)},
			"@nobody:here.example": {e2ee.AllDevices: json.RawMessage(`{}`)},
		}
		var group sync.WaitGroup
		for range 8 { // a client that repeats itself
			group.Go(func() {
				if err := s.Send(ctx, bob, "B", "m.test", "txn", messages); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		got := s.inbox(t, alice, "PHONE", 0, 100)
		if len(got) != 1 || got[0].Sender != bob || got[0].Type != "m.test" || got[0].Content != `{"n":1}` {
			t.Errorf("messages %+v", got)
		}
		if n := len(s.inbox(t, alice, "LAPTOP", 0, 100)); n != 0 {
			t.Errorf("%d messages for another device", n)
		}
		if n := len(s.inbox(t, bob, "B", 0, 100)); n != 1 {
			t.Errorf("%d messages for all devices, want 1", n)
		}
		// The same transaction ID for another type is another sending.
		wants(t, s.Send(ctx, bob, "B", "m.other", "txn", messages), "")
		wants(t, s.Send(ctx, bob, "B2", "m.test", "txn", messages), "")
		if n := len(s.inbox(t, alice, "PHONE", 0, 100)); n != 3 {
			t.Errorf("%d messages, want 3", n)
		}
	})
}

func TestToDeviceIsKeptUntilAcknowledged(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		s.device(t, alice, "PHONE")
		for i := range 7 {
			wants(t, s.Send(ctx, bob, "B", "m.test", fmt.Sprint(i), e2ee.Messages{alice: {"PHONE": json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))}}), "")
		}
		first := s.inbox(t, alice, "PHONE", 0, 3)
		again := s.inbox(t, alice, "PHONE", 0, 3) // the answer was lost
		if len(first) != 3 || len(again) != 3 || first[2] != again[2] || first[0].Content != `{"n":0}` {
			t.Fatalf("messages %+v and %+v", first, again)
		}
		token := first[2].Pos
		wants(t, s.Acknowledge(ctx, alice, "PHONE", token), "")
		if left := s.inbox(t, alice, "PHONE", 0, 100); len(left) != 4 || left[0].Content != `{"n":3}` {
			t.Errorf("left %+v", left)
		}
		wants(t, s.Acknowledge(ctx, alice, "PHONE", token), "")
		last := s.inbox(t, alice, "PHONE", token, 100)
		wants(t, s.Acknowledge(ctx, alice, "PHONE", last[len(last)-1].Pos), "")
		if left := s.inbox(t, alice, "PHONE", 0, 100); len(left) != 0 {
			t.Errorf("left %+v", left)
		}
		before := s.db.Statements()
		for range 100 { // an idle client costs nothing
			wants(t, s.Acknowledge(ctx, alice, "PHONE", 1<<60), "")
		}
		if n := s.db.Statements() - before; n > 0 {
			t.Errorf("%d statements for nothing", n)
		}
	})
}

func TestToDevicePoison(t *testing.T) {
	t.Parallel()
	n := newNetwork()
	s := n.add("here.example", testkit.OpenDB(t, "sqlite"))
	s.device(t, alice, "PHONE")
	deep := `{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`
	one := func(content string) e2ee.Messages { return e2ee.Messages{alice: {"PHONE": json.RawMessage(content)}} }
	many := e2ee.Messages{alice: {}}
	for i := range 5001 {
		many[alice][matrix.DeviceID(fmt.Sprint(i))] = json.RawMessage(`{}`)
	}
	for name, tc := range map[string]struct {
		typ, txn string
		messages e2ee.Messages
		code     string
	}{
		"array":       {"m.test", "1", one(`[]`), "M_BAD_JSON"},
		"null":        {"m.test", "1", one(`null`), "M_BAD_JSON"},
		"empty":       {"m.test", "1", one(``), "M_NOT_JSON"},
		"float":       {"m.test", "1", one(`{"a":1.5}`), "M_BAD_JSON"},
		"2^53":        {"m.test", "1", one(`{"a":9007199254740992}`), "M_BAD_JSON"},
		"deep":        {"m.test", "1", one(deep), "M_BAD_JSON"},
		"70 KiB":      {"m.test", "1", one(`{"a":"` + strings.Repeat("x", 70<<10) + `"}`), "M_TOO_LARGE"},
		"grows":       {"m.test", "1", one(`{"a":"` + strings.Repeat("<", 20<<10) + `"}`), "M_TOO_LARGE"},
		"too many":    {"m.test", "1", many, "M_TOO_LARGE"},
		"no user":     {"m.test", "1", e2ee.Messages{"alice": {"PHONE": json.RawMessage(`{}`)}}, "M_INVALID_PARAM"},
		"no device":   {"m.test", "1", e2ee.Messages{alice: {"": json.RawMessage(`{}`)}}, "M_INVALID_PARAM"},
		"device NUL":  {"m.test", "1", e2ee.Messages{alice: {"a\x00": json.RawMessage(`{}`)}}, "M_INVALID_PARAM"},
		"no type":     {"", "1", one(`{}`), "M_INVALID_PARAM"},
		"long type":   {strings.Repeat("t", 256), "1", one(`{}`), "M_INVALID_PARAM"},
		"long txn ID": {"m.test", strings.Repeat("t", 256), one(`{}`), "M_INVALID_PARAM"},
	} {
		if err := s.Send(t.Context(), bob, "B", tc.typ, tc.txn, tc.messages); !matrix.IsCode(err, tc.code) {
			t.Errorf("%s: %v, want %s", name, err, tc.code)
		}
	}
	good := map[string]any{"sender": "@carol:there.example", "type": "m.test", "message_id": "1",
		"messages": map[string]any{string(alice): map[string]any{"PHONE": map[string]any{}}}}
	for name, tc := range map[string]struct {
		key   string
		value any
		code  string
	}{
		"sender of another server": {"sender", "@carol:else.example", "M_FORBIDDEN"},
		"sender of ours":           {"sender", string(alice), "M_FORBIDDEN"},
		"sender of a number":       {"sender", 7, "M_BAD_JSON"},
		"no message ID":            {"message_id", "", "M_INVALID_PARAM"},
		"long message ID":          {"message_id", strings.Repeat("x", 256), "M_INVALID_PARAM"},
		"messages of an array":     {"messages", []int{1}, "M_BAD_JSON"},
		"message of a string":      {"messages", map[string]any{string(alice): map[string]any{"PHONE": "x"}}, "M_BAD_JSON"},
		"message of 70 KiB":        {"messages", map[string]any{string(alice): map[string]any{"PHONE": map[string]any{"a": strings.Repeat("x", 70<<10)}}}, "M_TOO_LARGE"},
	} {
		bad := map[string]any{}
		for k, v := range good {
			bad[k] = v
		}
		bad[tc.key] = tc.value
		raw, err := json.Marshal(bad)
		wants(t, err, "")
		if err := s.ReceiveToDevice(t.Context(), "there.example", raw); !matrix.IsCode(err, tc.code) {
			t.Errorf("%s: %v, want %s", name, err, tc.code)
		}
	}
	if got := s.inbox(t, alice, "PHONE", 0, 100); len(got) > 0 {
		t.Errorf("stored %+v", got)
	}
}

func TestToDeviceAcrossServers(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		n := newNetwork()
		here, there := n.add("here.example", db), n.add("there.example", testkit.OpenDB(t, "sqlite"))
		const carol matrix.UserID = "@carol:there.example"
		messages := e2ee.Messages{carol: {}}
		for i := range 40 { // more than fits into one EDU
			id := matrix.DeviceID(fmt.Sprintf("D%02d", i))
			there.device(t, carol, id)
			messages[carol][id] = json.RawMessage(`{"a":"` + strings.Repeat("<", 700) + `"}`)
		}
		wants(t, here.Send(t.Context(), alice, "PHONE", "m.test", "1", messages), "")
		wants(t, here.Send(t.Context(), alice, "PHONE", "m.test", "1", messages), "")
		var waiting []peers.Queued
		read(t, here.db, func(r *storage.Reader) (err error) {
			waiting, err = peers.QueuedEDUs(t.Context(), r, there.name, 0, 0, 1000)
			return err
		})
		if len(waiting) < 2 {
			t.Errorf("%d EDUs, want some", len(waiting))
		}
		here.deliver(t, there)
		here.sent = 0
		here.deliver(t, there) // the transaction comes twice
		for id := range messages[carol] {
			if got := there.inbox(t, carol, id, 0, 100); len(got) != 1 || got[0].Sender != alice {
				t.Errorf("%s: %d messages", id, len(got))
			}
		}
	})
}

func TestSweepOfMessages(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *server) {
		s.device(t, alice, "PHONE")
		s.publish(t, s.device(t, alice, "LAPTOP"), 2)
		_, err := s.Claim(t.Context(), claimOf(alice, "LAPTOP"))
		wants(t, err, "")
		wants(t, s.Send(t.Context(), bob, "B", "m.test", "1", e2ee.Messages{alice: {"PHONE": json.RawMessage(`{}`)}}), "")
		s.forward(8 * 24 * time.Hour)
		wants(t, s.Sweep(t.Context()), "")
		if n := len(s.inbox(t, alice, "PHONE", 0, 10)); n != 1 {
			t.Errorf("%d messages after a week, want 1", n)
		}
		s.forward(365 * 24 * time.Hour)
		wants(t, s.Sweep(t.Context()), "")
		if n := len(s.inbox(t, alice, "PHONE", 0, 10)); n != 0 {
			t.Errorf("%d messages after a year, want none", n)
		}
	})
}
