package clientapi_test

import (
	"net/url"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

// TestForgottenRoomIsLeft: a client that was away while its user left a room and
// forgot it is told once that they are out, and nothing else of the room.
func TestForgottenRoomIsLeft(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob, carol := h.registers(t, "alice"), h.registers(t, "bob"), h.registers(t, "carol")
		id, path := alice.creates(t, body{"preset": "public_chat"})
		other, otherPath := alice.creates(t, body{"preset": "private_chat", "invite": []string{bob.id}})
		both, bothPath := carol.creates(t, body{"preset": "public_chat"})
		bob.post(t, path+"/join", body{}).ok(t)
		carol.post(t, path+"/join", body{}).ok(t)
		bob.post(t, bothPath+"/join", body{}).ok(t)
		since := ""
		bob.syncs(t, &since)

		alice.tells(t, path, body{"msgtype": "m.text", "body": "unseen"})
		for _, p := range []string{path, otherPath} {
			bob.post(t, p+"/leave", body{}).ok(t)
			bob.post(t, p+"/forget", body{}).ok(t)
		}
		before := since
		got := bob.syncs(t, &since)
		left := got.Get("rooms.leave").Map()
		for name, room := range map[string]string{"joined": id, "invited": other} {
			events := left[room].Get("timeline.events").Array()
			if len(events) != 1 || events[0].Get("state_key").String() != bob.id || events[0].Get("content.membership").String() != "leave" {
				t.Errorf("%s: want only the leave: %s", name, got.Raw)
			}
			if len(left[room].Get("state.events").Array()) != 0 {
				t.Errorf("%s: state is told: %s", name, left[room].Raw)
			}
		}
		if lists := got.Get("device_lists.left"); len(lists.Array()) != 1 || lists.Get("0").String() != alice.id {
			t.Errorf("only alice shares no room any more: %s", got.Get("device_lists").Raw)
		}
		changes := bob.get(t, "/keys/changes?from="+url.QueryEscape(before)+"&to="+url.QueryEscape(since)).ok(t)
		if changes.Get("left.0").String() != alice.id {
			t.Errorf("changes of keys: %s", changes.Raw)
		}
		if got := bob.get(t, "/sync?since="+since).ok(t); got.Get("rooms.leave").Exists() || got.Get("device_lists.left.#").Int() > 0 {
			t.Errorf("told twice: %s", got.Raw)
		}

		bob.post(t, bothPath+"/leave", body{}).ok(t)
		if got := bob.syncs(t, &since); !got.Get("rooms.leave").Map()[both].Exists() {
			t.Fatalf("left: %s", got.Raw)
		}
		bob.post(t, bothPath+"/forget", body{}).ok(t)
		if got := bob.get(t, "/sync?since="+since).ok(t); got.Get("rooms.leave").Exists() {
			t.Errorf("what was left before is told when it is forgotten: %s", got.Raw)
		}
		if got := bob.get(t, "/sync?filter="+url.QueryEscape(`{"room":{"include_leave":true}}`)).ok(t); got.Get("rooms.leave").Exists() {
			t.Errorf("first sync: %s", got.Raw)
		}
	})
}
