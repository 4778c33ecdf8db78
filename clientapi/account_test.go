package clientapi_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"beffroi/account"
	"beffroi/clientapi"
	"beffroi/matrix"
	"beffroi/policystore"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.registers(t, "alice")
	const password = `"type":"m.login.password","password":"pass-alice"`
	for name, tc := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"localpart":       {`{` + password + `,"identifier":{"type":"m.id.user","user":"alice"}}`, 200, ""},
		"user ID":         {`{` + password + `,"identifier":{"type":"m.id.user","user":"@alice:here.example"}}`, 200, ""},
		"old form":        {`{` + password + `,"user":"alice"}`, 200, ""},
		"device":          {`{` + password + `,"user":"alice","device_id":"PHONE"}`, 200, ""},
		"wrong password":  {`{"type":"m.login.password","password":"x","user":"alice"}`, 403, "M_FORBIDDEN"},
		"no such user":    {`{` + password + `,"user":"eve"}`, 403, "M_FORBIDDEN"},
		"other server":    {`{` + password + `,"user":"@alice:away.example"}`, 403, "M_FORBIDDEN"},
		"no password":     {`{"type":"m.login.password","user":"alice"}`, 400, "M_MISSING_PARAM"},
		"no user":         {`{` + password + `}`, 400, "M_MISSING_PARAM"},
		"capitals":        {`{` + password + `,"user":"Alice"}`, 200, ""},
		"unknown address": {`{` + password + `,"medium":"email","address":"a@b.example"}`, 403, "M_FORBIDDEN"},
		"odd identifier":  {`{` + password + `,"identifier":{"type":"m.id.example"}}`, 400, "M_UNKNOWN"},
		"phone":           {`{` + password + `,"identifier":{"type":"m.id.phone","country":"FR","phone":"1"}}`, 403, "M_FORBIDDEN"},
		"odd type":        {`{"type":"m.login.example","token":"x"}`, 400, "M_UNKNOWN"},
		"odd token":       {`{"type":"m.login.token","token":"x"}`, 403, "M_FORBIDDEN"},
		"empty token":     {`{"type":"m.login.token"}`, 400, "M_MISSING_PARAM"},
		"no type":         {`{}`, 400, "M_MISSING_PARAM"},
		"long device":     {`{` + password + `,"user":"alice","device_id":"` + strings.Repeat("x", 256) + `"}`, 400, "M_INVALID_PARAM"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := h.call(t, "", "POST", "/login", tc.body).wants(t, tc.status, tc.code)
			if tc.status == http.StatusOK && (got.Get("user_id").String() != "@alice:here.example" || got.Get("access_token").String() == "" ||
				got.Get("device_id").String() == "" || got.Get(`well_known.m\.homeserver.base_url`).String() == "") {
				t.Error(got.Raw)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	for name, tc := range map[string]struct {
		header, query string
		status        int
	}{
		"header":         {"Bearer " + alice.token, "", 200},
		"lower case":     {"bearer " + alice.token, "", 200},
		"query":          {"", "?access_token=" + alice.token, 200},
		"header wins":    {"Bearer wrong", "?access_token=" + alice.token, 401},
		"other scheme":   {"Basic " + alice.token, "", 401},
		"no token":       {"Bearer", "", 401},
		"nothing":        {"", "", 401},
		"endless":        {"Bearer " + strings.Repeat("x", 10_000), "", 401},
		"empty in query": {"", "?access_token=", 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "/_matrix/client/v3/account/whoami"+tc.query, nil)
			if tc.header != "" {
				r.Header.Set("Authorization", tc.header)
			}
			if got := h.serve(r); got.status != tc.status {
				t.Errorf("%d %s", got.status, got.Raw)
			}
		})
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	second := h.call(t, "", "POST", "/login", `{"type":"m.login.password","user":"alice","password":"pass-alice"}`).ok(t)
	third := h.call(t, "", "POST", "/login", `{"type":"m.login.password","user":"alice","password":"pass-alice"}`).ok(t)
	alice.post(t, "/logout", nil).ok(t)
	alice.get(t, "/account/whoami").wants(t, http.StatusUnauthorized, "M_UNKNOWN_TOKEN")
	h.call(t, second.Get("access_token").String(), "POST", "/logout/all", nil).ok(t)
	h.call(t, third.Get("access_token").String(), "GET", "/account/whoami", nil).wants(t, http.StatusUnauthorized, "M_UNKNOWN_TOKEN")
}

