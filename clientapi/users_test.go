package clientapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestProfile(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	path := "/profile/" + alice.id
	alice.put(t, path+"/displayname", body{"displayname": "Alice"}).ok(t)
	alice.put(t, path+"/avatar_url", body{"avatar_url": "mxc://here.example/a"}).ok(t)
	alice.put(t, path+"/m.tz", body{"m.tz": "Europe/Paris"}).ok(t)
	if got := bob.get(t, path).ok(t); got.Get("displayname").String() != "Alice" || got.Get(`m\.tz`).String() != "Europe/Paris" {
		t.Error(got.Raw)
	}
	if got := bob.get(t, path+"/avatar_url").ok(t); got.Raw != `{"avatar_url":"mxc://here.example/a"}` {
		t.Error(got.Raw)
	}
	alice.delete(t, path+"/avatar_url").ok(t)
	bob.get(t, path+"/avatar_url").wants(t, 404, "M_NOT_FOUND")
	for name, tc := range map[string]struct {
		got    reply
		status int
		code   string
	}{
		"another's":       {bob.put(t, path+"/displayname", body{"displayname": "Eve"}), 403, "M_FORBIDDEN"},
		"another's field": {bob.delete(t, path+"/m.tz"), 403, "M_FORBIDDEN"},
		"missing":         {alice.put(t, path+"/displayname", body{}), 400, "M_MISSING_PARAM"},
		"no string":       {alice.put(t, path+"/displayname", body{"displayname": 7}), 400, "M_INVALID_PARAM"},
		"long name":       {alice.put(t, path+"/displayname", body{"displayname": strings.Repeat("a", 257)}), 400, "M_INVALID_PARAM"},
		"no avatar":       {alice.put(t, path+"/avatar_url", body{"avatar_url": "https://x"}), 400, "M_INVALID_PARAM"},
		"nobody":          {alice.get(t, "/profile/@nobody:here.example"), 404, "M_NOT_FOUND"},
		"no user ID":      {alice.get(t, "/profile/alice"), 400, "M_INVALID_PARAM"},
		"server away":     {alice.get(t, "/profile/@eve:away.example"), http.StatusBadGateway, "M_UNKNOWN"},
	} {
		if tc.got.status != tc.status || tc.got.Get("errcode").String() != tc.code {
			t.Errorf("%s: %d %s, want %d %s", name, tc.got.status, tc.got.Raw, tc.status, tc.code)
		}
	}
}

