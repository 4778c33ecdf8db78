package clientapi_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

func TestPushers(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
		good := body{"kind": "http", "app_id": "example.app", "pushkey": "key", "app_display_name": "App", "lang": "fr",
			"device_display_name": "Phone", "data": body{"url": "https://push.example/_matrix/push/v1/notify", "format": "event_id_only", "x": 1}}
		if got := alice.get(t, "/pushers").ok(t); got.Raw != `{"pushers":[]}` {
			t.Errorf("before: %s", got.Raw)
		}
		alice.post(t, "/pushers/set", good).ok(t)
		alice.post(t, "/pushers/set", good).ok(t)
		got := alice.get(t, "/pushers").ok(t)
		if got.Get("pushers.#").Int() != 1 || got.Get("pushers.0.data.x").Int() != 1 || got.Get("pushers.0.lang").String() != "fr" {
			t.Errorf("set: %s", got.Raw)
		}
		but := func(field string, value any) body {
			changed := maps.Clone(good)
			changed[field] = value
			if value == nil {
				delete(changed, field)
			}
			return changed
		}
		for name, c := range map[string]struct {
			body body
			code string
		}{
			"no app_id": {but("app_id", nil), "M_MISSING_PARAM"}, "no lang": {but("lang", nil), "M_MISSING_PARAM"},
			"no data": {but("data", nil), "M_MISSING_PARAM"}, "no kind": {but("kind", nil), "M_MISSING_PARAM"},
			"no url":      {but("data", body{}), "M_MISSING_PARAM"},
			"other path":  {but("data", body{"url": "https://push.example/notify"}), "M_INVALID_PARAM"},
			"no scheme":   {but("data", body{"url": "push.example"}), "M_INVALID_PARAM"},
			"other kind":  {but("kind", "pigeon"), "M_INVALID_PARAM"},
			"kind is 1":   {but("kind", 1), "M_BAD_JSON"},
			"long key":    {but("pushkey", strings.Repeat("k", 513)), "M_INVALID_PARAM"},
			"long app_id": {but("app_id", strings.Repeat("a", 65)), "M_INVALID_PARAM"},
		} {
			if got := alice.post(t, "/pushers/set", c.body); got.status != http.StatusBadRequest || got.Get("errcode").String() != c.code {
				t.Errorf("%s: %d %s", name, got.status, got.Raw)
			}
		}
		bob.post(t, "/pushers/set", but("append", true)).ok(t)
		if got := alice.get(t, "/pushers").ok(t); got.Get("pushers.#").Int() != 1 {
			t.Errorf("after bob's with append: %s", got.Raw)
		}
		bob.post(t, "/pushers/set", good).ok(t)
		if got := alice.get(t, "/pushers").ok(t); got.Get("pushers.#").Int() != 0 {
			t.Errorf("after bob's: %s", got.Raw)
		}
		bob.post(t, "/pushers/set", `{"kind":null,"app_id":"example.app","pushkey":"key"}`).ok(t)
		if got := bob.get(t, "/pushers").ok(t); got.Get("pushers.#").Int() != 0 {
			t.Errorf("removed: %s", got.Raw)
		}
		alice.post(t, "/pushers/set", good).ok(t)
		alice.post(t, "/logout", nil).ok(t)
		again := h.call(t, "", "POST", "/login", body{"type": "m.login.password", "password": "pass-alice",
			"identifier": body{"type": "m.id.user", "user": "alice"}}).ok(t)
		if got := h.call(t, again.Get("access_token").String(), "GET", "/pushers", nil).ok(t); got.Get("pushers.#").Int() != 0 {
			t.Errorf("after logout: %s", got.Raw)
		}
	})
}

func TestNotifications(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
		id, path := alice.creates(t, body{"preset": "private_chat", "invite": []string{bob.id}})
		if got := bob.get(t, "/notifications").ok(t); got.Get("notifications.0.event.type").String() != "m.room.member" {
			t.Errorf("invitation: %s", got.Raw)
		}
		bob.post(t, path+"/join", body{}).ok(t)
		var sent []string
		for range 5 {
			sent = append(sent, alice.tells(t, path, body{}))
		}
		mention := alice.tells(t, path, body{"msgtype": "m.text", "body": "you", "m.mentions": body{"user_ids": []string{bob.id}}})
		alice.tells(t, path, body{"msgtype": "m.notice", "body": "beep"})
		bob.post(t, path+"/receipt/m.read/"+sent[3], body{}).ok(t)

		var seen []string
		from := ""
		for range 10 {
			got := bob.get(t, "/notifications?limit=2&from="+from).ok(t)
			for _, n := range got.Get("notifications").Array() {
				event := n.Get("event.event_id").String()
				seen = append(seen, event)
				if n.Get("room_id").String() != id || n.Get("ts").Int() == 0 || n.Get("actions.0").String() != "notify" {
					t.Errorf("notification: %s", n.Raw)
				}
				if read := n.Get("read").Bool(); read != (event != mention && event != sent[4]) {
					t.Errorf("%s read: %v", event, read)
				}
			}
			if from = got.Get("next_token").String(); from == "" {
				break
			}
		}
		if len(seen) != 7 || seen[0] != mention || seen[1] != sent[4] || seen[5] != sent[0] || from != "" {
			t.Errorf("saw %v of %v", seen, sent)
		}
		got := bob.get(t, "/notifications?only=highlight").ok(t)
		if got.Get("notifications.#").Int() != 1 || got.Get("notifications.0.event.event_id").String() != mention {
			t.Errorf("highlights: %s", got.Raw)
		}
		bob.get(t, "/notifications?from=x").wants(t, http.StatusBadRequest, "M_INVALID_PARAM")
		bob.get(t, "/notifications?limit=x").wants(t, http.StatusBadRequest, "M_INVALID_PARAM")
		bob.post(t, path+"/leave", body{}).ok(t)
		if got := bob.get(t, "/notifications").ok(t); got.Get("notifications.#").Int() != 0 {
			t.Errorf("after leaving: %s", got.Raw)
		}
	})
}
