package federation_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"beffroi/federation"
	"beffroi/matrix"
	"beffroi/policy"
)

// withoutSignature are the calls that the specification leaves open.
var withoutSignature = []string{
	"GET /_matrix/federation/v1/version", "GET /_matrix/federation/v1/openid/userinfo",
	"GET /_matrix/key/v2/server", "GET /_matrix/key/v2/server/{keyID}",
	"POST /_matrix/key/v2/query", "GET /_matrix/key/v2/query/{serverName}", "GET /_matrix/key/v2/query/{serverName}/{keyID}",
}

func TestTable(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, route := range new(federation.Server).Table() {
		if seen[route.Pattern] {
			t.Errorf("%s is there twice", route.Pattern)
		}
		seen[route.Pattern] = true
		if open := slices.Contains(withoutSignature, route.Pattern); open != (route.Action == policy.ActionNone) {
			t.Errorf("%s has the action %s", route.Pattern, route.Action)
		}
	}
}

// example fills the names of a pattern in.
var example = strings.NewReplacer("{roomID}", "%21r:one.example", "{eventID}", "%24e", "{userID}", "@bob:two.example",
	"{txnID}", "t1")

// signedRoutes calls fn for every call that needs a signature.
func signedRoutes(fn func(method, path string)) {
	for _, route := range new(federation.Server).Table() {
		if route.Action != policy.ActionNone {
			method, path, _ := strings.Cut(route.Pattern, " ")
			fn(method, example.Replace(path))
		}
	}
}

// body is what a method is called with where it does not matter.
func body(method string) any {
	if method == http.MethodGet {
		return nil
	}
	return "{}"
}

func TestAnUnknownServerIsRefusedBeforeItsKeysAreFetched(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.start(t, "sqlite", one, ministries)
	stranger, fetched := n.scribe(t, "stranger.example")
	signedRoutes(func(method, path string) {
		answer := stranger.call(t, a, method, path, body(method))
		if answer.status != 403 || answer.Get("errcode").String() != "M_FORBIDDEN" ||
			answer.Get(`org\.beffroi\.policy.reason`).String() != string(policy.ReasonUnknownServer) ||
			answer.Get(`org\.beffroi\.policy.decision`).String() == "" {
			t.Errorf("%s %s: %d %s", method, path, answer.status, answer.Raw)
		}
	})
	if fetched.Load() != 0 || a.woken.Load() != 0 {
		t.Errorf("keys fetched %d times, woken %d times", fetched.Load(), a.woken.Load())
	}
	// A known server's are, once.
	known, fetched := n.scribe(t, evil)
	known.call(t, a, http.MethodGet, v1+"query/directory?room_alias=%23x:one.example", nil).wants(t, 404, "M_NOT_FOUND")
	known.call(t, a, http.MethodGet, v1+"query/directory?room_alias=%23x:one.example", nil).wants(t, 404, "M_NOT_FOUND")
	if fetched.Load() != 1 || a.woken.Load() != 2 {
		t.Errorf("keys fetched %d times, woken %d times", fetched.Load(), a.woken.Load())
	}
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.start(t, "sqlite", one, "")
	good, _ := n.scribe(t, evil)
	for name, spoil := range map[string]func(*pen){
		"none": func(p *pen) { p.change = func(r *http.Request) { r.Header.Del("Authorization") } },
		"another scheme": func(p *pen) {
			p.change = func(r *http.Request) { r.Header.Set("Authorization", "Bearer secret") }
		},
		"wrong": func(p *pen) {
			p.change = func(r *http.Request) {
				h := r.Header.Get("Authorization")
				r.Header.Set("Authorization", h[:len(h)-20]+strings.Repeat("A", 19)+`"`)
			}
		},
		"of another method":  func(p *pen) { p.change = func(r *http.Request) { r.Header.Set("Authorization", otherMethod(p, r)) } },
		"for another server": func(p *pen) { p.destination = two },
		"in another name": func(p *pen) {
			p.change = func(r *http.Request) {
				r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), string(evil), string(two), 1))
			}
		},
		"in our name": func(p *pen) { p.key.Server = one },
		"by an unknown key": func(p *pen) {
			p.change = func(r *http.Request) {
				r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "ed25519:e1", "ed25519:e2", 1))
			}
		},
		"too many": func(p *pen) {
			p.change = func(r *http.Request) {
				for range 10 {
					r.Header.Add("Authorization", r.Header.Get("Authorization"))
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := *good
			spoil(&p)
			signedRoutes(func(method, path string) {
				answer := p.call(t, a, method, path, body(method))
				if answer.status != 401 || answer.Get("errcode").String() != "M_UNAUTHORIZED" {
					t.Errorf("%s %s: %d %s", method, path, answer.status, answer.Raw)
				}
			})
		})
	}
	if a.woken.Load() != 0 {
		t.Error("a bad signature woke somebody")
	}
}

