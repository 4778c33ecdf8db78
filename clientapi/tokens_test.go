package clientapi_test

import (
	"sync"
	"testing"
	"time"

	"beffroi/account"
	"beffroi/clientapi"
	"beffroi/internal/testkit"
	"beffroi/policystore"
	"beffroi/storage"
)

// watch is a clock that a test moves.
type watch struct {
	mu sync.Mutex
	at time.Time // guarded by mu

	began time.Time
}

func newWatch() *watch {
	now := time.Now()
	return &watch{at: now, began: now}
}

// passed returns how far the clock was moved.
func (w *watch) passed() time.Duration { return w.now().Sub(w.began) }

func (w *watch) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *watch) forward(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

// timed gives a server a clock that the test moves.
func (w *watch) timed(ao *account.Options, co *clientapi.Options, _ *policystore.Options) {
	ao.Now, co.Now = w.now, w.now
}

// as is somebody with another access token.
func (p *person) as(token string) *person { return &person{p.host, p.id, token, p.device} }

func TestRefreshTokens(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		clock := newWatch()
		h := startOn(t, db, clock.timed)
		h.registers(t, "alice")
		login := func() reply {
			return h.call(t, "", "POST", "/login", body{"type": "m.login.password", "password": "pass-alice", "refresh_token": true,
				"device_id": "PHONE", "identifier": body{"type": "m.id.user", "user": "alice"}}).ok(t)
		}
		refresh := func(token string) reply { return h.call(t, "", "POST", "/refresh", body{"refresh_token": token}) }
		who := func(token string) reply { return h.call(t, token, "GET", "/account/whoami", nil) }

		first := login()
		if first.Get("expires_in_ms").Int() != 3600_000 || first.Get("refresh_token").String() == "" {
			t.Fatal(first.Raw)
		}
		second := refresh(first.Get("refresh_token").String()).ok(t)
		if second.Get("expires_in_ms").Int() != 3600_000 {
			t.Error(second.Raw)
		}
		// Nobody has used the second pair: the answer was lost, and the client asks again.
		third := refresh(first.Get("refresh_token").String()).ok(t)
		who(second.Get("access_token").String()).wants(t, 401, "M_UNKNOWN_TOKEN")
		who(first.Get("access_token").String()).ok(t)
		if got := who(third.Get("access_token").String()).ok(t); got.Get("device_id").String() != "PHONE" {
			t.Error(got.Raw)
		}
		// Now the third pair is used, and what it replaces is over.
		if got := refresh(first.Get("refresh_token").String()).wants(t, 401, "M_UNKNOWN_TOKEN"); got.Get("soft_logout").Bool() {
			t.Error(got.Raw)
		}
		who(first.Get("access_token").String()).wants(t, 401, "M_UNKNOWN_TOKEN")

		clock.forward(time.Hour + time.Second)
		if got := who(third.Get("access_token").String()).wants(t, 401, "M_UNKNOWN_TOKEN"); !got.Get("soft_logout").Bool() {
			t.Error("not a soft logout:", got.Raw)
		}
		fourth := refresh(third.Get("refresh_token").String()).ok(t)
		// The use of a refresh token confirms it, too.
		fifth := refresh(fourth.Get("refresh_token").String()).ok(t)
		refresh(third.Get("refresh_token").String()).wants(t, 401, "M_UNKNOWN_TOKEN")
		h.call(t, fifth.Get("access_token").String(), "POST", "/logout", nil).ok(t)
		refresh(fifth.Get("refresh_token").String()).wants(t, 401, "M_UNKNOWN_TOKEN")

		refresh("").wants(t, 400, "M_MISSING_PARAM")
		refresh("nothing").wants(t, 401, "M_UNKNOWN_TOKEN")

		// A new login of the same device ends the old refresh token.
		sixth := login()
		login()
		refresh(sixth.Get("refresh_token").String()).wants(t, 401, "M_UNKNOWN_TOKEN")
		last := login()
		clock.forward(91 * 24 * time.Hour)
		refresh(last.Get("refresh_token").String()).wants(t, 401, "M_UNKNOWN_TOKEN")
	})
}

func TestRegisterWithRefreshToken(t *testing.T) {
	t.Parallel()
	h := start(t)
	got := h.call(t, "", "POST", "/register", body{"username": "alice", "password": "pass", "refresh_token": true,
		"device_id": "PHONE", "auth": body{"type": "m.login.dummy"}}).ok(t)
	if got.Get("refresh_token").String() == "" || got.Get("expires_in_ms").Int() <= 0 || got.Get("device_id").String() != "PHONE" {
		t.Error(got.Raw)
	}
	got = h.call(t, "", "POST", "/register", body{"username": "bob", "password": "pass", "inhibit_login": true,
		"refresh_token": true, "auth": body{"type": "m.login.dummy"}}).ok(t)
	for _, field := range []string{"access_token", "refresh_token", "expires_in_ms", "device_id"} {
		if got.Get(field).Exists() {
			t.Errorf("%s in %s", field, got.Raw)
		}
	}
}

