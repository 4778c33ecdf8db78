package clientapi_test

import (
	"io"
	"mime/quotedprintable"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"beffroi/account"
	"beffroi/clientapi"
	"beffroi/internal/mailsink"
	"beffroi/policystore"
)

// byMail is a server on which people register with an address of its domain.
func byMail(t *testing.T, change ...options) (*host, *mailsink.Sink) {
	t.Helper()
	sink, err := mailsink.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mailer, err := account.NewMailer(account.MailOptions{Host: "127.0.0.1", Port: sink.Addr().Port, TLS: account.TLSNone, From: "no-reply@here.example"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	text := `
version: 1
issuer: here.example
organisations:
  - {id: here, name: {fr: Ici}, class: government, homeservers: [{name: here.example}], email_domains: [here.example]}
  - {id: there, name: {fr: Là}, class: government, homeservers: [{name: there.example}], email_domains: [partner.example]}
federation: {default: deny}
accounts: {registration: email}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, append(change, func(ao *account.Options, co *clientapi.Options, po *policystore.Options) {
		ao.Development, co.Development, po.File = false, false, file
		ao.Mailer, ao.PublicURL, ao.Language = mailer, "https://matrix.here.example", "en"
	})...), sink
}

var (
	mailCode = regexp.MustCompile(`\b\d{6}\b`)
	mailLink = regexp.MustCompile(`https://matrix\.here\.example(/_beffroi/\S+)`)
)

// mail returns the text of the next mail for an address.
func mail(t *testing.T, sink *mailsink.Sink, address string, n int) string {
	t.Helper()
	raw, err := sink.Wait(t.Context(), address, n)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(raw)))
	if err != nil {
		text = []byte(raw)
	}
	return string(text)
}

func TestRegisterByMail(t *testing.T) {
	t.Parallel()
	h, sink := byMail(t)
	const address, password = "jeanne.martin@here.example", "correct horse battery"
	first := h.call(t, "", "POST", "/register", body{"password": password}).wants(t, 401, "")
	if first.Get("flows.#").Int() != 1 || first.Get("flows.0.stages.0").String() != account.StageEmail {
		t.Fatalf("flows: %s", first.Raw)
	}
	ask := func(address string) reply {
		return h.call(t, "", "POST", "/register/email/requestToken", body{"client_secret": "secret", "email": address, "send_attempt": 1})
	}
	ask("eve@stranger.example").wants(t, 403, "M_FORBIDDEN")
	ask("a@evil.example@here.example").wants(t, 400, "M_INVALID_PARAM")
	sent := ask(address).ok(t)
	sid := sent.Get("sid").String()
	if sent.Get("submit_url").String() != "https://matrix.here.example/_beffroi/client/v1/email/submit_token" {
		t.Error(sent.Raw)
	}
	register := func() reply {
		return h.call(t, "", "POST", "/register", body{"password": password, "auth": body{"type": account.StageEmail,
			"session": first.Get("session").String(), "threepid_creds": body{"sid": sid, "client_secret": "secret"}}})
	}
	register().wants(t, 401, "M_THREEPID_AUTH_FAILED")
	code := mailCode.FindString(mail(t, sink, address, 0))
	submit := func(code string) reply {
		return h.call(t, "", "POST", "/_beffroi/client/v1/email/submit_token", body{"sid": sid, "client_secret": "secret", "token": code})
	}
	submit("x").wants(t, 403, "M_FORBIDDEN")
	if got := submit(code).ok(t); !got.Get("success").Bool() {
		t.Error(got.Raw)
	}
	done := register().ok(t)
	if done.Get("user_id").String() != "@jeanne.martin-here.example:here.example" || done.Get("access_token").String() == "" {
		t.Error(done.Raw)
	}
	jeanne := &person{host: h, id: done.Get("user_id").String(), token: done.Get("access_token").String()}
	if got := jeanne.get(t, "/account/3pid").ok(t); got.Get("threepids.0.address").String() != address {
		t.Error(got.Raw)
	}
	if got := jeanne.get(t, "/profile/"+jeanne.id+"/displayname").ok(t); got.Get("displayname").String() != "Jeanne Martin [Here]" {
		t.Error(got.Raw)
	}
	h.call(t, "", "POST", "/login", body{"type": "m.login.password", "password": password,
		"identifier": body{"type": "m.id.thirdparty", "medium": "email", "address": strings.ToUpper(address)}}).ok(t)
}

// TestMailLink follows the link of the mail, as people do, and resets a password
// with what it proves.
func TestMailLink(t *testing.T) {
	t.Parallel()
	h, sink := byMail(t)
	const address = "jeanne@here.example"
	if _, err := h.accounts.CreateUser(t.Context(), account.NewUser{Localpart: "jeanne", Password: "forgotten forgotten", Email: address}); err != nil {
		t.Fatal(err)
	}
	ask := func(address string) string {
		return h.call(t, "", "POST", "/account/password/email/requestToken", body{"client_secret": "s", "email": address,
			"send_attempt": 1, "next_link": "https://app.here.example/done"}).ok(t).Get("sid").String()
	}
	if ask("nobody@here.example") == "" {
		t.Error("who has no account is told so")
	}
	sid := ask(address)
	link := mailLink.FindStringSubmatch(mail(t, sink, address, 0))
	if link == nil {
		t.Fatal("the mail has no link")
	}
	at, err := url.Parse(link[1])
	if err != nil {
		t.Fatal(err)
	}
	follow := func(method, form string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, at.RequestURI(), strings.NewReader(form))
		w := httptest.NewRecorder()
		h.router.ServeHTTP(w, r)
		return w
	}
	reset := func(session string) reply {
		return h.call(t, "", "POST", "/account/password", body{"new_password": "remembered remembered", "auth": body{
			"type": account.StageEmail, "session": session, "threepid_creds": body{"sid": sid, "client_secret": "s"}}})
	}
	page := follow("GET", "")
	if page.Code != http.StatusOK || !strings.Contains(page.Body.String(), `value="`+at.Query().Get("token")+`"`) {
		t.Fatalf("%d %s", page.Code, page.Body)
	}
	session := reset("").wants(t, 401, "M_THREEPID_AUTH_FAILED").Get("session").String() // looking is not confirming
	if page = follow("POST", at.RawQuery); page.Code != http.StatusOK || !strings.Contains(page.Body.String(), "https://app.here.example/done") {
		t.Fatalf("%d %s", page.Code, page.Body)
	}
	reset(session).ok(t)
	login := func(password string) reply {
		return h.call(t, "", "POST", "/login", body{"type": "m.login.password", "user": "jeanne", "password": password})
	}
	login("remembered remembered").ok(t)
	login("forgotten forgotten").wants(t, 403, "M_FORBIDDEN")
}
