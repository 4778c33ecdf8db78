package clientapi_test

import (
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"beffroi/account"
	"beffroi/clientapi"
	"beffroi/internal/mailsink"
	"beffroi/policystore"
)

var renewalLink = regexp.MustCompile(`https://matrix\.here\.example(/_matrix/client/unstable/account_validity/renew\S+)`)

const validity = 395 * 24 * time.Hour

// mortal is a server whose accounts end, and somebody who has one.
func mortal(t *testing.T, clock *watch) (*host, *mailsink.Sink, *person) {
	t.Helper()
	h, sink := byMail(t, clock.timed, func(ao *account.Options, _ *clientapi.Options, _ *policystore.Options) {
		ao.Validity, ao.DeactivateAfter = validity, 120*24*time.Hour
	})
	if _, err := h.accounts.CreateUser(t.Context(), account.NewUser{Localpart: "jeanne", Password: "a long enough password", Email: "jeanne@here.example"}); err != nil {
		t.Fatal(err)
	}
	return h, sink, h.jeanne(t)
}

func (h *host) jeanne(t *testing.T) *person {
	t.Helper()
	got := h.call(t, "", "POST", "/login", body{"type": "m.login.password", "user": "jeanne", "password": "a long enough password"}).ok(t)
	return &person{h, got.Get("user_id").String(), got.Get("access_token").String(), ""}
}

