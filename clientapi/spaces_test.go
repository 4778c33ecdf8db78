package clientapi_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

func (p *person) space(t *testing.T, name string, children ...body) (id string) {
	t.Helper()
	state := []any{}
	for _, child := range children {
		state = append(state, body{"type": "m.space.child", "state_key": child["id"], "content": child["content"]})
	}
	id, _ = p.creates(t, body{"preset": "public_chat", "name": name, "creation_content": body{"type": "m.space"}, "initial_state": state})
	return id
}

func child(id string, more ...body) body {
	content := body{"via": []string{"here.example"}}
	for _, m := range more {
		for k, v := range m {
			content[k] = v
		}
	}
	return body{"id": id, "content": content}
}

// names returns the names of the rooms of a page.
func names(got reply) (list []string) {
	for _, room := range got.Get("rooms").Array() {
		list = append(list, room.Get("name").String())
	}
	return list
}

func TestHierarchy(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
		public := func(name string) string {
			id, _ := alice.creates(t, body{"preset": "public_chat", "name": name})
			return id
		}
		secret, _ := alice.creates(t, body{"preset": "private_chat", "name": "secret"})
		invited, invitedPath := alice.creates(t, body{"preset": "private_chat", "name": "invited", "invite": []string{bob.id}})
		knock, _ := alice.creates(t, body{"name": "knock", "initial_state": []any{body{"type": "m.room.join_rules", "content": body{"join_rule": "knock"}}}})
		a, b, c := public("a"), public("b"), public("c")
		inner := alice.space(t, "inner", child(c), child(secret), body{"id": a, "content": body{"via": []string{}}})
		root := alice.space(t, "root",
			child(b, body{"order": "2"}), child(inner, body{"order": "10", "suggested": true}), child(a, body{"order": "é"}),
			child(knock, body{"order": "5"}), child(invited, body{"order": "6"}), child("!unknown:here.example"), child(secret))
		restricted, _ := alice.creates(t, body{"name": "restricted", "initial_state": []any{body{"type": "m.room.join_rules", "content": body{
			"join_rule": "restricted", "allow": []any{body{"type": "m.room_membership", "room_id": root}}}}}})
		path := "/_matrix/client/v1/rooms/" + url.PathEscape(root) + "/hierarchy"
		alice.put(t, "/rooms/"+url.PathEscape(root)+"/state/m.space.child/"+url.PathEscape(restricted), child(restricted)["content"]).ok(t)
		alice.put(t, "/rooms/"+url.PathEscape(inner)+"/state/m.space.child/"+url.PathEscape(root), child(root)["content"]).ok(t) // a loop

		got := bob.get(t, path).ok(t)
		if list, want := names(got), []string{"root", "inner", "c", "b", "knock", "invited", "a"}; !slices.Equal(list, want) {
			t.Errorf("bob sees %v, want %v", list, want)
		}
		bob.post(t, "/rooms/"+url.PathEscape(root)+"/join", body{}).ok(t)
		got = bob.get(t, path).ok(t)
		if list, want := names(got), []string{"root", "inner", "c", "b", "knock", "invited", "a", "restricted"}; !slices.Equal(list, want) {
			t.Errorf("inside bob sees %v, want %v", list, want)
		}
		first := got.Get("rooms.0")
		if first.Get("room_type").String() != "m.space" || first.Get("num_joined_members").Int() != 2 || first.Get("join_rule").String() != "public" ||
			first.Get("room_version").String() == "" || first.Get("children_state.#").Int() != 8 || !first.Get("world_readable").Exists() ||
			!first.Get("guest_can_join").Exists() {
			t.Errorf("root: %s", first.Raw)
		}
		if link := first.Get("children_state.0"); link.Get("state_key").String() != inner || link.Get("type").String() != "m.space.child" ||
			link.Get("sender").String() != alice.id || link.Get("origin_server_ts").Int() == 0 || link.Get("content.via.0").String() != "here.example" {
			t.Errorf("first child: %s", link.Raw)
		}
		if last := got.Get("rooms.7"); last.Get("allowed_room_ids.0").String() != root || last.Get("children_state").Raw != "[]" {
			t.Errorf("restricted: %s", last.Raw)
		}
		for query, want := range map[string][]string{
			"?suggested_only=true":     {"root", "inner"},
			"?max_depth=0":             {"root"},
			"?max_depth=1":             {"root", "inner", "b", "knock", "invited", "a", "restricted"},
			"?max_depth=1&limit=10000": {"root", "inner", "b", "knock", "invited", "a", "restricted"},
		} {
			if list := names(bob.get(t, path+query).ok(t)); !slices.Equal(list, want) {
				t.Errorf("%s: %v, want %v", query, list, want)
			}
		}
		var pages [][]string
		for from := ""; len(pages) < 9; {
			got := bob.get(t, path+"?limit=3"+from).ok(t)
			pages = append(pages, names(got))
			if !got.Get("next_batch").Exists() {
				break
			}
			from = "&from=" + got.Get("next_batch").String()
		}
		if want := "[[root inner c] [b knock invited] [a restricted]]"; fmt.Sprint(pages) != want {
			t.Errorf("pages %v, want %s", pages, want)
		}
		next := bob.get(t, path+"?limit=3&max_depth=3").ok(t).Get("next_batch").String()
		for query, status := range map[string]int{
			"?from=" + next + "&max_depth=3": 200, "?from=" + next + "&max_depth=2": 400, "?from=" + next + "&max_depth=3&suggested_only=true": 400,
			"?from=x": 400, "?limit=0": 400, "?limit=x": 400, "?max_depth=-1": 400, "?suggested_only=1": 400, "?from=h-1_false_10": 400,
		} {
			code := ""
			if status != 200 {
				code = "M_INVALID_PARAM"
			}
			bob.get(t, path+query).wants(t, status, code)
		}
		bob.get(t, "/_matrix/client/v1/rooms/"+url.PathEscape(secret)+"/hierarchy").wants(t, 403, "M_FORBIDDEN")
		bob.get(t, "/_matrix/client/v1/rooms/%21none:here.example/hierarchy").wants(t, 403, "M_FORBIDDEN")
		alice.post(t, invitedPath+"/ban", body{"user_id": bob.id}).ok(t)
		bob.get(t, "/_matrix/client/v1/rooms/"+url.PathEscape(invited)+"/hierarchy").wants(t, 403, "M_FORBIDDEN")
	})
}

