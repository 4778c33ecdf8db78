package clientapi_test

import (
	"net/http"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

// TestThreadSubscriptions follows threads, leaves them, and hears of it over
// sliding sync.
func TestThreadSubscriptions(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
		id, room := alice.creates(t, body{"preset": "public_chat"})
		say := func(txn string, content body) string {
			content["msgtype"], content["body"] = "m.text", "x"
			return alice.put(t, room+"/send/m.room.message/"+txn, content).ok(t).Get("event_id").String()
		}
		root, elsewhere := say("t1", body{}), say("t2", body{})
		reply := say("t3", body{"m.relates_to": body{"rel_type": "m.thread", "event_id": root}})
		at := func(event string) string {
			return "/_matrix/client/unstable/io.element.msc4306" + room + "/thread/" + event + "/subscription"
		}
		request := body{"extensions": body{"io.element.msc4308.thread_subscriptions": body{"enabled": true, "limit": 1}}}
		const ext = `extensions.io\.element\.msc4308\.thread_subscriptions`
		pos := ""
		if got := alice.slides(t, &pos, "", request); got.Get(ext).Exists() {
			t.Errorf("nothing is followed: %s", got.Raw)
		}
		alice.get(t, at(root)).wants(t, http.StatusNotFound, "M_NOT_FOUND")
		alice.delete(t, at(root)).ok(t)
		bob.put(t, at(root), body{}).wants(t, http.StatusNotFound, "M_NOT_FOUND")
		alice.put(t, at("$none"), body{}).wants(t, http.StatusNotFound, "M_NOT_FOUND")
		alice.put(t, at(root), body{"automatic": elsewhere}).wants(t, http.StatusBadRequest, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD")
		alice.put(t, at(root), body{"automatic": reply}).ok(t)
		if got := alice.get(t, at(root)).ok(t); !got.Get("automatic").Bool() {
			t.Errorf("automatic: %s", got.Raw)
		}
		alice.put(t, at(root), body{}).ok(t)
		alice.put(t, at(root), body{"automatic": reply}).ok(t) // the wish of the user stays
		if got := alice.get(t, at(root)).ok(t); got.Get("automatic").Bool() {
			t.Errorf("wished: %s", got.Raw)
		}
		got := alice.slides(t, &pos, "", request)
		mark := got.Get(ext).Get("subscribed").Map()[id].Map()[root]
		if mark.Get("automatic").Bool() || mark.Get("bump_stamp").Int() == 0 {
			t.Errorf("followed: %s", got.Raw)
		}
		before := pos
		alice.delete(t, at(root)).ok(t)
		alice.get(t, at(root)).wants(t, http.StatusNotFound, "M_NOT_FOUND")
		alice.put(t, at(root), body{"automatic": reply}).wants(t, http.StatusConflict, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION")
		alice.put(t, at(elsewhere), body{}).ok(t)
		got = alice.slides(t, &pos, "", request)
		if !got.Get(ext).Get("subscribed").Map()[id].Map()[elsewhere].Exists() || got.Get(ext).Get("unsubscribed").Exists() {
			t.Errorf("the latest: %s", got.Raw)
		}
		const list = "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions"
		page := alice.get(t, list+"?dir=b&from="+got.Get(ext).Get("prev_batch").String()+"&to="+before).ok(t)
		if !page.Get("unsubscribed").Map()[id].Map()[root].Get("bump_stamp").Exists() || page.Get("end").Exists() {
			t.Errorf("the rest: %s", page.Raw)
		}
		if page = alice.get(t, list+"?dir=b&limit=1").ok(t); page.Get("end").String() == "" {
			t.Errorf("first page: %s", page.Raw)
		}
		alice.get(t, list+"?dir=f").wants(t, http.StatusBadRequest, "M_INVALID_PARAM")
		alice.get(t, list+"?dir=b&limit=0").wants(t, http.StatusBadRequest, "M_INVALID_PARAM")
	})
}