// remind does what the server does every few minutes.
func (h *host) remind(t *testing.T) {
	t.Helper()
	if err := h.accounts.Remind(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// follow opens the page of a link, and presses its button.
func (h *host) follow(t *testing.T, link string) (asked, done *httptest.ResponseRecorder) {
	t.Helper()
	at, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	asked, done = httptest.NewRecorder(), httptest.NewRecorder()
	h.router.ServeHTTP(asked, httptest.NewRequest("GET", at.RequestURI(), nil))
	h.router.ServeHTTP(done, httptest.NewRequest("POST", at.Path, strings.NewReader(at.RawQuery)))
	return asked, done
}

func TestAnAccountIsRenewed(t *testing.T) {
	t.Parallel()
	clock := newWatch()
	h, sink, jeanne := mortal(t, clock)
	h.remind(t)
	if n := sink.Count("jeanne@here.example"); n != 0 {
		t.Fatalf("%d mails to a new account", n)
	}
	for i, before := range []int{60, 30, 15} {
		clock.forward(validity - clock.passed() - time.Duration(before)*24*time.Hour)
		h.remind(t)
		h.remind(t) // once is enough
		text := mail(t, sink, "jeanne@here.example", i)
		if !strings.Contains(text, "expires on") || renewalLink.FindString(text) == "" || sink.Count("jeanne@here.example") != i+1 {
			t.Fatalf("%d days before: %d mails: %s", before, sink.Count("jeanne@here.example"), text)
		}
	}
	jeanne.get(t, "/account/whoami").ok(t)
	clock.forward(16 * 24 * time.Hour)
	jeanne.get(t, "/account/whoami").wants(t, 403, "ORG_MATRIX_EXPIRED_ACCOUNT")
	jeanne.get(t, "/sync").wants(t, 403, "ORG_MATRIX_EXPIRED_ACCOUNT")

	// Whoever logged out meanwhile logs in to ask for a mail, and can do nothing else.
	jeanne = h.jeanne(t)
	jeanne.get(t, "/account/whoami").wants(t, 403, "ORG_MATRIX_EXPIRED_ACCOUNT")
	jeanne.post(t, "/_matrix/client/unstable/account_validity/send_mail", "{}").ok(t)
	jeanne.post(t, "/_matrix/client/unstable/account_validity/send_mail", "{}").wants(t, 429, "M_LIMIT_EXCEEDED")
	text := mail(t, sink, "jeanne@here.example", 3)
	link := renewalLink.FindStringSubmatch(text)
	if link == nil || !strings.Contains(text, "has expired") {
		t.Fatal(text)
	}
	asked, done := h.follow(t, link[1])
	if asked.Code != 200 || !strings.Contains(asked.Body.String(), "<button>") || done.Code != 200 || !strings.Contains(done.Body.String(), "until") {
		t.Fatalf("%d %s, %d %s", asked.Code, asked.Body, done.Code, done.Body)
	}
	jeanne.get(t, "/account/whoami").ok(t)
	before := done.Body.String()
	clock.forward(24 * time.Hour)
	if _, done = h.follow(t, link[1]); done.Code != 200 || done.Body.String() != before {
		t.Errorf("a link that was used says something else: %d %s", done.Code, done.Body)
	}
	for _, wrong := range []string{"wrong", ""} {
		asked, done = h.follow(t, "/_matrix/client/unstable/account_validity/renew?token="+wrong)
		if done.Code != 400 || wrong == "" && asked.Code != 400 {
			t.Errorf("%q: %d %d", wrong, asked.Code, done.Code)
		}
	}
}

func TestAnAccountThatIsNotRenewedEnds(t *testing.T) {
	t.Parallel()
	clock := newWatch()
	h, _, jeanne := mortal(t, clock)
	clock.forward(validity + 119*24*time.Hour)
	h.remind(t)
	jeanne.get(t, "/account/whoami").wants(t, 403, "ORG_MATRIX_EXPIRED_ACCOUNT")
	clock.forward(2 * 24 * time.Hour)
	h.remind(t)
	jeanne.get(t, "/account/whoami").wants(t, 401, "M_UNKNOWN_TOKEN")
	h.remind(t)
}

func TestASponsoredAccountCannotRenewItselfBeyondItsEnd(t *testing.T) {
	t.Parallel()
	clock := newWatch()
	h, sink, jeanne := mortal(t, clock)
	ends := clock.now().Add(20 * 24 * time.Hour)
	if err := h.accounts.Sponsor(t.Context(), "jeanne@here.example", "@chef:here.example", clock.now().Add(time.Hour), ends); err != nil {
		t.Fatal(err)
	}
	if err := h.accounts.SetValidity(t.Context(), "@jeanne:here.example", ends); err != nil {
		t.Fatal(err)
	}
	jeanne.post(t, "/_matrix/client/unstable/account_validity/send_mail", "{}").ok(t)
	link := renewalLink.FindStringSubmatch(mail(t, sink, "jeanne@here.example", 0))
	if _, done := h.follow(t, link[1]); done.Code != 200 {
		t.Fatal(done.Code, done.Body)
	}
	jeanne.get(t, "/account/whoami").ok(t)
	clock.forward(21 * 24 * time.Hour)
	jeanne.get(t, "/account/whoami").wants(t, 403, "ORG_MATRIX_EXPIRED_ACCOUNT")
}

func TestAccountsWithoutAnAddressDoNotEnd(t *testing.T) {
	t.Parallel()
	clock := newWatch()
	h, _, _ := mortal(t, clock)
	if _, err := h.accounts.CreateUser(t.Context(), account.NewUser{Localpart: "bot", Password: "a long enough password", Kind: "bot"}); err != nil {
		t.Fatal(err)
	}
	clock.forward(10 * validity)
	got := h.call(t, "", "POST", "/login", body{"type": "m.login.password", "user": "bot", "password": "a long enough password"}).ok(t)
	bot := &person{h, "", got.Get("access_token").String(), ""}
	bot.get(t, "/account/whoami").ok(t)
	bot.post(t, "/_synapse/client/email_account_validity/send_mail", "{}").wants(t, 400, "M_INVALID_PARAM")
}

func TestWhereAnAddressBelongs(t *testing.T) {
	t.Parallel()
	h, _ := byMail(t)
	const path = "/_matrix/identity/api/v1/info"
	for query, want := range map[string]string{
		"?medium=email&address=jeanne@here.example":       `{"hs":"here.example","invited":false}`,
		"?medium=email&address=jeanne@partner.example":    `{"hs":"there.example","invited":false}`,
		"?medium=email&address=jeanne@evil.here.example":  `{"hs":"","invited":false}`,
		"?medium=email&address=jeanne@stranger.example":   `{"hs":"","invited":false}`,
		"?medium=email&address=moved@partner.example":     `{"hs":"here.example","new_hs":"there.example","invited":false}`,
		"?medium=email&address=sponsored@partner.example": `{"hs":"there.example","invited":true}`,
	} {
		if strings.Contains(query, "moved") {
			if _, err := h.accounts.CreateUser(t.Context(), account.NewUser{Localpart: "moved", Password: "a long enough password", Email: "moved@partner.example"}); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Contains(query, "sponsored") {
			if err := h.accounts.Sponsor(t.Context(), "Sponsored@partner.example", "@chef:here.example", time.Now().Add(time.Hour), time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		if got := h.call(t, "", "GET", path+query, nil).ok(t); got.Raw != want {
			t.Errorf("%s: %s, want %s", query, got.Raw, want)
		}
	}
	for query, code := range map[string]string{
		"": "M_MISSING_PARAM", "?medium=email": "M_MISSING_PARAM", "?address=a@here.example": "M_MISSING_PARAM",
		"?medium=msisdn&address=1": "M_INVALID_PARAM", "?medium=email&address=a@evil.example@here.example": "M_INVALID_PARAM",
	} {
		h.call(t, "", "GET", path+query, nil).wants(t, 400, code)
	}
	for range 40 { // nobody reads a directory out of it
		if h.call(t, "", "GET", path+"?medium=email&address=a@here.example", nil).status == 429 {
			return
		}
	}
	t.Error("there is no limit")
}