func TestRoomSummary(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	id, room := alice.creates(t, body{"preset": "public_chat", "name": "Pub", "topic": "Beer", "room_alias_name": "pub",
		"initial_state": []any{body{"type": "m.room.encryption", "content": body{"algorithm": "m.megolm.v1.aes-sha2"}}}})
	secret, _ := alice.creates(t, body{"preset": "private_chat", "name": "secret", "invite": []string{bob.id}})
	for _, base := range []string{"/_matrix/client/v1/room_summary/", "/_matrix/client/unstable/im.nheko.summary/summary/"} {
		for _, name := range []string{id, "#pub:here.example"} {
			got := bob.get(t, base+url.PathEscape(name)).ok(t)
			if got.Get("room_id").String() != id || got.Get("name").String() != "Pub" || got.Get("topic").String() != "Beer" ||
				got.Get("encryption").String() != "m.megolm.v1.aes-sha2" || got.Get("num_joined_members").Int() != 1 || got.Get("membership").Exists() {
				t.Errorf("%s%s: %s", base, name, got.Raw)
			}
		}
	}
	nheko := bob.get(t, "/_matrix/client/unstable/im.nheko.summary/rooms/"+url.PathEscape(id)+"/summary?via=here.example").ok(t)
	if got := nheko.Get(`im\.nheko\.summary\.room_version`).String(); got == "" || got != nheko.Get("room_version").String() {
		t.Error(nheko.Raw)
	}
	summary := func(p *person, id string) reply {
		return p.get(t, "/_matrix/client/v1/room_summary/"+url.PathEscape(id))
	}
	if got := summary(bob, secret).ok(t); got.Get("membership").String() != "invite" || got.Get("name").String() != "secret" {
		t.Error(got.Raw)
	}
	if got := summary(alice, secret).ok(t); got.Get("membership").String() != "join" {
		t.Error(got.Raw)
	}
	bob.post(t, "/rooms/"+url.PathEscape(secret)+"/leave", body{}).ok(t)
	summary(bob, secret).wants(t, 404, "M_NOT_FOUND")
	summary(bob, "!none:here.example").wants(t, 404, "M_NOT_FOUND")
	summary(bob, "#none:here.example").wants(t, 404, "M_NOT_FOUND")
	summary(bob, "x").wants(t, 400, "M_INVALID_PARAM")
	h.call(t, "", "GET", "/_matrix/client/v1/room_summary/"+url.PathEscape(id), nil).ok(t) // development
	h.call(t, "", "GET", "/_matrix/client/v1/room_summary/"+url.PathEscape(secret), nil).wants(t, 404, "M_NOT_FOUND")
	alice.post(t, room+"/ban", body{"user_id": bob.id}).ok(t)
	summary(bob, id).wants(t, 404, "M_NOT_FOUND")
}

