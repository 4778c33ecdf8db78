package clientapi_test

import (
	"net/url"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

// TestUpgrade replaces a room that has all that a room can have.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	for from, to := range map[string]string{"1": "2", "6": "9", "10": "11", "11": "12", "12": "11", "9": "12"} {
		t.Run(from+" to "+to, func(t *testing.T) {
			t.Parallel()
			testkit.EachEngine(t, func(t *testing.T, db *storage.DB) { upgrade(t, startOn(t, db), from, to) })
		})
	}
}

func upgrade(t *testing.T, h *host, from, to string) {
	alice, bob, eve := h.registers(t, "alice"), h.registers(t, "bob"), h.registers(t, "eve")
	parent := "!space:here.example"
	old, room := alice.creates(t, body{"preset": "public_chat", "visibility": "public", "room_version": from, "name": "Pub",
		"topic": "Beer", "room_alias_name": "pub", "creation_content": body{"type": "org.example.pub"},
		"initial_state": []any{
			body{"type": "m.room.server_acl", "content": body{"allow": []string{"*"}, "deny": []string{"evil.example"}}},
			body{"type": "m.room.avatar", "content": body{"url": "mxc://here.example/a"}},
			body{"type": "m.room.history_visibility", "content": body{"history_visibility": "world_readable"}},
			body{"type": "m.room.guest_access", "content": body{"guest_access": "forbidden"}},
			body{"type": "m.space.parent", "state_key": parent, "content": body{"via": []string{"here.example"}}},
			body{"type": "m.space.child", "state_key": parent, "content": body{}},
			body{"type": "org.example.own", "content": body{"x": 1}},
		},
		"power_level_content_override": body{"events": body{"org.example.rare": 77}, "notifications": body{"room": 60}},
	})
	bob.post(t, room+"/join", body{}).ok(t)
	levels := alice.get(t, room+"/state/m.room.power_levels").ok(t).Value().(map[string]any)
	users, _ := levels["users"].(map[string]any)
	users[bob.id] = 40
	alice.put(t, room+"/state/m.room.power_levels", levels).ok(t)
	alice.post(t, room+"/ban", body{"user_id": eve.id, "reason": "spam"}).ok(t)
	alice.put(t, "/directory/room/"+url.PathEscape("#second:here.example"), body{"room_id": old}).ok(t)
	for _, p := range []*person{alice, bob} {
		p.put(t, "/user/"+p.id+"/rooms/"+old+"/tags/m.favourite", body{"order": 0.5}).ok(t)
		p.put(t, "/user/"+p.id+"/account_data/m.direct", body{eve.id: []string{old}}).ok(t)
		p.put(t, "/pushrules/global/room/"+url.PathEscape(old), body{"actions": []string{}}).ok(t)
		p.put(t, "/pushrules/global/override/"+url.PathEscape(old), body{"actions": []string{}, "conditions": []any{
			body{"kind": "event_match", "key": "room_id", "pattern": old}}}).ok(t)
	}
	bob.post(t, room+"/upgrade", body{"new_version": to}).wants(t, 403, "M_FORBIDDEN")
	alice.post(t, room+"/upgrade", body{"new_version": "99"}).wants(t, 400, "M_UNSUPPORTED_ROOM_VERSION")
	alice.post(t, room+"/upgrade", body{}).wants(t, 400, "M_MISSING_PARAM")
	alice.post(t, room+"/upgrade", body{"new_version": 7}).wants(t, 400, "M_BAD_JSON")
	alice.post(t, room+"/upgrade", body{"new_version": to, "additional_creators": []string{"bob"}}).wants(t, 400, "M_INVALID_PARAM")

	next := alice.post(t, room+"/upgrade", body{"new_version": to}).ok(t).Get("replacement_room").String()
	replacement := "/rooms/" + url.PathEscape(next)
	tombstone := alice.get(t, room+"/state/m.room.tombstone?format=event").ok(t)
	create := alice.get(t, replacement+"/state/m.room.create?format=event").ok(t)
	if tombstone.Get("content.replacement_room").String() != next || create.Get("content.room_version").String() != to ||
		create.Get("content.predecessor.room_id").String() != old || create.Get("content.type").String() != "org.example.pub" ||
		to != "12" && create.Get("content.predecessor.event_id").String() != tombstone.Get("event_id").String() {
		t.Errorf("tombstone %s, create %s", tombstone.Raw, create.Raw)
	}
	for path, want := range map[string]string{
		"m.room.name": `{"name":"Pub"}`, "m.room.join_rules": `{"join_rule":"public"}`, "m.room.avatar": `{"url":"mxc://here.example/a"}`,
		"m.room.server_acl":         `{"allow":["*"],"deny":["evil.example"]}`,
		"m.room.history_visibility": `{"history_visibility":"world_readable"}`, "m.room.guest_access": `{"guest_access":"forbidden"}`,
		"m.room.canonical_alias": `{"alias":"#pub:here.example"}`, "m.space.parent/" + url.PathEscape(parent): `{"via":["here.example"]}`,
		"m.room.member/" + eve.id: `{"membership":"ban","reason":"spam"}`,
	} {
		if got := alice.get(t, replacement+"/state/"+path).ok(t); got.Raw != want {
			t.Errorf("%s is %s, want %s", path, got.Raw, want)
		}
	}
	for _, path := range []string{"org.example.own", "m.space.child/" + url.PathEscape(parent)} {
		alice.get(t, replacement+"/state/"+path).wants(t, 404, "M_NOT_FOUND")
	}
	got := alice.get(t, replacement+"/state/m.room.power_levels").ok(t)
	_, listed := got.Get("users").Map()[alice.id]
	if got.Get("users").Map()[bob.id].Int() != 40 || got.Get(`events.org\.example\.rare`).Int() != 77 ||
		got.Get("notifications.room").Int() != 60 || listed == (to == "12") {
		t.Errorf("power levels: %s", got.Raw)
	}
	if old := alice.get(t, room+"/state/m.room.power_levels").ok(t); old.Get("events_default").Int() != 50 || old.Get("invite").Int() != 50 {
		t.Errorf("power levels of the old room: %s", old.Raw)
	}
	bob.put(t, room+"/send/m.room.message/1", body{"body": "x"}).wants(t, 403, "M_FORBIDDEN")
	upgradedNames(t, alice, bob, old, next)
	alice.put(t, replacement+"/send/m.room.message/1", body{"body": "x"}).ok(t)
	verify(t, h.db)
}

