package clientapi_test

import (
	"testing"

	"beffroi/account"
)

// TestContacts adds an address to an account, as a client does it, and takes
// it away again.
func TestContacts(t *testing.T) {
	t.Parallel()
	h, sink := byMail(t)
	const address, password = "jeanne@here.example", "a long enough password"
	if _, err := h.accounts.CreateUser(t.Context(), account.NewUser{Localpart: "jeanne", Password: password}); err != nil {
		t.Fatal(err)
	}
	got := h.call(t, "", "POST", "/login", body{"type": "m.login.password", "user": "jeanne", "password": password}).ok(t)
	jeanne := &person{h, got.Get("user_id").String(), got.Get("access_token").String(), ""}
	if !jeanne.get(t, "/capabilities").Get(`capabilities.m\.3pid_changes.enabled`).Bool() {
		t.Error("the capability is missing")
	}
	ask := func(address string) reply {
		return jeanne.post(t, "/account/3pid/email/requestToken", body{"client_secret": "s", "email": address, "send_attempt": 1})
	}
	ask("jeanne@elsewhere.example").wants(t, 403, "M_FORBIDDEN")
	ask("nothing").wants(t, 400, "M_INVALID_PARAM")
	sid := ask(address).ok(t).Get("sid").String()
	add := func(sid, secret string) reply {
		return jeanne.post(t, "/account/3pid/add", body{"sid": sid, "client_secret": secret,
			"auth": body{"type": "m.login.password", "user": "jeanne", "password": password}})
	}
	jeanne.post(t, "/account/3pid/add", body{"sid": sid}).wants(t, 400, "M_MISSING_PARAM")
	jeanne.post(t, "/account/3pid/add", body{"sid": sid, "client_secret": "s"}).wants(t, 401, "")
	add(sid, "s").wants(t, 400, "M_THREEPID_AUTH_FAILED")
	code := mailCode.FindString(mail(t, sink, address, 0))
	h.call(t, "", "POST", "/_beffroi/client/v1/email/submit_token", body{"sid": sid, "client_secret": "s", "token": code}).ok(t)
	add(sid, "other").wants(t, 400, "M_THREEPID_AUTH_FAILED")
	add(sid, "s").ok(t)
	add(sid, "s").wants(t, 400, "M_THREEPID_AUTH_FAILED") // it was used
	if got := jeanne.get(t, "/account/3pid").ok(t); got.Get("threepids.#").Int() != 1 || got.Get("threepids.0.address").String() != address ||
		got.Get("threepids.0.medium").String() != "email" || got.Get("threepids.0.validated_at").Int() == 0 {
		t.Error(got.Raw)
	}
	h.call(t, "", "POST", "/login", body{"type": "m.login.password", "password": password,
		"identifier": body{"type": "m.id.thirdparty", "medium": "email", "address": address}}).ok(t)

	// Nobody speaks with identity servers.
	jeanne.post(t, "/account/3pid", body{"three_pid_creds": body{"sid": "x"}}).wants(t, 403, "M_THREEPID_AUTH_FAILED")
	jeanne.post(t, "/account/3pid/bind", body{"sid": "x", "client_secret": "s", "id_server": "is.example"}).wants(t, 403, "M_SERVER_NOT_TRUSTED")
	jeanne.post(t, "/account/3pid/msisdn/requestToken", body{}).wants(t, 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
	if got := jeanne.post(t, "/account/3pid/unbind", body{"medium": "email", "address": address}).ok(t); got.Get("id_server_unbind_result").String() != "no-support" {
		t.Error(got.Raw)
	}

	jeanne.post(t, "/account/3pid/delete", body{"medium": "email"}).wants(t, 400, "M_MISSING_PARAM")
	for range 2 {
		if got := jeanne.post(t, "/account/3pid/delete", body{"medium": "email", "address": "Jeanne@HERE.example"}).ok(t); got.Get("id_server_unbind_result").String() != "no-support" {
			t.Error(got.Raw)
		}
	}
	if got := jeanne.get(t, "/account/3pid").ok(t); got.Raw != `{"threepids":[]}` {
		t.Error(got.Raw)
	}
}

// TestAnAddressHasOneOwner lets two people prove one address: the second is
// told by mail alone, so that nobody learns who has it.
func TestAnAddressHasOneOwner(t *testing.T) {
	t.Parallel()
	h, sink := byMail(t)
	const address, password = "chef@here.example", "a long enough password"
	for name, email := range map[string]string{"paul": address, "jeanne": ""} {
		if _, err := h.accounts.CreateUser(t.Context(), account.NewUser{Localpart: name, Password: password, Email: email}); err != nil {
			t.Fatal(err)
		}
	}
	got := h.call(t, "", "POST", "/login", body{"type": "m.login.password", "user": "jeanne", "password": password}).ok(t)
	jeanne := &person{h, got.Get("user_id").String(), got.Get("access_token").String(), ""}
	sid := jeanne.post(t, "/account/3pid/email/requestToken", body{"client_secret": "s", "email": address, "send_attempt": 1}).ok(t).Get("sid").String()
	if code := mailCode.FindString(mail(t, sink, address, 0)); code != "" {
		t.Errorf("the mail has the code %s", code)
	}
	jeanne.post(t, "/account/3pid/add", body{"sid": sid, "client_secret": "s",
		"auth": body{"type": "m.login.password", "user": "jeanne", "password": password}}).wants(t, 400, "M_THREEPID_AUTH_FAILED")
}