func otherMethod(p *pen, r *http.Request) string {
	req := r.Clone(r.Context())
	req.Method = http.MethodDelete
	return p.sign(req, nil, one)
}

func TestBodies(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.start(t, "sqlite", one, "")
	p, _ := n.scribe(t, evil)
	const send = v1 + "send/t1"
	large := `{"pdus":[],"x":"` + strings.Repeat("x", 16<<20) + `"}`
	for name, tc := range map[string]struct {
		method, path string
		body         string
		status       int
		code         string
	}{
		"not JSON":              {"PUT", send, `{"pdus":`, 400, "M_NOT_JSON"},
		"an array":              {"PUT", send, `[]`, 400, "M_BAD_JSON"},
		"NaN":                   {"PUT", send, `{"pdus":[],"x":NaN}`, 400, "M_NOT_JSON"},
		"duplicate keys":        {"PUT", send, `{"pdus":[],"pdus":[]}`, 400, "M_BAD_JSON"},
		"too deep":              {"PUT", send, `{"pdus":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`, 400, "M_BAD_JSON"},
		"wrong type":            {"PUT", send, `{"pdus":"x"}`, 400, "M_BAD_JSON"},
		"another origin":        {"PUT", send, `{"origin":"two.example","pdus":[]}`, 400, "M_INVALID_PARAM"},
		"51 events":             {"PUT", send, `{"pdus":[` + strings.Repeat("{},", 50) + `{}]}`, 400, "M_BAD_JSON"},
		"101 messages":          {"PUT", send, `{"pdus":[],"edus":[` + strings.Repeat("{},", 100) + `{}]}`, 400, "M_BAD_JSON"},
		"a transaction too big": {"PUT", send, large, 413, "M_TOO_LARGE"},
		"a long name":           {"PUT", v1 + "send/" + strings.Repeat("x", 256), `{"pdus":[]}`, 400, "M_INVALID_PARAM"},
		"a NUL in the name":     {"PUT", v1 + "send/%00", `{"pdus":[]}`, 400, "M_INVALID_PARAM"},
		"a question too big":    {"POST", v1 + "user/keys/query", large[:2<<20] + `"}`, 413, "M_TOO_LARGE"},
		"no accounts":           {"POST", v1 + "user/keys/query", `{}`, 400, "M_MISSING_PARAM"},
		"no devices":            {"POST", v1 + "user/keys/claim", `{}`, 400, "M_MISSING_PARAM"},
		"no room ID":            {"PUT", v2 + "send_join/r/%24e", `{}`, 400, "M_INVALID_PARAM"},
		"no event ID":           {"PUT", v2 + "send_join/%21r/e", `{}`, 400, "M_INVALID_PARAM"},
		"no sender":             {"PUT", v2 + "send_join/%21r/%24e", `{}`, 400, "M_BAD_JSON"},
		"no room version":       {"PUT", v2 + "invite/%21r/%24e", `{"event":{}}`, 400, "M_MISSING_PARAM"},
		"no event":              {"PUT", v2 + "invite/%21r/%24e", `{"room_version":"12"}`, 400, "M_MISSING_PARAM"},
		"null for an event":     {"PUT", v2 + "invite/%21r/%24e", `{"room_version":"12","event":null}`, 400, "M_MISSING_PARAM"},
		"101 events named":      {"POST", v1 + "get_missing_events/%21r", `{"latest_events":["$e"` + strings.Repeat(`,"$e"`, 100) + `]}`, 400, "M_INVALID_PARAM"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p.call(t, a, tc.method, tc.path, tc.body).wants(t, tc.status, tc.code)
		})
	}
	for name, tc := range map[string]struct {
		path, code string
		status     int
	}{
		"no event":       {v1 + "state_ids/%21r", "M_MISSING_PARAM", 400},
		"bad event":      {v1 + "state/%21r?event_id=x", "M_INVALID_PARAM", 400},
		"from nowhere":   {v1 + "backfill/%21r?limit=1", "M_MISSING_PARAM", 400},
		"no limit":       {v1 + "backfill/%21r?v=%24e", "M_MISSING_PARAM", 400},
		"negative limit": {v1 + "backfill/%21r?v=%24e&limit=-1", "M_INVALID_PARAM", 400},
		"from too much":  {v1 + "backfill/%21r?limit=1" + strings.Repeat("&v=%24e", 101), "M_INVALID_PARAM", 400},
		"bad user":       {v1 + "make_join/%21r/x", "M_INVALID_PARAM", 400},
		"many versions":  {v1 + "make_join/%21r/@eve:evil.example?x=1" + strings.Repeat("&ver=1", 101), "M_INVALID_PARAM", 400},
		"another's user": {v1 + "make_join/%21r/@bob:two.example?ver=12", "M_FORBIDDEN", 403},
		"unknown room":   {v1 + "make_join/%21r/@eve:evil.example?ver=12", "M_NOT_FOUND", 404},
		"knock":          {v1 + "make_knock/%21r/@eve:evil.example?ver=12", "M_NOT_FOUND", 404},
		"leave":          {v1 + "make_leave/%21r/@eve:evil.example", "M_NOT_FOUND", 404},
		"no profile":     {v1 + "query/profile", "M_MISSING_PARAM", 400},
		"theirs":         {v1 + "query/profile?user_id=@bob:two.example", "M_INVALID_PARAM", 400},
		"unknown":        {v1 + "query/profile?user_id=@x:one.example", "M_NOT_FOUND", 404},
		"their alias":    {v1 + "query/directory?room_alias=%23x:two.example", "M_INVALID_PARAM", 400},
		"unknown call":   {v1 + "query/everything", "M_UNRECOGNIZED", 404},
		"no account":     {v1 + "user/devices/@x:one.example", "M_NOT_FOUND", 404},
	} {
		t.Run("get "+name, func(t *testing.T) {
			t.Parallel()
			p.call(t, a, http.MethodGet, tc.path, nil).wants(t, tc.status, tc.code)
		})
	}
}

