package clientapi_test

import (
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

// counter sees the counts of a room in every answer of sync.
type counter struct {
	*person
	room, since string
}

func (c *counter) in(t *testing.T) gjson.Result {
	t.Helper()
	filter := url.QueryEscape(`{"room":{"timeline":{"unread_thread_notifications":true}}}`)
	got := c.get(t, "/sync?timeout=0&filter="+filter+"&since="+c.since).ok(t)
	c.since = got.Get("next_batch").String()
	return got.Get("rooms.join").Map()[c.room]
}

// wants fails unless the next answer has these counts of the main timeline, and
// of a thread where one is named.
func (c *counter) wants(t *testing.T, notifications, highlights int64, thread string, inThread int64) {
	t.Helper()
	in := c.in(t)
	if n := in.Get("unread_notifications.notification_count"); !n.Exists() || n.Int() != notifications {
		t.Fatalf("%s notifications, want %d: %s", n.Raw, notifications, in.Raw)
	}
	if n := in.Get("unread_notifications.highlight_count").Int(); n != highlights {
		t.Fatalf("%d highlights, want %d: %s", n, highlights, in.Raw)
	}
	if thread == "" {
		return
	}
	if n := in.Get("unread_thread_notifications").Map()[thread].Get("notification_count").Int(); n != inThread {
		t.Fatalf("%d in the thread, want %d: %s", n, inThread, in.Raw)
	}
}

// txns makes transaction IDs that no other test uses.
var txns atomic.Int64

func (p *person) tells(t *testing.T, path string, content body) string {
	t.Helper()

	if content["msgtype"] == nil {
		content["msgtype"], content["body"] = "m.text", "hello"
	}
	return p.put(t, fmt.Sprintf("%s/send/m.room.message/u%d", path, txns.Add(1)), content).ok(t).Get("event_id").String()
}

// TestUnreadCounts plays what people have not read.
func TestUnreadCounts(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob, carol := h.registers(t, "alice"), h.registers(t, "bob"), h.registers(t, "carol")
		id, path := alice.creates(t, body{"preset": "public_chat"})
		alice.tells(t, path, body{}) // before anybody else is there
		bob.post(t, path+"/join", body{}).ok(t)
		carol.post(t, path+"/join", body{}).ok(t)
		b := &counter{person: bob, room: id}
		b.wants(t, 0, 0, "", 0)

		first := alice.tells(t, path, body{})
		b.wants(t, 1, 0, "", 0)
		carol.tells(t, path, body{"msgtype": "m.notice", "body": "beep"})
		b.wants(t, 1, 0, "", 0)
		mention := alice.tells(t, path, body{"msgtype": "m.text", "body": "you", "m.mentions": body{"user_ids": []string{bob.id}}})
		b.wants(t, 2, 1, "", 0)
		carol.tells(t, path, body{"msgtype": "m.text", "body": "all", "m.mentions": body{"room": true}}) // she may not
		b.wants(t, 3, 1, "", 0)
		last := alice.tells(t, path, body{"msgtype": "m.text", "body": "all", "m.mentions": body{"room": true}})
		b.wants(t, 4, 2, "", 0)
		alice.tells(t, path, body{"msgtype": "m.text", "body": "* hello", "m.new_content": body{"body": "hello", "msgtype": "m.text"},
			"m.relates_to": body{"rel_type": "m.replace", "event_id": first}})
		b.wants(t, 4, 2, "", 0)
		alice.put(t, path+"/redact/"+mention+"/r1", body{}).ok(t)
		b.wants(t, 3, 1, "", 0)

		bob.post(t, path+"/receipt/m.read/"+first, body{}).ok(t)
		b.wants(t, 2, 1, "", 0)
		bob.post(t, path+"/receipt/m.read.private/"+last, body{}).ok(t)
		b.wants(t, 0, 0, "", 0)

		for range 3 {
			alice.tells(t, path, body{"msgtype": "m.text", "body": "reply", "m.relates_to": body{"rel_type": "m.thread", "event_id": first}})
		}
		inThread := alice.tells(t, path, body{"msgtype": "m.text", "body": "you", "m.mentions": body{"user_ids": []string{bob.id}},
			"m.relates_to": body{"rel_type": "m.thread", "event_id": first}})
		alice.tells(t, path, body{})
		b.wants(t, 1, 0, first, 4)
		if all := bob.get(t, "/sync").ok(t).Get("rooms.join").Map()[id]; all.Get("unread_notifications.notification_count").Int() != 5 ||
			all.Get("unread_notifications.highlight_count").Int() != 1 || all.Get("unread_thread_notifications").Exists() {
			t.Errorf("without threads: %s", all.Get("unread_notifications").Raw)
		}
		bob.post(t, path+"/receipt/m.read/"+inThread, body{"thread_id": first}).ok(t)
		b.wants(t, 1, 0, first, 0)
		bob.tells(t, path, body{})
		b.wants(t, 0, 0, first, 0)
		unread := alice.tells(t, path, body{})
		alice.tells(t, path, body{"msgtype": "m.text", "body": "reply", "m.relates_to": body{"rel_type": "m.thread", "event_id": first}})
		bob.post(t, path+"/receipt/m.read/"+unread, body{"thread_id": "main"}).ok(t)
		b.wants(t, 0, 0, first, 1)
		bob.post(t, path+"/read_markers", body{"m.read": alice.tells(t, path, body{})}).ok(t)
		b.wants(t, 0, 0, first, 0)
	})
}

