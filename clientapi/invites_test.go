package clientapi_test

import (
	"net/url"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

func TestInvitationsAreBlocked(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
		_, room := alice.creates(t, body{})
		for name, tc := range map[string]struct {
			typ     string
			content any
			blocked bool
		}{
			"everybody":      {"m.invite_permission_config", body{"default_action": "block"}, true},
			"another action": {"m.invite_permission_config", body{"default_action": "hug"}, false},
			"another type":   {"m.invite_permission_config", body{"default_action": 7}, false},
			"before":         {"org.matrix.msc4380.invite_permission_config", body{"default_action": "block"}, true},
			"user":           {"org.matrix.msc4155.invite_permission_config", body{"blocked_users": []string{"@al*:HERE.example"}}, true},
			"server":         {"org.matrix.msc4155.invite_permission_config", body{"blocked_servers": []string{"*.example"}}, true},
			"friend":         {"org.matrix.msc4155.invite_permission_config", body{"allowed_users": []string{alice.id}, "blocked_servers": []string{"*"}}, false},
			"off":            {"org.matrix.msc4155.invite_permission_config", body{"enabled": false, "blocked_servers": []string{"*"}}, false},
			"wrong types":    {"org.matrix.msc4155.invite_permission_config", body{"blocked_servers": "*"}, false},
		} {
			path := "/user/" + bob.id + "/account_data/" + url.PathEscape(tc.typ)
			bob.put(t, path, tc.content).ok(t)
			status, code := 200, ""
			if tc.blocked {
				status, code = 403, "M_INVITE_BLOCKED"
			}
			for what, got := range map[string]reply{
				"invite": alice.post(t, room+"/invite", body{"user_id": bob.id}),
				"state":  alice.put(t, room+"/state/m.room.member/"+bob.id, body{"membership": "invite", "reason": name}),
				"create": alice.post(t, "/createRoom", body{"invite": []string{bob.id}}),
			} {
				if got.status != status || got.Get("errcode").String() != code {
					t.Errorf("%s, %s: %d %s", name, what, got.status, got.Raw)
				}
			}
			bob.put(t, path, body{}).ok(t)
			if !tc.blocked {
				bob.post(t, room+"/leave", nil).ok(t)
			}
		}
	})
}

func TestInvitationsAreIgnored(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	for typ, content := range map[string]any{
		"org.matrix.msc4155.invite_permission_config": body{"ignored_users": []string{alice.id}},
		"m.ignored_user_list":                         body{"ignored_users": body{alice.id: body{}}},
	} {
		bob.put(t, "/user/"+bob.id+"/account_data/"+typ, content).ok(t)
		id, room := alice.creates(t, body{})
		alice.post(t, room+"/invite", body{"user_id": bob.id}).ok(t) // she must not learn of it
		if got := bob.get(t, "/sync").ok(t); got.Get("rooms.invite").Map()[id].Exists() {
			t.Errorf("%s: %s", typ, got.Raw)
		}
		bob.put(t, "/user/"+bob.id+"/account_data/"+typ, body{}).ok(t)
		if got := bob.get(t, "/sync").ok(t); !got.Get("rooms.invite").Map()[id].Exists() {
			t.Errorf("not ignored any more by %s: %s", typ, got.Raw)
		}
	}
}
