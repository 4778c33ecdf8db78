package clientapi_test

import (
	"net/http"
	"net/url"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

// TestStory plays what two people do on their first day.
func TestStory(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
		again := h.call(t, "", "POST", "/login", body{"type": "m.login.password", "password": "pass-bob",
			"identifier": body{"type": "m.id.user", "user": "bob"}}).ok(t)
		bob.token, bob.device = again.Get("access_token").String(), again.Get("device_id").String()
		alice.put(t, "/profile/"+alice.id+"/displayname", body{"displayname": "Alice"}).ok(t)

		id, room := alice.creates(t, body{"preset": "private_chat", "name": "Plans", "room_alias_name": "plans"})
		if got := alice.get(t, room+"/state/m.room.member/"+alice.id).ok(t); got.Get("displayname").String() != "Alice" {
			t.Errorf("membership of the creator: %s", got.Raw)
		}
		bob.post(t, room+"/join", body{}).wants(t, http.StatusForbidden, "M_FORBIDDEN")
		since := bob.get(t, "/sync").ok(t).Get("next_batch").String()
		alice.post(t, room+"/invite", body{"user_id": bob.id, "reason": "come"}).ok(t)
		news := bob.syncs(t, &since)
		if invite := news.Get("rooms.invite").Map()[id]; invite.Get(`invite_state.events.#(type=="m.room.name").content.name`).String() != "Plans" {
			t.Errorf("invitation: %s", news.Raw)
		}
		joined := bob.post(t, "/join/"+url.PathEscape("#plans:here.example"), body{}).ok(t)
		if joined.Get("room_id").String() != id {
			t.Errorf("joined %s, want %s", joined.Raw, id)
		}

		if news = bob.syncs(t, &since); !news.Get("rooms.join").Map()[id].Exists() {
			t.Errorf("joined: %s", news.Raw)
		}
		sent := alice.put(t, room+"/send/m.room.message/t1", body{"msgtype": "m.text", "body": "hello"}).ok(t)
		again = alice.put(t, room+"/send/m.room.message/t1", body{"msgtype": "m.text", "body": "hello"}).ok(t)
		event := sent.Get("event_id").String()
		if again.Get("event_id").String() != event {
			t.Error("the same transaction sent twice")
		}
		if got := bob.get(t, room+"/event/"+event).ok(t); got.Get("content.body").String() != "hello" || got.Get("room_id").String() != id {
			t.Errorf("event: %s", got.Raw)
		}
		if got := bob.get(t, room+"/messages?dir=b&limit=1").ok(t); got.Get("chunk.0.event_id").String() != event || got.Get("end").String() == "" {
			t.Errorf("messages: %s", got.Raw)
		}
		news = bob.syncs(t, &since)
		if in := news.Get("rooms.join").Map()[id]; in.Get("timeline.events.#").Int() != 1 || in.Get("timeline.events.0.event_id").String() != event {
			t.Errorf("news: %s", news.Raw)
		}
		bob.post(t, room+"/receipt/m.read/"+event, body{}).ok(t)
		bob.put(t, room+"/typing/"+bob.id, body{"typing": true, "timeout": 1000}).ok(t)

		alice.put(t, room+"/redact/"+event+"/t2", body{"reason": "typo"}).ok(t)
		if got := bob.get(t, room+"/event/"+event).ok(t); got.Get("content.body").Exists() || !got.Get("unsigned.redacted_because").Exists() {
			t.Errorf("redacted event: %s", got.Raw)
		}

		if news = bob.syncs(t, &since); !news.Get("rooms.join").Map()[id].Get(`timeline.events.#(type=="m.room.redaction")`).Exists() {
			t.Errorf("redaction: %s", news.Raw)
		}
		bob.post(t, room+"/leave", body{}).ok(t)
		if news = bob.syncs(t, &since); !news.Get("rooms.leave").Map()[id].Exists() {
			t.Errorf("left: %s", news.Raw)
		}
		if got := bob.get(t, "/joined_rooms").ok(t); len(got.Get("joined_rooms").Array()) != 0 {
			t.Errorf("joined rooms after leaving: %s", got.Raw)
		}
		bob.put(t, room+"/send/m.room.message/t3", body{"body": "no"}).wants(t, http.StatusForbidden, "M_FORBIDDEN")
		bob.post(t, room+"/forget", nil).ok(t)
		bob.get(t, room+"/messages?dir=b").wants(t, http.StatusForbidden, "M_FORBIDDEN")
	})
}

// syncs waits for news.
func (p *person) syncs(t *testing.T, since *string) reply {
	t.Helper()
	got := p.get(t, "/sync?timeout=10000&since="+*since).ok(t)
	*since = got.Get("next_batch").String()
	return got
}

func TestSyncRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	for _, query := range []string{"since=x", "filter=nothing", "filter={", "timeout=x", "timeout=-1", "full_state=maybe", "set_presence=dancing", "use_state_after=1"} {
		if got := alice.get(t, "/sync?"+query); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, got.status, got.Raw)
		}
	}
}