// TestUnreadCountsFollowPushRules: what a user says of a room holds at once,
// for what is unread too.
func TestUnreadCountsFollowPushRules(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob, carol := h.registers(t, "alice"), h.registers(t, "bob"), h.registers(t, "carol")
		id, path := alice.creates(t, body{"preset": "public_chat"})
		for _, p := range []*person{bob, carol} {
			p.post(t, path+"/join", body{}).ok(t)
		}
		b, c := &counter{person: bob, room: id}, &counter{person: carol, room: id}
		b.in(t)
		alice.tells(t, path, body{})
		b.wants(t, 1, 0, "", 0)

		bob.put(t, "/pushrules/global/content/word", body{"pattern": "budget", "actions": []any{"notify", body{"set_tweak": "highlight"}}}).ok(t)
		alice.tells(t, path, body{"msgtype": "m.text", "body": "the Budget is due"})
		b.wants(t, 2, 1, "", 0)
		c.wants(t, 2, 0, "", 0)

		bob.put(t, "/pushrules/global/room/"+id, body{"actions": []any{}}).ok(t) // mentions and words only
		alice.tells(t, path, body{})
		b.wants(t, 1, 1, "", 0)
		alice.tells(t, path, body{"msgtype": "m.text", "body": "you", "m.mentions": body{"user_ids": []string{bob.id}}})
		b.wants(t, 2, 2, "", 0)
		bob.put(t, "/pushrules/global/override/"+id, body{"actions": []any{},
			"conditions": []any{body{"kind": "event_match", "key": "room_id", "pattern": id}}}).ok(t) // mute
		alice.tells(t, path, body{"msgtype": "m.text", "body": "budget", "m.mentions": body{"user_ids": []string{bob.id}}})
		b.wants(t, 2, 2, "", 0)
		bob.call(t, bob.token, "DELETE", "/pushrules/global/override/"+id, nil).ok(t)
		bob.call(t, bob.token, "DELETE", "/pushrules/global/room/"+id, nil).ok(t)
		alice.tells(t, path, body{})
		b.wants(t, 6, 2, "", 0)

		carol.put(t, "/user/"+carol.id+"/account_data/m.ignored_user_list", body{"ignored_users": body{alice.id: body{}}}).ok(t)
		c.since = ""
		before := c.in(t).Get("unread_notifications.notification_count").Int()
		alice.tells(t, path, body{})
		bob.tells(t, path, body{})
		c.wants(t, before+1, 0, "", 0)

		two, dm := alice.creates(t, body{"preset": "trusted_private_chat", "is_direct": true, "invite": []string{bob.id}})
		bob.post(t, dm+"/join", body{}).ok(t)
		d := &counter{person: bob, room: two}
		d.in(t)
		bob.put(t, "/pushrules/global/underride/.m.rule.room_one_to_one/enabled", body{"enabled": false}).ok(t)
		bob.put(t, "/pushrules/global/underride/.m.rule.message/actions", body{"actions": []any{}}).ok(t)
		alice.tells(t, dm, body{})
		d.wants(t, 0, 0, "", 0)
		bob.put(t, "/pushrules/global/underride/.m.rule.room_one_to_one/enabled", body{"enabled": true}).ok(t)
		alice.tells(t, dm, body{})
		d.wants(t, 2, 0, "", 0)
	})
}
