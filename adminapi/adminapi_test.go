package adminapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"beffroi/adminapi"
	"beffroi/internal/httpx"
	"beffroi/internal/testkit"
	"beffroi/policystore"
	"beffroi/storage"
)

const first = `{"version":1,"organisations":[{"id":"own","class":"government","homeservers":[{"name":"a.example"}]}]}`

func next(version string) string {
	return `{"version":` + version + `,"organisations":[{"id":"own","class":"government","homeservers":[{"name":"a.example"}]},` +
		`{"id":"b","class":"external","homeservers":[{"name":"b.example"}]}]}`
}

// kit is an admin API with a token of each role.
type kit struct {
	t      *testing.T
	url    string
	store  *policystore.Store
	router *httpx.Router
	tokens map[policystore.Role]string

	strangers atomic.Int64
}

func start(t *testing.T, db *storage.DB) *kit {
	t.Helper()
	store, err := policystore.Open(t.Context(), policystore.Options{DB: db, Self: "a.example", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	k := &kit{t: t, store: store, router: httpx.NewRouter(httpx.Options{Log: slog.New(slog.DiscardHandler),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}), tokens: map[policystore.Role]string{}}
	adminapi.New(adminapi.Options{Policy: store}).Routes(k.router)
	server := httptest.NewServer(k.router)
	t.Cleanup(server.Close)
	k.url = server.URL
	for _, role := range policystore.Roles() {
		if k.tokens[role], _, err = policystore.CreateToken(t.Context(), db, "person-"+string(role), role, time.Hour, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// call asks with a token, and returns the status and the body.
func (k *kit) call(token, method, path, body string) (int, gjson.Result) {
	k.t.Helper()
	if strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "/_beffroi") {
		path = "/_beffroi/admin/v1" + path
	}
	req, err := http.NewRequestWithContext(k.t.Context(), method, k.url+path, strings.NewReader(body))
	if err != nil {
		k.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	} else { // strangers are many, each in a network of their own
		n := k.strangers.Add(1)
		req.Header.Set("X-Forwarded-For", fmt.Sprintf("198.%d.%d.7", 18+n/256, n%256))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	return resp.StatusCode, gjson.ParseBytes(raw)
}

func (k *kit) wants(status int, role policystore.Role, method, path, body string) gjson.Result {
	k.t.Helper()
	got, answer := k.call(k.tokens[role], method, path, body)
	if got != status {
		k.t.Fatalf("%s %s as %s: %d %s", method, path, role, got, answer.Raw)
	}
	return answer
}

func TestADocumentIsChangedByTwoPeople(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		k := start(t, db)
		ed, ap, au := policystore.RoleEditor, policystore.RoleApprover, policystore.RoleAuditor
		if k.wants(200, ed, "POST", "/policy/validate", `{"document":`+next("2")+`}`).Get("valid").Bool() != true {
			t.Error("not valid")
		}
		if bad := k.wants(200, ed, "POST", "/policy/validate", `{"yaml":"version: 2\norganization: []\n"}`); bad.Get("valid").Bool() || bad.Get("mistakes.0.line").Int() != 2 {
			t.Error(bad.Raw)
		}
		if p := k.wants(200, ap, "POST", "/policy/preview", `{"document":`+next("2")+`}`); p.Get("peers_admitted").Int() != 1 {
			t.Error(p.Raw)
		}
		draft := k.wants(200, ed, "POST", "/policy/drafts", `{"document":`+next("2")+`,"reason":"a partner"}`)
		path := "/policy/drafts/" + draft.Get("id").String()
		k.wants(403, ed, "POST", path+"/approve", "")
		k.wants(403, ap, "POST", path+"/activate", "") // nobody approved it
		k.wants(200, ap, "POST", path+"/approve", "")
		if d := k.wants(200, ap, "POST", path+"/activate", ""); d.Get("status").String() != "activated" {
			t.Error(d.Raw)
		}
		if a := k.wants(200, au, "GET", "/policy/active", ""); a.Get("version").Int() != 2 || a.Get("actor").String() != "person-policy-approver" || a.Get("document.version").Int() != 2 {
			t.Error(a.Raw)
		}
		k.wants(409, ap, "POST", path+"/activate", "")
		if d := k.wants(200, au, "GET", path, ""); d.Get("document.version").Int() != 2 {
			t.Error(d.Raw)
		}
		bad := k.wants(400, ed, "POST", "/policy/drafts", `{"document":`+first+`,"reason":"old"}`)
		if bad.Get("errcode").String() != "ORG.BEFFROI.BAD_DOCUMENT" || bad.Get("mistakes.0.text").String() == "" {
			t.Error(bad.Raw)
		}
		if d := k.wants(200, ap, "POST", "/policy/rollback", `{"version":1,"reason":"too early"}`); d.Get("version").Int() != 3 || k.store.Active().Version != 3 {
			t.Error(d.Raw)
		}
		if j := k.wants(200, au, "GET", "/policy/journal", ""); j.Get("documents.#").Int() != 3 {
			t.Error(j.Raw)
		}
		calls := k.wants(200, au, "GET", "/audit?kind=call&actor=person-policy-approver", "")
		if n := calls.Get("entries.#").Int(); n != 6 {
			t.Errorf("%d calls of the approver are in the audit trail: %s", n, calls.Raw)
		}
		one := calls.Get("entries.0.id").String()
		if e := k.wants(200, au, "GET", "/decisions/"+one, ""); e.Get("id").String() != one {
			t.Error(e.Raw)
		}
		if v := k.wants(200, au, "GET", "/audit/verify", ""); !v.Get("intact").Bool() {
			t.Error(v.Raw)
		}
		if f := k.wants(200, au, "GET", "/findings?limit=5", ""); f.Get("findings.#").Int() != 0 {
			t.Error(f.Raw)
		}
	})
}

func TestShadowIsStartedAndStopped(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		k := start(t, db)
		op := policystore.RoleOperator
		if s := k.wants(200, op, "GET", "/policy/shadow", ""); s.Get("running").Bool() {
			t.Error(s.Raw)
		}
		if s := k.wants(200, op, "POST", "/policy/shadow", `{"document":`+next("2")+`,"hours":1}`); !s.Get("running").Bool() || s.Get("version").Int() != 2 {
			t.Error(s.Raw)
		}
		k.wants(400, op, "POST", "/policy/shadow", `{"document":`+next("2")+`,"hours":100000}`)
		if s := k.wants(200, op, "DELETE", "/policy/shadow", ""); s.Get("running").Bool() {
			t.Error(s.Raw)
		}
	})
}

// TestEachRoleMayDoWhatTheTableSays calls every route with every role, and
// without a token.
func TestEachRoleMayDoWhatTheTableSays(t *testing.T) {
	t.Parallel()
	k := start(t, testkit.OpenDB(t, "sqlite"))
	_, described := k.call("", "GET", "/openapi.json", "")
	described.Get("paths").ForEach(func(path, methods gjson.Result) bool {
		methods.ForEach(func(method, op gjson.Result) bool {
			at, verb := strings.ReplaceAll(path.String(), "{id}", "01X"), strings.ToUpper(method.String())
			if got, _ := k.call("", verb, at, "{}"); got != 401 {
				t.Errorf("%s %s without a token: %d", verb, at, got)
			}
			for role, token := range k.tokens {
				got, body := k.call(token, verb, at, "{}")
				refused := got == 403 && strings.Contains(body.Get("error").String(), "the role")
				if allowed := regexp.MustCompile(`\b` + string(role) + `\b`).MatchString(op.Get("description").String()); refused == allowed {
					t.Errorf("%s %s as %s: %d %s", verb, at, role, got, body.Raw)
				}
			}
			return true
		})
		return true
	})
	for what, token := range map[string]string{"a stranger": "bfa_AAAAAAAAAAAAAAAAAAAAAAAAAA", "a user": "syt_x", "nonsense": strings.Repeat("x", 5000)} {
		if got, _ := k.call(token, "GET", "/policy/active", ""); got != 401 && got != 429 {
			t.Errorf("%s: %d", what, got)
		}
	}
}

// TestTheDescriptionIsOfTheRoutes compares the description with the routes
// that answer, and finds every schema it names.
func TestTheDescriptionIsOfTheRoutes(t *testing.T) {
	t.Parallel()
	k := start(t, testkit.OpenDB(t, "sqlite"))
	status, d := k.call("", "GET", "/openapi.json", "")
	if status != 200 || d.Get("openapi").String() != "3.1.0" {
		t.Fatal(status, d.Raw)
	}
	described := map[string]bool{"GET /_beffroi/admin/v1/openapi.json": true}
	d.Get("paths").ForEach(func(path, methods gjson.Result) bool {
		methods.ForEach(func(method, _ gjson.Result) bool {
			described[strings.ToUpper(method.String())+" "+path.String()] = true
			return true
		})
		return true
	})
	for _, route := range k.router.Routes() {
		if !described[route] {
			t.Errorf("%s is not described", route)
		}
		delete(described, route)
	}
	if len(described) > 0 {
		t.Errorf("described, and not there: %v", described)
	}
	var all struct {
		Components struct{ Schemas map[string]json.RawMessage }
	}
	if err := json.Unmarshal([]byte(d.Raw), &all); err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"#/components/schemas/(\w*)"`).FindAllStringSubmatch(d.Raw, -1) {
		if all.Components.Schemas[m[1]] == nil {
			t.Errorf("there is no schema %q", m[1])
		}
	}
}

func TestCallsAreLimited(t *testing.T) {
	t.Parallel()
	db := testkit.OpenDB(t, "sqlite")
	k := start(t, db)
	limited := 0
	for range 30 {
		if got, _ := k.call("bfa_wrong", "GET", "/policy/active", ""); got == 429 {
			limited++
		}
	}
	if limited < 5 {
		t.Errorf("%d of 30 calls without a token were refused", limited)
	}
	k2 := start(t, testkit.OpenDB(t, "sqlite"))
	if got, _ := k2.call(k2.tokens[policystore.RoleEditor], "POST", "/policy/validate", `{"yaml":"`+strings.Repeat("x", 9<<20)+`"}`); got != 413 {
		t.Errorf("a body of 9 MiB: %d", got)
	}
}

func TestARevokedTokenIsRefused(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		k := start(t, db)
		list, err := policystore.Tokens(t.Context(), db)
		if err != nil || len(list) != 4 {
			t.Fatal(list, err)
		}
		for _, token := range list {
			if err := policystore.RevokeToken(t.Context(), db, token.ID, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		k.wants(401, policystore.RoleEditor, "GET", "/policy/active", "")
		if _, _, err := policystore.CreateToken(t.Context(), db, "x", "root", 0, time.Now()); err == nil {
			t.Error("a role that there is not")
		}
	})
}