func TestAccountData(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	id, _ := alice.creates(t, body{})
	global, room := "/user/"+alice.id+"/account_data/", "/user/"+alice.id+"/rooms/"+id+"/account_data/"
	alice.put(t, global+"org.example.a", body{"x": 1}).ok(t)
	alice.put(t, room+"org.example.a", body{"x": 2}).ok(t)
	if a, b := alice.get(t, global+"org.example.a").ok(t), alice.get(t, room+"org.example.a").ok(t); a.Raw != `{"x":1}` || b.Raw != `{"x":2}` {
		t.Errorf("%s and %s", a.Raw, b.Raw)
	}
	for name, tc := range map[string]struct {
		got    reply
		status int
		code   string
	}{
		"absent":        {alice.get(t, global+"nothing"), 404, "M_NOT_FOUND"},
		"another's":     {bob.get(t, global+"org.example.a"), 403, "M_FORBIDDEN"},
		"write theirs":  {bob.put(t, room+"org.example.a", body{}), 403, "M_FORBIDDEN"},
		"managed":       {alice.put(t, global+"m.push_rules", body{}), 405, "M_BAD_JSON"},
		"managed, room": {alice.put(t, room+"m.fully_read", body{}), 405, "M_BAD_JSON"},
		"no object":     {alice.put(t, global+"a", "[]"), 400, "M_BAD_JSON"},
		"no room":       {alice.put(t, "/user/"+alice.id+"/rooms/x/account_data/a", body{}), 400, "M_INVALID_PARAM"},
		"too large":     {alice.put(t, global+"a", body{"a": strings.Repeat("a", 65<<10)}), 413, "M_TOO_LARGE"},
	} {
		if tc.got.status != tc.status || tc.got.Get("errcode").String() != tc.code {
			t.Errorf("%s: %d %s, want %d %s", name, tc.got.status, tc.got.Raw, tc.status, tc.code)
		}
	}
	tags := "/user/" + alice.id + "/rooms/" + id + "/tags"
	if got := alice.get(t, tags).ok(t); got.Raw != `{"tags":{}}` {
		t.Error(got.Raw)
	}
	alice.put(t, tags+"/m.favourite", body{"order": 0.5}).ok(t)
	alice.put(t, tags+"/u.work", nil).ok(t)
	if got := alice.get(t, tags).ok(t); got.Get(`tags.m\.favourite.order`).Float() != 0.5 || !got.Get(`tags.u\.work`).Exists() {
		t.Error(got.Raw)
	}
	alice.delete(t, tags+"/m.favourite").ok(t)
	if got := alice.get(t, room+"m.tag").ok(t); got.Raw != `{"tags":{"u.work":{}}}` {
		t.Error(got.Raw)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	path := "/user/" + alice.id + "/filter"
	id := alice.post(t, path, body{"room": body{"timeline": body{"limit": 5}}}).ok(t).Get("filter_id").String()
	if got := alice.get(t, path+"/"+id).ok(t); got.Get("room.timeline.limit").Int() != 5 {
		t.Error(got.Raw)
	}
	alice.get(t, path+"/nothing").wants(t, 404, "M_NOT_FOUND")
	bob.get(t, path+"/"+id).wants(t, 403, "M_FORBIDDEN")
	bob.post(t, path, body{}).wants(t, 403, "M_FORBIDDEN")
	alice.post(t, path, body{"room": body{"timeline": 7}}).wants(t, 400, "M_BAD_JSON")
	alice.post(t, path, body{"room": body{"rooms": []string{"x"}}}).wants(t, 400, "M_INVALID_PARAM")
}

func TestPushRules(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	for path, field := range map[string]string{"/pushrules/": "global.override.0", "/pushrules": "global.override.0",
		"/pushrules/global/": "override.0", "/user/" + alice.id + "/account_data/m.push_rules": "global.override.0"} {
		if got := alice.get(t, path).ok(t); got.Get(field+".rule_id").String() != ".m.rule.master" {
			t.Errorf("%s: %s", path, got.Raw)
		}
	}
	const own = "/pushrules/global/content/cake"
	alice.put(t, own, body{"pattern": "cake", "actions": []any{"notify"}}).ok(t)
	if got := alice.get(t, own).ok(t); got.Get("pattern").String() != "cake" || !got.Get("enabled").Bool() || got.Get("default").Bool() {
		t.Error(got.Raw)
	}
	alice.put(t, own+"/enabled", body{"enabled": false}).ok(t)
	alice.put(t, own+"/actions", body{"actions": []any{}}).ok(t)
	if got := alice.get(t, own+"/enabled").ok(t); got.Raw != `{"enabled":false}` {
		t.Error(got.Raw)
	}
	if got := alice.get(t, own+"/actions").ok(t); got.Raw != `{"actions":[]}` {
		t.Error(got.Raw)
	}
	const master = "/pushrules/global/override/.m.rule.master"
	alice.put(t, master+"/enabled", body{"enabled": true}).ok(t)
	if !alice.get(t, master).ok(t).Get("enabled").Bool() || bob.get(t, master).ok(t).Get("enabled").Bool() {
		t.Error("the master rule is not the user's own")
	}
	alice.put(t, "/pushrules/global/content/pie?before=cake", body{"pattern": "pie", "actions": []any{"notify"}}).ok(t)
	alice.delete(t, own).ok(t)
	for name, tc := range map[string]struct {
		got    reply
		status int
		code   string
	}{
		"gone":         {alice.get(t, own), 404, "M_NOT_FOUND"},
		"delete again": {alice.delete(t, own), 404, "M_NOT_FOUND"},
		"odd kind":     {alice.get(t, "/pushrules/global/odd/x"), 400, "M_INVALID_PARAM"},
		"new default":  {alice.put(t, "/pushrules/global/content/.x", body{"pattern": "x", "actions": []any{}}), 400, "M_INVALID_PARAM"},
		"bad anchor":   {alice.put(t, "/pushrules/global/content/x?after=y", body{"pattern": "x", "actions": []any{}}), 400, "M_UNKNOWN"},
		"no pattern":   {alice.put(t, own, body{"actions": []any{}}), 400, "M_MISSING_PARAM"},
		"no enabled":   {alice.put(t, master+"/enabled", body{}), 400, "M_MISSING_PARAM"},
	} {
		if tc.got.status != tc.status || tc.got.Get("errcode").String() != tc.code {
			t.Errorf("%s: %d %s, want %d %s", name, tc.got.status, tc.got.Raw, tc.status, tc.code)
		}
	}
}

func TestMutualRooms(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	alice.creates(t, body{})
	id, room := alice.creates(t, body{"preset": "public_chat"})
	const path = "/_matrix/client/v1/mutual_rooms?user_id="
	if got := alice.get(t, path+bob.id).ok(t); got.Raw != `{"joined":[],"count":0}` {
		t.Error(got.Raw)
	}
	bob.post(t, room+"/join", nil).ok(t)
	if got := alice.get(t, path+bob.id).ok(t); got.Get("joined.0").String() != id || got.Get("count").Int() != 1 {
		t.Error(got.Raw)
	}
	if got := alice.get(t, path+bob.id+"&from="+url.QueryEscape(id)).ok(t); got.Get("joined.#").Int() != 0 {
		t.Error(got.Raw)
	}
	for _, query := range []string{alice.id, "bob", "", "@:here.example", bob.id + "&from=x"} {
		alice.get(t, path+query).wants(t, 400, "M_INVALID_PARAM")
	}
}
