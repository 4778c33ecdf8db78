package clientapi_test

import (
	"net/http"
	"strings"
	"testing"

	"beffroi/account"
	"beffroi/clientapi"
	"beffroi/internal/testkit"
	"beffroi/policystore"
	"beffroi/storage"
)

// TestPresence plays who is told that somebody is there.
func TestPresence(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db, withPresence)
		alice, bob, eve := h.registers(t, "alice"), h.registers(t, "bob"), h.registers(t, "eve")
		_, path := alice.creates(t, body{"preset": "private_chat", "invite": []string{bob.id}})
		bob.post(t, path+"/join", body{}).ok(t)
		quiet := "/sync?set_presence=offline"
		since := bob.get(t, quiet).ok(t).Get("next_batch").String()
		if got := bob.get(t, "/presence/"+alice.id+"/status").ok(t); got.Get("presence").String() != "offline" {
			t.Errorf("before: %s", got.Raw)
		}

		alice.put(t, "/presence/"+alice.id+"/status", body{"presence": "unavailable", "status_msg": "in a meeting"}).ok(t)
		got := bob.get(t, quiet+"&timeout=10000&since="+since).ok(t)
		event := got.Get("presence.events.0")
		if event.Get("sender").String() != alice.id || event.Get("type").String() != "m.presence" ||
			event.Get("content.presence").String() != "unavailable" || event.Get("content.status_msg").String() != "in a meeting" {
			t.Fatalf("news: %s", got.Raw)
		}
		since = got.Get("next_batch").String()
		if again := bob.get(t, quiet+"&since="+since).ok(t); again.Get("presence").Exists() {
			t.Errorf("told twice: %s", again.Raw)
		}
		alice.get(t, "/sync").ok(t) // she is there, and still in the meeting
		got = bob.get(t, quiet+"&timeout=10000&since="+since).ok(t)
		if event := got.Get("presence.events.0.content"); event.Get("presence").String() != "online" ||
			event.Get("status_msg").String() != "in a meeting" || !event.Get("currently_active").Bool() {
			t.Errorf("after her sync: %s", got.Raw)
		}
		if got := bob.get(t, "/presence/"+alice.id+"/status").ok(t); got.Get("presence").String() != "online" || got.Get("last_active_ago").Int() < 1 {
			t.Errorf("status: %s", got.Raw)
		}
		if got := bob.get(t, quiet).ok(t); got.Get(`presence.events.#(sender=="`+alice.id+`")`).Raw == "" {
			t.Errorf("first sync: %s", got.Get("presence").Raw)
		}
		if got := bob.get(t, quiet+`&filter={"presence":{"types":[]}}`).ok(t); got.Get("presence").Exists() {
			t.Errorf("filtered: %s", got.Get("presence").Raw)
		}
		if got := eve.get(t, quiet).ok(t); got.Get("presence").Exists() {
			t.Errorf("a stranger is told: %s", got.Get("presence").Raw)
		}
		eve.get(t, "/presence/"+alice.id+"/status").wants(t, http.StatusForbidden, "M_FORBIDDEN")
		bob.put(t, "/presence/"+alice.id+"/status", body{"presence": "online"}).wants(t, http.StatusForbidden, "M_FORBIDDEN")
		bob.put(t, "/presence/"+bob.id+"/status", body{}).wants(t, http.StatusBadRequest, "M_MISSING_PARAM")
		bob.put(t, "/presence/"+bob.id+"/status", body{"presence": "dancing"}).wants(t, http.StatusBadRequest, "M_INVALID_PARAM")
		bob.put(t, "/presence/"+bob.id+"/status", body{"presence": "online", "status_msg": strings.Repeat("x", 513)}).
			wants(t, http.StatusBadRequest, "M_INVALID_PARAM")
	})
}

func withPresence(_ *account.Options, co *clientapi.Options, _ *policystore.Options) {
	co.PublicURL = presentURL
}

// TestSlidingSetsPresence: who asks by sliding sync is there, unless the request
// says otherwise, in both of its forms.
func TestSlidingSetsPresence(t *testing.T) {
	t.Parallel()
	const accepted = "/_matrix/client/v4/sync"
	for name, tc := range map[string]struct {
		path  string
		body  body
		state string
	}{
		"deployed, silent":      {slidingPath, body{}, "online"},
		"deployed, unavailable": {slidingPath + "?set_presence=unavailable", body{}, "unavailable"},
		"deployed, offline":     {slidingPath + "?set_presence=offline", body{}, "offline"},
		"accepted, silent":      {accepted, body{}, "online"},
		"accepted, unavailable": {accepted, body{"set_presence": "unavailable"}, "unavailable"},
		"accepted, offline":     {accepted, body{"set_presence": "offline"}, "offline"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t, withPresence)
			alice := h.registers(t, "alice")
			alice.post(t, tc.path, tc.body).ok(t)
			if got := alice.get(t, "/presence/"+alice.id+"/status").ok(t); got.Get("presence").String() != tc.state {
				t.Errorf("want %s: %s", tc.state, got.Raw)
			}
		})
	}
}