func TestRegister(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.registers(t, "alice")
	first := h.call(t, "", "POST", "/register", `{"username":"bob","password":"pw"}`).wants(t, http.StatusUnauthorized, "")
	if first.Get("errcode").Exists() || first.Get("error").Exists() || first.Get("flows.0.stages.0").String() != "m.login.dummy" {
		t.Errorf("the challenge: %s", first.Raw)
	}
	session := first.Get("session").String()
	done := h.call(t, "", "POST", "/register", body{"username": "bob", "password": "pw", "initial_device_display_name": "phone",
		"auth": body{"type": "m.login.dummy", "session": session}}).ok(t)
	if done.Get("user_id").String() != "@bob:here.example" || done.Get("access_token").String() == "" {
		t.Error(done.Raw)
	}
	dummy := body{"type": "m.login.dummy"}
	for name, tc := range map[string]struct {
		query  string
		body   body
		status int
		code   string
	}{
		"guest":         {"?kind=guest", body{}, 403, "M_GUEST_ACCESS_FORBIDDEN"},
		"odd kind":      {"?kind=robot", body{}, 400, "M_INVALID_PARAM"},
		"taken":         {"", body{"username": "alice", "password": "x"}, 400, "M_USER_IN_USE"},
		"bad name":      {"", body{"username": "Al ice", "password": "x"}, 400, "M_INVALID_USERNAME"},
		"inhibit login": {"", body{"username": "carol", "password": "x", "inhibit_login": true, "auth": dummy}, 200, ""},
		"no name":       {"", body{"password": "x", "auth": dummy}, 200, ""},
		"odd stage":     {"", body{"username": "dan", "password": "x", "auth": body{"type": "m.login.magic"}}, 401, "M_FORBIDDEN"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := h.call(t, "", "POST", "/register"+tc.query, tc.body).wants(t, tc.status, tc.code)
			if name == "inhibit login" && (got.Get("access_token").Exists() || got.Get("device_id").Exists()) {
				t.Error(got.Raw)
			}
		})
	}
	h.call(t, "", "GET", "/register/available?username=free", nil).ok(t)
	h.call(t, "", "GET", "/register/available?username=alice", nil).wants(t, 400, "M_USER_IN_USE")
	h.call(t, "", "GET", "/register/available", nil).wants(t, 400, "M_MISSING_PARAM")
	h.call(t, "", "POST", "/register/email/requestToken", body{"client_secret": "a", "email": "a@b.example", "send_attempt": 1}).
		wants(t, 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
}

func TestRegisterBySecret(t *testing.T) {
	t.Parallel()
	h := start(t)
	const path = "/_synapse/admin/v1/register"
	register := func(secret string) reply {
		nonce := h.call(t, "", "GET", path, nil).ok(t).Get("nonce").String()
		mac := hmac.New(sha1.New, []byte(secret))
		mac.Write([]byte(nonce + "\x00root\x00pw\x00admin"))
		return h.call(t, "", "POST", path, body{"nonce": nonce, "username": "root", "password": "pw", "admin": true,
			"mac": hex.EncodeToString(mac.Sum(nil))})
	}
	register("guessed").wants(t, http.StatusForbidden, "M_FORBIDDEN")
	if got := register("secret").ok(t); got.Get("user_id").String() != "@root:here.example" || got.Get("home_server").String() != "here.example" {
		t.Error(got.Raw)
	}
	without := start(t, func(o *account.Options, _ *clientapi.Options, _ *policystore.Options) { o.RegistrationSecret = "" })
	without.call(t, "", "GET", path, nil).wants(t, http.StatusNotFound, "M_UNRECOGNIZED")
	without.call(t, "", "POST", path, body{}).wants(t, http.StatusNotFound, "M_UNRECOGNIZED")
}

