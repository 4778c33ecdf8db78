package clientapi_test

import (
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

// TestMembershipErrors asks for what cannot be, and for what is so already.
func TestMembershipErrors(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob, carol, dave := h.registers(t, "alice"), h.registers(t, "bob"), h.registers(t, "carol"), h.registers(t, "dave")
		_, room := alice.creates(t, body{"preset": "public_chat"})
		about := func(who *person) reply { return alice.get(t, room+"/state/m.room.member/"+who.id+"?format=event") }
		at := func(who *person) body { return body{"user_id": who.id, "reason": "why"} }

		alice.post(t, room+"/kick", at(bob)).wants(t, 403, "M_FORBIDDEN")  // not in the room
		alice.post(t, room+"/unban", at(bob)).wants(t, 403, "M_FORBIDDEN") // not banned
		bob.post(t, room+"/leave", body{}).wants(t, 403, "M_FORBIDDEN")
		bob.post(t, room+"/invite", at(carol)).wants(t, 403, "M_FORBIDDEN")
		bob.post(t, room+"/ban", at(carol)).wants(t, 403, "M_FORBIDDEN")
		bob.post(t, room+"/kick", at(alice)).wants(t, 403, "M_FORBIDDEN")
		bob.post(t, room+"/forget", body{}).wants(t, 404, "M_NOT_FOUND")
		for _, what := range []string{"kick", "ban", "unban", "invite"} {
			alice.post(t, room+"/"+what, body{}).wants(t, 400, "M_MISSING_PARAM")
			alice.post(t, room+"/"+what, body{"user_id": "bob"}).wants(t, 400, "M_INVALID_PARAM")
			alice.post(t, room+"/"+what, body{"user_id": 7}).wants(t, 400, "M_BAD_JSON")
		}

		bob.post(t, room+"/join", body{"reason": "hello"}).ok(t)
		first := about(bob).ok(t)
		if first.Get("content.reason").String() != "hello" {
			t.Error(first.Raw)
		}
		bob.post(t, "/join"+room[len("/rooms"):], body{}).ok(t)
		if again := about(bob).ok(t); again.Get("event_id").String() != first.Get("event_id").String() {
			t.Error("joining twice makes two events")
		}
		alice.post(t, room+"/invite", at(bob)).wants(t, 403, "M_FORBIDDEN") // is in it
		bob.post(t, room+"/kick", at(alice)).wants(t, 403, "M_FORBIDDEN")
		bob.post(t, room+"/forget", body{}).wants(t, 400, "M_UNKNOWN")

		alice.post(t, room+"/invite", at(carol)).ok(t)
		invited := about(carol).ok(t)
		if invited.Get("content.reason").String() != "why" || invited.Get("content.membership").String() != "invite" {
			t.Error(invited.Raw)
		}
		carol.post(t, room+"/leave", body{"reason": "no"}).ok(t)
		if got := about(carol).ok(t); got.Get("content.membership").String() != "leave" || got.Get("content.reason").String() != "no" {
			t.Error(got.Raw)
		}
		carol.post(t, room+"/leave", body{}).ok(t) // gone already

		alice.post(t, room+"/ban", at(bob)).ok(t)
		alice.post(t, room+"/invite", at(bob)).wants(t, 403, "M_FORBIDDEN")
		bob.post(t, room+"/join", body{}).wants(t, 403, "M_FORBIDDEN")
		alice.post(t, room+"/kick", at(bob)).wants(t, 403, "M_FORBIDDEN")
		alice.post(t, room+"/ban", at(bob)).ok(t)
		bob.post(t, room+"/leave", body{}).wants(t, 403, "M_FORBIDDEN")
		bob.post(t, "/knock"+room[len("/rooms"):], body{}).wants(t, 403, "M_FORBIDDEN")
		alice.post(t, room+"/unban", at(bob)).ok(t)
		bob.post(t, room+"/join", body{}).ok(t)
		alice.post(t, room+"/kick", at(bob)).ok(t)
		if got := about(bob).ok(t); got.Get("sender").String() != alice.id || got.Get("content.reason").String() != "why" {
			t.Error(got.Raw)
		}
		bob.post(t, room+"/forget", body{}).ok(t)
		bob.get(t, room+"/messages?dir=b").wants(t, 403, "M_FORBIDDEN")
		bob.post(t, room+"/forget", body{}).ok(t)

		dave.post(t, "/knock"+room[len("/rooms"):], body{}).wants(t, 403, "M_FORBIDDEN") // the rule is public
		dave.post(t, "/join/%23none:here.example", body{}).wants(t, 404, "M_NOT_FOUND")
		dave.post(t, "/join/x", body{}).wants(t, 400, "M_INVALID_PARAM")
		dave.post(t, "/join/%21none:here.example", body{}).wants(t, 404, "M_NOT_FOUND")
		dave.post(t, room+"/join", `[]`).wants(t, 400, "M_BAD_JSON")
	})
}

// TestRestrictedRooms lets members of a space into a room, and nobody else.
func TestRestrictedRooms(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob, carol := h.registers(t, "alice"), h.registers(t, "bob"), h.registers(t, "carol")
	space, spacePath := alice.creates(t, body{"preset": "public_chat", "creation_content": body{"type": "m.space"}})
	for version, rule := range map[string]string{"8": "restricted", "9": "restricted", "10": "knock_restricted", "12": "restricted"} {
		_, room := alice.creates(t, body{"room_version": version, "initial_state": []any{body{"type": "m.room.join_rules",
			"content": body{"join_rule": rule, "allow": []any{body{"type": "m.room_membership", "room_id": space}, body{"type": "x"}}}}}})
		carol.post(t, room+"/join", body{}).wants(t, 403, "M_FORBIDDEN")
		bob.post(t, spacePath+"/join", body{}).ok(t)
		bob.post(t, room+"/join", body{}).ok(t)
		got := alice.get(t, room+"/state/m.room.member/"+bob.id).ok(t)
		if got.Get("join_authorised_via_users_server").String() != alice.id {
			t.Errorf("version %s: %s", version, got.Raw)
		}
		status, code := 403, "M_FORBIDDEN"
		if rule == "knock_restricted" {
			status, code = 200, ""
		}
		carol.post(t, "/knock/"+room[len("/rooms/"):], body{}).wants(t, status, code)
		bob.put(t, "/profile/"+bob.id+"/displayname", body{"displayname": "Bob " + version}).ok(t)
		alice.post(t, room+"/kick", body{"user_id": bob.id}).ok(t)
		bob.post(t, spacePath+"/leave", body{}).ok(t)
		bob.post(t, room+"/join", body{}).wants(t, 403, "M_FORBIDDEN")
	}
}