func TestWrongMethod(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.start(t, "sqlite", one, "")
	p, _ := n.scribe(t, evil)
	p.call(t, a, http.MethodPost, v1+"send/t1", "{}").wants(t, 405, "M_UNRECOGNIZED")
	p.call(t, a, http.MethodGet, "/_matrix/federation/v9/send/t1", nil).wants(t, 404, "M_UNRECOGNIZED")
}

func TestKeysArePublished(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.start(t, "sqlite", one, ministries), n.start(t, "sqlite", two, ministries)
	open := &pen{net: n, key: b.key, change: func(r *http.Request) { r.Header.Del("Authorization") }}
	for _, path := range []string{"/_matrix/key/v2/server", "/_matrix/key/v2/server/ed25519:a1"} {
		if got := open.call(t, a, http.MethodGet, path, nil).wants(t, 200, ""); got.Get("verify_keys.ed25519:a1.key").String() == "" {
			t.Errorf("%s: %s", path, got.Raw)
		}
	}
	if got := open.call(t, a, http.MethodGet, v1+"version", nil); got.Get("server.name").String() != "Beffroi" {
		t.Errorf("%s", got.Raw)
	}
	// As a notary it vouches for those it speaks with, and asks nobody else.
	stranger, fetched := n.scribe(t, "stranger.example")
	asked := map[string]any{"server_keys": map[matrix.ServerName]any{two: struct{}{}, one: struct{}{}, "stranger.example": struct{}{}}}
	got := open.call(t, a, http.MethodPost, "/_matrix/key/v2/query", asked).wants(t, 200, "")
	if list := got.Get("server_keys.#.server_name").Array(); len(list) != 2 || !got.Get(`server_keys.#(server_name=="two.example").signatures.one\.example`).Exists() {
		t.Errorf("%s", got.Raw)
	}
	open.call(t, a, http.MethodGet, "/_matrix/key/v2/query/two.example", nil).wants(t, 200, "")
	open.call(t, a, http.MethodGet, "/_matrix/key/v2/query/two.example/ed25519:a1?minimum_valid_until_ts=1", nil).wants(t, 200, "")
	open.call(t, a, http.MethodGet, "/_matrix/key/v2/query/stranger.example", nil).wants(t, 403, "M_FORBIDDEN")
	open.call(t, a, http.MethodGet, "/_matrix/key/v2/query/not%20a%20name", nil).wants(t, 400, "M_INVALID_PARAM")
	open.call(t, a, http.MethodPost, "/_matrix/key/v2/query", `{"server_keys":[]}`).wants(t, 400, "M_BAD_JSON")
	if fetched.Load() != 0 {
		t.Errorf("keys of %s were fetched", stranger.key.Server)
	}
}
