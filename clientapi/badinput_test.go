package clientapi_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"beffroi/clientapi"
	"beffroi/internal/testkit"
	"beffroi/storage"
)

var parameter = regexp.MustCompile(`\{[A-Za-z]+\}`)

// nothing is a parameter that is right in form and names nothing.
func nothing(name string) string {
	switch name {
	case "{userID}":
		return "@nobody:here.example"
	case "{roomID}", "{room}":
		return "!nowhere:here.example"
	case "{eventID}":
		return "$nothing"
	case "{roomAlias}":
		return "%23nowhere:here.example"
	}
	return "x"
}

// fill replaces the parameters of a pattern.
func fill(path string, with func(name string) string) string {
	path = parameter.ReplaceAllStringFunc(path, with)
	return strings.TrimSuffix(path, "{$}")
}

// TestBadInput sends everything that is wrong to everything that there is.
func TestBadInput(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		bodies := maps.Clone(badBodies)
		if strings.HasSuffix(t.Name(), "sqlite") { // no engine sees these
			bodies["deep"] = strings.Repeat(`{"a":`, 150_000) + "1" + strings.Repeat("}", 150_000)
			bodies["too long"] = `{"a":"` + strings.Repeat("a", 1<<20) + `"}`
		}
		badInput(t, startOn(t, db), bodies)
	})
}

// badBodies are wrong for every route that takes a body.
var badBodies = map[string]string{
	"empty": "", "array": "[]", "null": "null", "text": `"x"`, "broken": `{"a":`, "trailing": "{} {}", "NaN": `{"limit":NaN}`,
	"duplicate": `{"a":1,"a":2}`, "not UTF-8": "{\"user_id\":\"\xff\"}", "wrong types": wrongTypes, "NULs": nuls,
	"lists": strings.ReplaceAll(wrongTypes, "7", "[]"), "objects": strings.ReplaceAll(wrongTypes, "7", "{}"),
}

// malformed are the bodies that are no JSON, or no JSON object. Nothing is
// written for them, whatever else the request says.
var malformed = map[string]bool{"array": true, "text": true, "broken": true, "trailing": true, "NaN": true, "not UTF-8": true,
	"deep": true, "too long": true}

// anyBody reports whether a route takes a file, or no body, and so any.
func anyBody(rt clientapi.Route) bool {
	return rt.Method == http.MethodGet || rt.Method == http.MethodDelete || strings.HasPrefix(rt.Path, "/_matrix/media/")
}

func badInput(t *testing.T, h *host, bodies map[string]string) {
	alice := h.registers(t, "alice")
	own := func(name string) string {
		if name == "{userID}" {
			return alice.id
		}
		return nothing(name)
	}
	params := map[string]func(string) string{
		"right":   own,
		"others'": nothing,
		"slashes": func(string) string { return "%2F..%2F" },
		"NUL":     func(string) string { return "a%00b" },
		"bytes":   func(string) string { return "%FF%FE" },
		"long":    func(string) string { return strings.Repeat("a", 3000) },
		"sigils":  func(string) string { return "@!$%23" },
	}
	for _, rt := range new(clientapi.Server).Table() {
		if strings.HasPrefix(rt.Path, "/_matrix/client/r0") || strings.Contains(rt.Path, "/logout") {
			continue
		}
		for pname, with := range params {
			for bname, body := range bodies {
				if pname != "right" && bname != "wrong types" && bname != "empty" {
					continue
				}
				before := head(t, h.db)
				path := fill(rt.Path, with) + "?from=x&to=x&at=x&filter=x&limit=x&via=%2F&server=%2F&username=%2F&since=x&timeout=x&ts=x"
				got := alice.call(t, alice.token, rt.Method, path, body)
				if got.status >= 500 && got.status != http.StatusBadGateway {
					t.Errorf("%s %s, %s path, %s body: %d %s", rt.Method, rt.Path, pname, bname, got.status, got.Raw)
				}
				if after := head(t, h.db); after != before && (malformed[bname] && !anyBody(rt) || strings.Contains(rt.Path, "{") && pname != "right" && pname != "others'") {
					t.Errorf("%s %s, %s path, %s body: the log grew from %d to %d: %d %s", rt.Method, rt.Path, pname, bname, before, after, got.status, got.Raw)
				}
				if malformed[bname] && !anyBody(rt) && got.status < 400 {
					t.Errorf("%s %s, %s path, %s body: %d %s", rt.Method, rt.Path, pname, bname, got.status, got.Raw)
				}
				if got.status >= 400 && got.header.Get("Content-Type") == "application/json" && !got.Get("errcode").Exists() && !got.Get("flows").Exists() {
					t.Errorf("%s %s, %s path, %s body: %d without an errcode: %s", rt.Method, rt.Path, pname, bname, got.status, got.Raw)
				}
			}
		}
	}
	if got := alice.get(t, "/account/whoami"); got.status != http.StatusOK {
		t.Errorf("the session ended: %s", got.Raw)
	}
}