func TestLockedAccountsRefreshNothing(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	got := h.call(t, "", "POST", "/login", body{"type": "m.login.password", "password": "pass-alice", "refresh_token": true, "user": "alice"}).ok(t)
	if err := h.accounts.Lock(t.Context(), "@alice:here.example", true); err != nil {
		t.Fatal(err)
	}
	h.call(t, "", "POST", "/refresh", body{"refresh_token": got.Get("refresh_token").String()}).wants(t, 401, "M_USER_LOCKED")
	alice.get(t, "/account/whoami").wants(t, 401, "M_USER_LOCKED")
}

func TestLoginTokens(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		clock := newWatch()
		h := startOn(t, db, clock.timed)
		alice := h.registers(t, "alice")
		flows := h.call(t, "", "GET", "/login", nil).ok(t)
		if !flows.Get(`flows.#(type=="m.login.token").get_login_token`).Bool() || !flows.Get(`flows.#(type=="m.login.password")`).Exists() {
			t.Error(flows.Raw)
		}
		if !alice.get(t, "/capabilities").Get(`capabilities.m\.get_login_token.enabled`).Bool() {
			t.Error("the capability is missing")
		}
		const path = "/_matrix/client/v1/login/get_token"
		token := func() string {
			ask := alice.post(t, path, "{}").wants(t, 401, "")
			got := alice.post(t, path, body{"auth": body{"type": "m.login.password", "session": ask.Get("session").String(),
				"identifier": body{"type": "m.id.user", "user": "alice"}, "password": "pass-alice"}}).ok(t)
			if got.Get("expires_in_ms").Int() != 120_000 {
				t.Error(got.Raw)
			}
			return got.Get("login_token").String()
		}
		use := func(token string) reply {
			return h.call(t, "", "POST", "/login", body{"type": "m.login.token", "token": token, "device_id": "TABLET"})
		}
		one := token()
		if got := use(one).ok(t); got.Get("user_id").String() != alice.id || got.Get("device_id").String() != "TABLET" {
			t.Error(got.Raw)
		}
		use(one).wants(t, 403, "M_FORBIDDEN")
		before := token()
		alice.post(t, "/logout/all", "{}").ok(t)
		use(before).wants(t, 403, "M_FORBIDDEN")
		alice.token = h.call(t, "", "POST", "/login", body{"type": "m.login.password", "password": "pass-alice",
			"identifier": body{"type": "m.id.user", "user": "alice"}}).ok(t).Get("access_token").String()
		two := token()
		clock.forward(2*time.Minute + time.Second)
		use(two).wants(t, 403, "M_FORBIDDEN")
		alice.post(t, path, body{"auth": body{"type": "m.login.password", "user": "alice", "password": "wrong"}}).wants(t, 401, "M_FORBIDDEN")
	})
}

func TestRegistrationTokenValidity(t *testing.T) {
	t.Parallel()
	h := start(t)
	const path = "/_matrix/client/v1/register/m.login.registration_token/validity"
	h.call(t, "", "GET", path, nil).wants(t, 400, "M_MISSING_PARAM")
	if got := h.call(t, "", "GET", path+"?token=wrong", nil).ok(t); got.Raw != `{"valid":false}` {
		t.Error(got.Raw)
	}
	token, err := h.accounts.CreateFirstAdminToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := h.call(t, "", "GET", path+"?token="+token, nil).ok(t); got.Raw != `{"valid":true}` {
		t.Error(got.Raw)
	}
	got := h.call(t, "", "POST", "/register", body{"username": "root", "password": "pass"}).wants(t, 401, "")
	h.call(t, "", "POST", "/register", body{"username": "root", "password": "pass",
		"auth": body{"type": "m.login.registration_token", "token": token, "session": got.Get("session").String()}}).ok(t)
	if got := h.call(t, "", "GET", path+"?token="+token, nil).ok(t); got.Raw != `{"valid":false}` {
		t.Error("used up:", got.Raw)
	}
}

func TestOpenIDTokens(t *testing.T) {
	t.Parallel()
	clock := newWatch()
	h := start(t, clock.timed)
	alice := h.registers(t, "alice")
	got := alice.post(t, "/user/"+alice.id+"/openid/request_token", "{}").ok(t)
	if got.Get("token_type").String() != "Bearer" || got.Get("matrix_server_name").String() != string(server) || got.Get("expires_in").Int() != 3600 {
		t.Error(got.Raw)
	}
	alice.post(t, "/user/@bob:here.example/openid/request_token", "{}").wants(t, 403, "M_FORBIDDEN")
	token := got.Get("access_token").String()
	if user, err := h.accounts.OpenIDUser(t.Context(), token); err != nil || string(user) != alice.id {
		t.Error(user, err)
	}
	alice.as(token).get(t, "/account/whoami").wants(t, 401, "M_UNKNOWN_TOKEN") // it names, and opens nothing
	clock.forward(time.Hour + time.Second)
	if user, err := h.accounts.OpenIDUser(t.Context(), token); err == nil {
		t.Error("still names", user)
	}
}