func TestDevices(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	login := func(device string) *person {
		got := h.call(t, "", "POST", "/login", body{"type": "m.login.password", "user": "alice", "password": "pass-alice",
			"device_id": device, "initial_device_display_name": "Name of " + device}).ok(t)
		return &person{h, alice.id, got.Get("access_token").String(), device}
	}
	phone, tablet := login("PHONE"), login("TABLET")
	if n := len(alice.get(t, "/devices").ok(t).Get("devices").Array()); n != 3 {
		t.Errorf("%d devices, want 3", n)
	}
	alice.put(t, "/devices/PHONE", body{"display_name": "Phone"}).ok(t)
	alice.put(t, "/devices/PHONE", body{}).ok(t)
	if got := alice.get(t, "/devices/PHONE").ok(t); got.Get("display_name").String() != "Phone" || got.Get("device_id").String() != "PHONE" {
		t.Error(got.Raw)
	}
	alice.get(t, "/devices/NOTHING").wants(t, 404, "M_NOT_FOUND")
	alice.put(t, "/devices/NOTHING", body{"display_name": "x"}).wants(t, 404, "M_NOT_FOUND")
	bob.get(t, "/devices/PHONE").wants(t, 404, "M_NOT_FOUND")

	proof := func(session, password string) body {
		return body{"type": "m.login.password", "session": session, "password": password,
			"identifier": body{"type": "m.id.user", "user": "alice"}}
	}
	ask := alice.delete(t, "/devices/PHONE").wants(t, 401, "")
	if ask.Get("flows.0.stages.0").String() != "m.login.password" || ask.Get("errcode").Exists() {
		t.Errorf("the challenge: %s", ask.Raw)
	}
	session := ask.Get("session").String()
	alice.call(t, alice.token, "DELETE", "/devices/PHONE", body{"auth": proof(session, "wrong")}).wants(t, 401, "M_FORBIDDEN")
	alice.call(t, alice.token, "DELETE", "/devices/TABLET", body{"auth": proof(session, "pass-alice")}).wants(t, 403, "M_FORBIDDEN")
	alice.call(t, alice.token, "DELETE", "/devices/PHONE", body{"auth": proof(session, "pass-alice")}).ok(t)
	phone.get(t, "/account/whoami").wants(t, 401, "M_UNKNOWN_TOKEN")

	session = alice.post(t, "/delete_devices", body{"devices": []string{"TABLET", alice.device}}).wants(t, 401, "").Get("session").String()
	alice.post(t, "/delete_devices", body{"devices": []string{alice.device, "TABLET"}, "auth": proof(session, "pass-alice")}).ok(t)
	tablet.get(t, "/account/whoami").wants(t, 401, "M_UNKNOWN_TOKEN")
	bob.post(t, "/delete_devices", body{}).wants(t, 400, "M_MISSING_PARAM")
}

func TestPassword(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	session := alice.post(t, "/account/password", body{"new_password": "another"}).wants(t, 401, "").Get("session").String()
	alice.post(t, "/account/password", body{"new_password": "another", "logout_devices": false,
		"auth": body{"type": "m.login.password", "session": session, "password": "pass-alice", "user": "alice"}}).ok(t)
	alice.get(t, "/account/whoami").ok(t)
	h.call(t, "", "POST", "/login", `{"type":"m.login.password","user":"alice","password":"pass-alice"}`).wants(t, 403, "M_FORBIDDEN")
	h.call(t, "", "POST", "/login", `{"type":"m.login.password","user":"alice","password":"another"}`).ok(t)
	if got := alice.get(t, "/account/3pid").ok(t); !got.Get("threepids").IsArray() {
		t.Error(got.Raw)
	}
	if got := h.call(t, "", "GET", "/password_policy", nil).ok(t); got.Get(`m\.minimum_length`).Int() != 1 {
		t.Error(got.Raw)
	}
}

func TestSessionsOfUnusableAccounts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change  func(*host, matrix.UserID) error
		status  int
		code    string
		logouts bool // may still log out
	}{
		"expired": {func(h *host, u matrix.UserID) error {
			return h.accounts.SetValidity(t.Context(), u, time.Now().Add(-time.Hour))
		}, 403, "ORG_MATRIX_EXPIRED_ACCOUNT", true},
		"locked": {func(h *host, u matrix.UserID) error { return h.accounts.Lock(t.Context(), u, true) }, 401, "M_USER_LOCKED", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t)
			alice := h.registers(t, "alice")
			if err := tc.change(h, matrix.UserID(alice.id)); err != nil {
				t.Fatal(err)
			}
			got := alice.get(t, "/account/whoami").wants(t, tc.status, tc.code)
			if tc.code == "M_USER_LOCKED" && !got.Get("soft_logout").Bool() {
				t.Error(got.Raw)
			}
			alice.get(t, "/joined_rooms").wants(t, tc.status, tc.code)
			h.call(t, alice.token, "GET", "/_matrix/client/versions", nil).ok(t)
			alice.post(t, "/logout", nil).ok(t)
		})
	}
}

