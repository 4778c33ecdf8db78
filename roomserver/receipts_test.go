package roomserver_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

func TestReceipts(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		net := newNetwork()
		one, out := net.startTalking(t, db, "one.example", openGate(t, db, "one.example"))
		two := net.start(t, "sqlite", "two.example")
		room, marks := tell(t, one, "shared", tale{"m1", "m2", "invite", "join"})
		must(t, one.Invite(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: carol, Room: room}))
		must(t, two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room, Via: []matrix.ServerName{"one.example"}}))
		reply, err := one.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.message",
			Content: json.RawMessage(fmt.Sprintf(`{"m.relates_to":{"rel_type":"m.thread","event_id":%q}}`, marks["m1"]))})
		must(t, err)

		main, root, other := "main", string(marks["m1"]), string(marks["m2"])
		empty := ""
		steps := []struct {
			name  string
			req   roomserver.ReceiptRequest
			code  string // of the error
			edus  int
			holds matrix.EventID // the receipt afterwards
		}{
			{"first", roomserver.ReceiptRequest{Type: "m.read", Event: marks["m2"]}, "", 1, marks["m2"]},
			{"back", roomserver.ReceiptRequest{Type: "m.read", Event: marks["m1"]}, "", 0, marks["m2"]},
			{"again", roomserver.ReceiptRequest{Type: "m.read", Event: marks["m2"]}, "", 0, marks["m2"]},
			{"private", roomserver.ReceiptRequest{Type: "m.read.private", Event: marks["m1"]}, "", 0, marks["m1"]},
			{"in main", roomserver.ReceiptRequest{Type: "m.read", Thread: &main, Event: marks["m1"]}, "", 1, marks["m1"]},
			{"in a thread", roomserver.ReceiptRequest{Type: "m.read", Thread: &root, Event: reply}, "", 1, reply},
			{"in no thread", roomserver.ReceiptRequest{Type: "m.read", Thread: &main, Event: reply}, "M_INVALID_PARAM", 0, marks["m1"]},
			{"in another thread", roomserver.ReceiptRequest{Type: "m.read", Thread: &other, Event: reply}, "M_INVALID_PARAM", 0, ""},
			{"an empty thread", roomserver.ReceiptRequest{Type: "m.read", Thread: &empty, Event: reply}, "M_INVALID_PARAM", 0, marks["m2"]},
			{"of an unknown type", roomserver.ReceiptRequest{Type: "m.seen", Event: marks["m1"]}, "M_INVALID_PARAM", 0, ""},
			{"for nothing", roomserver.ReceiptRequest{Type: "m.read", Event: "$none"}, "M_NOT_FOUND", 0, marks["m2"]},
		}
		for _, step := range steps {
			step.req.User, step.req.Room = bob, room
			err := one.SetReceipt(t.Context(), step.req)
			if (err != nil || step.code != "") && !matrix.IsCode(err, step.code) {
				t.Errorf("%s: %v, want %q", step.name, err, step.code)
			}
			if n := len(out.take()); n != step.edus {
				t.Errorf("%s: %d EDUs, want %d", step.name, n, step.edus)
			}
			thread := ""
			if step.req.Thread != nil {
				thread = *step.req.Thread
			}
			if got := one.receipt(t, room, bob, step.req.Type, thread); got != step.holds {
				t.Errorf("%s: the receipt is for %s, want %s", step.name, got, step.holds)
			}
		}
		if err := one.SetReceipt(t.Context(), roomserver.ReceiptRequest{User: "@dan:one.example", Room: room, Type: "m.read", Event: reply}); !matrix.IsCode(err, "M_FORBIDDEN") {
			t.Errorf("a receipt of a stranger: %v", err)
		}
	})
}

func (nd *node) receipt(t *testing.T, room matrix.RoomID, user matrix.UserID, typ, thread string) (id matrix.EventID) {
	t.Helper()
	must(t, nd.db.View(t.Context(), func(r *storage.Reader) error {
		row, err := rooms.ByID(t.Context(), r, room)
		if err != nil {
			return err
		}
		head, err := storage.Head(t.Context(), r)
		if err != nil {
			return err
		}
		list, err := rooms.Receipts(t.Context(), r, []int64{row.NID}, 0, head)
		for _, rc := range list {
			if rc.User == user && rc.Type == typ && rc.ThreadID == thread {
				id = rc.EventID
			}
		}
		return err
	}))
	return id
}

func TestReceiptsOfOthers(t *testing.T) {
	t.Parallel()
	net := newNetwork()
	one, two := net.start(t, "sqlite", "one.example"), net.start(t, "sqlite", "two.example")
	room := createRoom(t, one, alice, "", "public_chat")
	must(t, two.Join(t.Context(), roomserver.JoinRequest{User: carol, Room: room, Via: []matrix.ServerName{"one.example"}}))
	early, late := say(t, one, alice, room, "early"), say(t, one, alice, room, "late")
	give := func(origin matrix.ServerName, typ string, user matrix.UserID, data string, ids ...matrix.EventID) error {
		raw, _ := json.Marshal(ids)
		return one.ReceiveReceipts(t.Context(), origin, fmt.Appendf(nil, `{%q:{%q:{%q:{"data":%s,"event_ids":%s}}}}`, room, typ, user, data, raw))
	}
	const now = `{"ts":5}`
	must(t, give("three.example", "m.read", carol, now, late))       // not its user
	must(t, give("two.example", "m.read.private", carol, now, late)) // nobody's business
	must(t, give("two.example", "m.read", "@eve:two.example", now, late))
	must(t, give("two.example", "m.read", carol, `{"ts":-1}`, late))
	must(t, give("two.example", "m.read", carol, `{"ts":5,"thread_id":"$unknown"}`, late))
	must(t, give("two.example", "m.read", carol, now, slices.Repeat([]matrix.EventID{late}, 11)...))
	for _, thread := range []string{"", "$unknown"} {
		if got := one.receipt(t, room, carol, "m.read", thread); got != "" {
			t.Errorf("a forged receipt holds for %s", got)
		}
	}
	must(t, give("two.example", "m.read", carol, now, early, late, "$unknown"))
	if got := one.receipt(t, room, carol, "m.read", ""); got != late {
		t.Errorf("carol's receipt is for %q", got)
	}
	must(t, give("two.example", "m.read", carol, now, early))
	if got := one.receipt(t, room, carol, "m.read", ""); got != late {
		t.Errorf("carol's receipt went back to %q", got)
	}
	for text, code := range map[string]string{`[]`: "M_BAD_JSON", `{"!r":{"m.read":1}}`: "M_BAD_JSON", manyReceipts(): "M_TOO_LARGE"} {
		if err := one.ReceiveReceipts(t.Context(), "two.example", []byte(text)); !matrix.IsCode(err, code) {
			t.Errorf("%.30s: %v, want %s", text, err, code)
		}
	}
}

func manyReceipts() string {
	users := make(map[string]any)
	for i := range 1001 {
		users[fmt.Sprintf("@u%d:two.example", i)] = map[string]any{"data": map[string]int{"ts": 1}, "event_ids": []string{"$e"}}
	}
	raw, _ := json.Marshal(map[string]any{"!r": map[string]any{"m.read": users}})
	return string(raw)
}