// upgradedNames looks for what is no state of a room.
func upgradedNames(t *testing.T, alice, bob *person, old, next string) {
	t.Helper()
	for _, alias := range []string{"#pub:here.example", "#second:here.example"} {
		if got := alice.get(t, "/directory/room/"+url.PathEscape(alias)).ok(t); got.Get("room_id").String() != next {
			t.Errorf("%s leads to %s", alias, got.Raw)
		}
	}
	if got := alice.get(t, "/rooms/"+url.PathEscape(old)+"/state/m.room.canonical_alias").ok(t); got.Raw != "{}" {
		t.Errorf("canonical alias of the old room: %s", got.Raw)
	}
	list := alice.get(t, "/publicRooms").ok(t)
	if list.Get("chunk.#").Int() != 1 || list.Get("chunk.0.room_id").String() != next {
		t.Errorf("directory: %s", list.Raw)
	}
	bob.post(t, "/join/"+url.PathEscape("#pub:here.example"), body{}).ok(t)
	for _, p := range []*person{alice, bob} {
		if got := p.get(t, "/user/"+p.id+"/rooms/"+next+"/tags").ok(t); got.Get(`tags.m\.favourite.order`).Float() != 0.5 {
			t.Errorf("tags of %s: %s", p.id, got.Raw)
		}
		if got := p.get(t, "/user/"+p.id+"/account_data/m.direct").ok(t); got.Get("@values.0.1").String() != next {
			t.Errorf("conversations of %s: %s", p.id, got.Raw)
		}
		p.get(t, "/pushrules/global/room/"+url.PathEscape(next)).ok(t)
		if got := p.get(t, "/pushrules/global/override/"+url.PathEscape(next)).ok(t); got.Get("conditions.0.pattern").String() != next {
			t.Errorf("rule of %s: %s", p.id, got.Raw)
		}
	}
}

// TestUpgradeByAModerator ends a room whose tombstone and levels have different
// levels: what the user may not do in the old room is left out.
func TestUpgradeByAModerator(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	_, room := alice.creates(t, body{"preset": "public_chat", "room_version": "10", "name": "Pub",
		"power_level_content_override": body{"users": body{alice.id: 100, bob.id: 50}, "events": body{"m.room.tombstone": 50, "m.room.power_levels": 100}}})
	bob.post(t, room+"/join", body{}).ok(t)
	next := bob.post(t, room+"/upgrade", body{"new_version": "11"}).ok(t).Get("replacement_room").String()
	levels := bob.get(t, "/rooms/"+url.PathEscape(next)+"/state/m.room.power_levels").ok(t)
	if levels.Get("users").Map()[bob.id].Int() != 50 || levels.Get("users").Map()[alice.id].Int() != 100 {
		t.Error(levels.Raw)
	}
	if got := bob.get(t, room+"/state/m.room.power_levels").ok(t); got.Get("events_default").Int() != 0 {
		t.Error(got.Raw)
	}
	third := bob.post(t, room+"/upgrade", body{"new_version": "12", "additional_creators": []string{alice.id, bob.id, alice.id}}).ok(t)
	create := bob.get(t, "/rooms/"+url.PathEscape(third.Get("replacement_room").String())+"/state/m.room.create").ok(t)
	if got := create.Get("additional_creators").Raw; got != `["`+alice.id+`"]` {
		t.Error(create.Raw)
	}
	verify(t, h.db)
}

// TestUpgradeKeepsJoinRules upgrades rooms to versions that know fewer rules.
func TestUpgradeKeepsJoinRules(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	allow := []any{body{"type": "m.room_membership", "room_id": "!space:here.example"}}
	for to, want := range map[string]string{"12": "knock_restricted", "9": "restricted", "7": "knock", "6": "invite"} {
		_, room := alice.creates(t, body{"room_version": "10", "initial_state": []any{
			body{"type": "m.room.join_rules", "content": body{"join_rule": "knock_restricted", "allow": allow}}}})
		next := alice.post(t, room+"/upgrade", body{"new_version": to}).ok(t).Get("replacement_room").String()
		got := alice.get(t, "/rooms/"+url.PathEscape(next)+"/state/m.room.join_rules").ok(t)
		if got.Get("join_rule").String() != want {
			t.Errorf("version %s: %s", to, got.Raw)
		}
	}
}

// verify fails the test unless what is stored agrees with itself.
func verify(t *testing.T, db *storage.DB) {
	t.Helper()
	findings, err := storage.Verify(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range findings {
		t.Error(finding)
	}
}