// wrongTypes has a number where every field of the API wants something else.
const wrongTypes = `{"type":7,"identifier":7,"user":7,"password":7,"device_id":7,"auth":7,"username":7,"nonce":7,"client_secret":7,
	"email":7,"sid":7,"token":7,"new_password":7,"devices":7,"display_name":7,"x":7,"actions":7,"enabled":7,"visibility":7,
	"invite":7,"initial_state":7,"creation_content":7,"room_version":7,"power_level_content_override":7,"reason":7,"user_id":7,
	"medium":7,"address":7,"typing":7,"thread_id":7,"m.read":7,"m.fully_read":7,"room_id":7,"filter":7,"limit":"x",
	"device_keys":7,"one_time_keys":7,"fallback_keys":7,"master_key":7,"messages":7,"preset":7,"room":7,"presence":7}`

// nuls has a NUL in every text.
const nuls = `{"type":"m.login.password","identifier":{"type":"m.id.user","user":"a\u0000b"},"user":"a\u0000b","password":"\u0000",
	"device_id":"\u0000","auth":{"type":"m.login.dummy","session":"\u0000"},"username":"a\u0000","nonce":"\u0000","mac":"00",
	"client_secret":"\u0000","email":"a\u0000@b.c","sid":"\u0000","token":"\u0000","devices":["\u0000"],"display_name":"\u0000",
	"x":"\u0000","actions":["\u0000"],"visibility":"\u0000","name":"\u0000","topic":"\u0000","room_alias_name":"\u0000",
	"invite":["@\u0000:b"],"reason":"\u0000","user_id":"@\u0000:b","medium":"email","address":"\u0000@b.c","thread_id":"\u0000",
	"m.read":"$\u0000","m.fully_read":"$\u0000","room_id":"!\u0000","since":"\u0000","filter":{"generic_search_term":"\u0000"},
	"device_keys":{"@\u0000:b":["\u0000"]},"one_time_keys":{"\u0000":{"\u0000":"\u0000"}},"messages":{"\u0000":{"\u0000":{"\u0000":1}}}}`

// TestNoToken knocks at every door without a key, and with a wrong one.
func TestNoToken(t *testing.T) {
	t.Parallel()
	h := start(t)
	before := head(t, h.db)
	for _, rt := range new(clientapi.Server).Table() {
		if !rt.NeedsToken {
			continue
		}
		path := fill(rt.Path, nothing)
		h.call(t, "", rt.Method, path, "{}").wants(t, http.StatusUnauthorized, "M_MISSING_TOKEN")
		got := h.call(t, "wrong", rt.Method, path, "{}").wants(t, http.StatusUnauthorized, "M_UNKNOWN_TOKEN")
		if soft := got.Get("soft_logout"); !soft.Exists() || soft.Bool() {
			t.Errorf("%s %s: soft_logout is %s", rt.Method, rt.Path, soft.Raw)
		}
	}
	if after := head(t, h.db); after != before {
		t.Errorf("the log grew from %d to %d", before, after)
	}
}

func head(t *testing.T, db *storage.DB) (pos storage.Position) {
	t.Helper()
	err := db.View(t.Context(), func(r *storage.Reader) (err error) {
		pos, err = storage.Head(t.Context(), r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pos
}

func TestUnknownPaths(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.call(t, "", "GET", "/_matrix/client/v3/nothing", nil).wants(t, http.StatusNotFound, "M_UNRECOGNIZED")
	h.call(t, "", "GET", "/_matrix/client/unstable/org.example.nothing/device", nil).wants(t, http.StatusNotFound, "M_UNRECOGNIZED")
	h.call(t, "", "PATCH", "/_matrix/client/v3/login", nil).wants(t, http.StatusMethodNotAllowed, "M_UNRECOGNIZED")
	w := httptest.NewRecorder()
	h.router.ServeHTTP(w, httptest.NewRequest("OPTIONS", "/_matrix/client/v3/login", nil))
	if w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("OPTIONS: %d %v", w.Code, w.Header())
	}
}