func TestSuspendedAccountReadsAndLeaves(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	_, room := alice.creates(t, body{})
	if err := h.accounts.Suspend(t.Context(), matrix.UserID(alice.id), true); err != nil {
		t.Fatal(err)
	}
	alice.put(t, room+"/send/m.room.message/1", body{"body": "x"}).wants(t, 403, "M_USER_SUSPENDED")
	alice.post(t, "/createRoom", body{}).wants(t, 403, "M_USER_SUSPENDED")
	alice.get(t, room+"/messages?dir=b").ok(t)
	alice.post(t, room+"/leave", body{}).ok(t)
}

func TestMailPage(t *testing.T) {
	t.Parallel()
	h := start(t)
	get := func(lang string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", account.EmailLinkPath+`?sid=a&token=%22%3E%3Cscript%3E`, nil)
		r.Header.Set("Accept-Language", lang)
		w := httptest.NewRecorder()
		h.router.ServeHTTP(w, r)
		return w
	}
	for lang, want := range map[string]string{"fr-FR": "Confirmez", "en": "Confirm your", "": "Confirm your"} {
		w := get(lang)
		if page := w.Body.String(); w.Code != 200 || !strings.Contains(page, want) || strings.Contains(page, "<script>") {
			t.Errorf("%s: %d %s", lang, w.Code, page)
		}
		if !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("policy: %v", w.Header())
		}
	}
	r := httptest.NewRequest("POST", account.EmailLinkPath, strings.NewReader("sid=a&token=b"))
	w := httptest.NewRecorder()
	h.router.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "does not work") {
		t.Errorf("a wrong link: %d %s", w.Code, w.Body)
	}
}

func TestModeration(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	lock, suspend := "/_matrix/client/v1/admin/lock/"+bob.id, "/_matrix/client/v1/admin/suspend/"+bob.id
	alice.put(t, lock, body{"locked": true}).wants(t, 403, "M_FORBIDDEN")
	alice.get(t, suspend).wants(t, 403, "M_FORBIDDEN")
	alice.get(t, "/admin/whois/"+bob.id).wants(t, 403, "M_FORBIDDEN")
	if got := bob.get(t, "/admin/whois/"+bob.id).ok(t); !got.Get("devices." + bob.device + ".sessions.0.connections").IsArray() {
		t.Error(got.Raw)
	}
	if alice.get(t, "/capabilities").ok(t).Get(`capabilities.m\.account_moderation`).Exists() {
		t.Error("everybody may moderate accounts")
	}
	if err := h.accounts.SetAdmin(t.Context(), matrix.UserID(alice.id), true); err != nil {
		t.Fatal(err)
	}
	if !alice.get(t, "/capabilities").ok(t).Get(`capabilities.m\.account_moderation.lock`).Bool() {
		t.Error("an administrator may not moderate accounts")
	}
	alice.get(t, "/admin/whois/"+bob.id).ok(t)
	alice.put(t, suspend, body{"suspended": true}).ok(t)
	if got := alice.get(t, suspend).ok(t); got.Raw != `{"suspended":true}` {
		t.Error(got.Raw)
	}
	bob.post(t, "/createRoom", body{}).wants(t, 403, "M_USER_SUSPENDED")
	alice.put(t, lock, body{"locked": true}).ok(t)
	bob.get(t, "/account/whoami").wants(t, 401, "M_USER_LOCKED")
	alice.put(t, lock, body{"locked": false}).ok(t)
	if got := alice.get(t, lock).ok(t); got.Raw != `{"locked":false}` {
		t.Error(got.Raw)
	}
	for name, tc := range map[string]struct {
		got    reply
		status int
		code   string
	}{
		"oneself":   {alice.put(t, "/_matrix/client/v1/admin/lock/"+alice.id, body{"locked": true}), 403, "M_FORBIDDEN"},
		"nobody":    {alice.get(t, "/_matrix/client/v1/admin/lock/@nobody:here.example"), 404, "M_NOT_FOUND"},
		"elsewhere": {alice.get(t, "/_matrix/client/v1/admin/lock/@eve:away.example"), 400, "M_INVALID_PARAM"},
		"what":      {alice.put(t, lock, body{}), 400, "M_MISSING_PARAM"},
	} {
		if tc.got.status != tc.status || tc.got.Get("errcode").String() != tc.code {
			t.Errorf("%s: %d %s, want %d %s", name, tc.got.status, tc.got.Raw, tc.status, tc.code)
		}
	}
	calls := 0
	for e, err := range h.gate.Audit(t.Context(), policystore.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == policystore.KindCall && e.Actor == alice.id && e.Subject == bob.id && strings.HasPrefix(e.Action, "PUT ") {
			calls++
		}
	}
	if calls != 4 {
		t.Errorf("%d calls are audited, want 4", calls)
	}
}
