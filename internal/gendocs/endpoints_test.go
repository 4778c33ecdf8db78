package main

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCallsAreFound reads tables and tests of every form.
func TestCallsAreFound(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, "clientapi/table.go", `package clientapi

const (
	get = http.MethodGet
	v3  = "/_matrix/client/v3"
	own = v3 + "/user/{userID}"
)

func (s *Server) table() []route {
	return []route{
		{get, v3 + "/sync", session, freeRead, do(s.sync)},
		{"PUT", own + "/rooms/{roomID}/tags/{tag}", self, freeOwn, do(s.setTag)},
		{get, "/.well-known/matrix/client", anyone, freePublic, do(s.wellKnownClient)},
	}
}
`)
	write(t, root, "clientapi/sync_test.go", `package clientapi_test

const tagged = "/tags/m.favourite"

func helper() { get("/sync") }

func TestSync(t *testing.T) {
	alice.get(t, "/sync?since=x")
}

func TestTags(t *testing.T) {
	alice.put(t, room+tagged, nil)
	h.call(t, "", "POST", "/.well-known/matrix/client", nil)
}
`)
	write(t, root, "federation/routes.go", `package federation

const v1 = "/_matrix/federation/v1"

func (s *Server) Table() []Route {
	return []Route{route(s, "GET "+v1+"/make_join/{roomID}/{userID}", policy.ActionJoin, maxBody, s.makeJoin)}
}
`)
	write(t, root, "federation/joins_test.go", `package federation_test

func TestJoin(t *testing.T) { p.call(t, a, v1+esc("make_join", room)) }
`)
	src, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	served, tested := routes(src), newTests(src)
	for _, tc := range []struct{ api, method, path, handler, test string }{
		{"client-server", "GET", "/_matrix/client/v3/sync", "clientapi.Server.sync", "clientapi.TestSync"},
		{"client-server", "PUT", "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}", "clientapi.Server.setTag", "clientapi.TestTags"},
		{"client-server", "DELETE", "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}", "", ""},
		{"client-server", "GET", "/.well-known/matrix/client", "clientapi.Server.wellKnownClient", ""},
		{"client-server", "GET", "/_matrix/client/v3/joined_rooms", "", ""},
		{"server-server", "GET", "/_matrix/federation/v1/make_join/{roomId}/{userId}", "federation.Server.makeJoin", "federation.TestJoin"},
		{"server-server", "GET", "/_matrix/federation/v1/make_leave/{roomId}/{userId}", "", ""},
	} {
		e := endpoint{api: tc.api, method: tc.method, path: tc.path}
		if got := served[pattern(e.name())]; got != tc.handler {
			t.Errorf("%s is served by %q, want %q", e.name(), got, tc.handler)
		}
		if got := tested.of(&e); got != tc.test {
			t.Errorf("%s is tested by %q, want %q", e.name(), got, tc.test)
		}
	}
	if err := endpointTable(src, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "GET /_matrix/client/v3/joined_rooms") {
		t.Errorf("calls that are not served are not noticed: %v", err)
	}
}

// TestListsNameCalls keeps the lists from naming what is no call.
func TestListsNameCalls(t *testing.T) {
	t.Parallel()
	var names []string
	for _, e := range endpoints() {
		names = append(names, e.name())
	}
	if len(names) != 200 {
		t.Errorf("%d calls", len(names))
	}
	later, never := notYet(), unserved()
	for name := range later {
		if !slices.Contains(names, name) || never[name] != "" {
			t.Errorf("notyet.txt: %s is no call, or is left out", name)
		}
	}
	for name, why := range never {
		if !slices.Contains(names, name) || why == "" {
			t.Errorf("unserved.tsv: %s is no call, or has no reason", name)
		}
	}
	src, err := load(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	tests := newTests(src)
	for name, test := range pairs(testedList) {
		if !slices.Contains(names, name) || !slices.ContainsFunc(tests, func(f testFunc) bool { return f.name == test }) {
			t.Errorf("tested.tsv: %s or %s does not exist", name, test)
		}
	}
}