func TestTimestampToEvent(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
		_, room := alice.creates(t, body{"preset": "public_chat", "initial_state": []any{
			body{"type": "m.room.history_visibility", "content": body{"history_visibility": "joined"}}}})
		first := alice.says(t, room, "m.room.message", body{"body": "1"})
		at := func(id string) int64 { return alice.get(t, room+"/event/"+id).ok(t).Get("origin_server_ts").Int() }
		for at(first) >= at(alice.says(t, room, "m.room.message", body{"body": "tick"})) {
		}
		last := alice.says(t, room, "m.room.message", body{"body": "2"})
		base := "/_matrix/client/v1" + room + "/timestamp_to_event"
		near := func(p *person, ts int64, dir string) reply {
			return p.get(t, fmt.Sprintf("%s?ts=%d&dir=%s", base, ts, dir))
		}
		if got := near(alice, at(last)+1_000_000, "b").ok(t); got.Get("event_id").String() != last || got.Get("origin_server_ts").Int() != at(last) {
			t.Error(got.Raw)
		}
		create := alice.get(t, room+"/state/m.room.create?format=event").ok(t)
		if got := near(alice, 0, "f").ok(t); got.Get("event_id").String() != create.Get("event_id").String() {
			t.Error(got.Raw)
		}
		near(alice, 0, "b").wants(t, 404, "M_NOT_FOUND")
		near(alice, at(last)+1_000_000, "f").wants(t, 404, "M_NOT_FOUND")
		near(bob, 0, "f").wants(t, 403, "M_FORBIDDEN")
		bob.post(t, room+"/join", body{}).ok(t)
		got := near(bob, at(first), "f").ok(t)
		if got.Get("origin_server_ts").Int() < at(last) {
			t.Errorf("bob sees what was before him: %s", got.Raw)
		}
		bob.get(t, room+"/context/"+got.Get("event_id").String()).ok(t)
		for _, query := range []string{"", "?ts=1", "?dir=f"} {
			alice.get(t, base+query).wants(t, 400, "M_MISSING_PARAM")
		}
		for _, query := range []string{"?ts=x&dir=f", "?ts=1&dir=x", "?ts=1.5&dir=f"} {
			alice.get(t, base+query).wants(t, 400, "M_INVALID_PARAM")
		}
		alice.get(t, strings.Replace(base, "/v1/", "/unstable/org.matrix.msc3030/", 1)+"?ts=0&dir=f").ok(t)
	})
}
