package clientapi_test

import (
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/storage"
)

func TestDeactivate(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
		_, room := bob.creates(t, body{"preset": "public_chat"})
		alice.post(t, room+"/join", nil).ok(t)
		_, other := bob.creates(t, body{"invite": []string{alice.id}})
		alice.put(t, "/profile/"+alice.id+"/displayname", body{"displayname": "Alice"}).ok(t)

		ask := alice.post(t, "/account/deactivate", "{}").wants(t, 401, "")
		if ask.Get("flows.0.stages.0").String() != "m.login.password" || ask.Get("session").String() == "" || ask.Get("errcode").Exists() {
			t.Error(ask.Raw)
		}
		auth := func(password string) body {
			return body{"auth": body{"type": "m.login.password", "session": ask.Get("session").String(), "password": password,
				"identifier": body{"type": "m.id.user", "user": "alice"}}}
		}
		wrong := alice.post(t, "/account/deactivate", auth("wrong")).wants(t, 401, "M_FORBIDDEN")
		if !wrong.Get("flows").Exists() {
			t.Error(wrong.Raw)
		}
		alice.get(t, "/account/whoami").ok(t)
		if got := alice.post(t, "/account/deactivate", auth("pass-alice")).ok(t); got.Raw != `{"id_server_unbind_result":"success"}` {
			t.Error(got.Raw)
		}
		gone := alice.get(t, "/account/whoami").wants(t, 401, "M_UNKNOWN_TOKEN")
		if gone.Get("soft_logout").Bool() {
			t.Error(gone.Raw)
		}
		h.call(t, "", "POST", "/login", body{"type": "m.login.password", "user": "alice", "password": "pass-alice"}).wants(t, 403, "M_FORBIDDEN")
		h.call(t, "", "POST", "/register", body{"username": "alice", "password": "p", "auth": body{"type": "m.login.dummy"}}).wants(t, 400, "M_USER_IN_USE")
		h.call(t, "", "GET", "/register/available?username=alice", nil).wants(t, 400, "M_USER_IN_USE")
		bob.get(t, "/profile/"+alice.id).wants(t, 404, "M_NOT_FOUND")

		list, err := h.accounts.Departures(t.Context(), 10)
		if err != nil || len(list) != 1 || list[0] != matrix.UserID(alice.id) {
			t.Fatal(list, err)
		}
		if err := h.rooms.LeaveAll(t.Context(), list[0]); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{room, other} {
			if got := bob.get(t, path+"/state/m.room.member/"+alice.id).ok(t); got.Get("membership").String() != "leave" {
				t.Error(got.Raw)
			}
		}
		if err := h.accounts.Departed(t.Context(), list[0]); err != nil {
			t.Fatal(err)
		}
		if list, err := h.accounts.Departures(t.Context(), 10); err != nil || len(list) != 0 {
			t.Error(list, err)
		}
	})
}

func TestDeactivateWithoutASession(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	ask := h.call(t, "", "POST", "/account/deactivate", "{}").wants(t, 401, "")
	h.call(t, "", "POST", "/account/deactivate", body{"erase": true, "auth": body{"type": "m.login.password", "session": ask.Get("session").String(),
		"password": "pass-alice", "user": "alice"}}).ok(t)
	alice.get(t, "/account/whoami").wants(t, 401, "M_UNKNOWN_TOKEN")
}

func TestNobodyDeactivatesOthers(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	alice.post(t, "/account/deactivate", body{"auth": body{"type": "m.login.password", "password": "pass-bob", "user": "bob"}}).wants(t, 401, "M_FORBIDDEN")
	alice.get(t, "/account/whoami").ok(t)
	bob.get(t, "/account/whoami").ok(t)
}
