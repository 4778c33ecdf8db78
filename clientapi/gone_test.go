package clientapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

// TestForgottenRoomIsLeft: a client that was away while its user left a room and
// forgot it is told once that they are out, and nothing else of the room.
func TestForgottenRoomIsLeft(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob, carol := h.registers(t, "alice"), h.registers(t, "bob"), h.registers(t, "carol")
		id, path := alice.creates(t, body{"preset": "public_chat"})
		other, otherPath := alice.creates(t, body{"preset": "private_chat", "invite": []string{bob.id}})
		both, bothPath := carol.creates(t, body{"preset": "public_chat"})
		bob.post(t, path+"/join", body{}).ok(t)
		carol.post(t, path+"/join", body{}).ok(t)
		bob.post(t, bothPath+"/join", body{}).ok(t)
		since := ""
		bob.syncs(t, &since)

		alice.tells(t, path, body{"msgtype": "m.text", "body": "unseen"})
		for _, p := range []string{path, otherPath} {
			bob.post(t, p+"/leave", body{}).ok(t)
			bob.post(t, p+"/forget", body{}).ok(t)
		}
		before := since
		got := bob.syncs(t, &since)
		left := got.Get("rooms.leave").Map()
		for name, room := range map[string]string{"joined": id, "invited": other} {
			events := left[room].Get("timeline.events").Array()
			if len(events) != 1 || events[0].Get("state_key").String() != bob.id || events[0].Get("content.membership").String() != "leave" {
				t.Errorf("%s: want only the leave: %s", name, got.Raw)
			}
			if len(left[room].Get("state.events").Array()) != 0 {
				t.Errorf("%s: state is told: %s", name, left[room].Raw)
			}
		}
		if lists := got.Get("device_lists.left"); len(lists.Array()) != 1 || lists.Get("0").String() != alice.id {
			t.Errorf("only alice shares no room any more: %s", got.Get("device_lists").Raw)
		}
		changes := bob.get(t, "/keys/changes?from="+url.QueryEscape(before)+"&to="+url.QueryEscape(since)).ok(t)
		if changes.Get("left.0").String() != alice.id {
			t.Errorf("changes of keys: %s", changes.Raw)
		}
		if got := bob.get(t, "/sync?since="+since).ok(t); got.Get("rooms.leave").Exists() || got.Get("device_lists.left.#").Int() > 0 {
			t.Errorf("told twice: %s", got.Raw)
		}

		bob.post(t, bothPath+"/leave", body{}).ok(t)
		if got := bob.syncs(t, &since); !got.Get("rooms.leave").Map()[both].Exists() {
			t.Fatalf("left: %s", got.Raw)
		}
		bob.post(t, bothPath+"/forget", body{}).ok(t)
		if got := bob.get(t, "/sync?since="+since).ok(t); got.Get("rooms.leave").Exists() {
			t.Errorf("what was left before is told when it is forgotten: %s", got.Raw)
		}
		if got := bob.get(t, "/sync?filter="+url.QueryEscape(`{"room":{"include_leave":true}}`)).ok(t); got.Get("rooms.leave").Exists() {
			t.Errorf("first sync: %s", got.Raw)
		}
	})
}

// TestNothingFromAfter: who was kicked or banned, or has left, is told by no
// read of anything that happened after that, however open the history is.
func TestNothingFromAfter(t *testing.T) {
	t.Parallel()
	for _, visibility := range []string{"shared", "joined", "invited", "world_readable"} {
		for _, how := range []string{"kick", "ban", "leave"} {
			t.Run(visibility+", "+how, func(t *testing.T) {
				t.Parallel()
				h := start(t)
				alice, bob, carol := h.registers(t, "alice"), h.registers(t, "bob"), h.registers(t, "carol")
				id, path := alice.creates(t, body{"preset": "public_chat", "initial_state": []any{
					body{"type": "m.room.history_visibility", "content": body{"history_visibility": visibility}}}})
				bob.post(t, path+"/join", body{}).ok(t)
				since, pos := bob.get(t, "/sync").ok(t).Get("next_batch").String(), ""
				bob.slides(t, &pos, "", roomList(9))
				seen := alice.tells(t, path, body{"msgtype": "m.text", "body": "while in"})
				if how == "leave" {
					bob.post(t, path+"/leave", body{}).ok(t)
				} else {
					alice.post(t, path+"/"+how, body{"user_id": bob.id}).ok(t)
				}
				unseen := alice.tells(t, path, body{"msgtype": "m.text", "body": "SECRET"})
				alice.put(t, path+"/state/m.room.topic", body{"topic": "SECRET"}).ok(t)
				carol.post(t, path+"/join", body{"reason": "SECRET"}).ok(t)

				got := bob.get(t, "/sync?since="+since).ok(t)
				if !got.Get("rooms.leave").Map()[id].Exists() || !strings.Contains(got.Raw, "while in") {
					t.Errorf("sync: %s", got.Raw)
				}
				reads := map[string]reply{
					"sync":             got,
					"sync later":       bob.get(t, "/sync?since="+got.Get("next_batch").String()).ok(t),
					"first sync":       bob.get(t, "/sync?filter="+url.QueryEscape(`{"room":{"include_leave":true}}`)).ok(t),
					"sliding":          bob.slides(t, &pos, "", roomList(9)),
					"sliding later":    bob.slides(t, &pos, "", roomList(9)),
					"messages back":    bob.get(t, path+"/messages?dir=b&limit=50").ok(t),
					"messages forward": bob.get(t, path+"/messages?dir=f&limit=50").ok(t),
					"context":          bob.get(t, path+"/context/"+seen+"?limit=50").ok(t),
					"event":            bob.get(t, path+"/event/"+seen).ok(t),
					"members":          bob.get(t, path+"/members").ok(t),
					"state":            bob.get(t, path+"/state").ok(t),
					"event after":      bob.get(t, path+"/event/"+unseen).wants(t, http.StatusNotFound, "M_NOT_FOUND"),
					"context after":    bob.get(t, path+"/context/"+unseen).wants(t, http.StatusNotFound, "M_NOT_FOUND"),
					"topic":            bob.get(t, path+"/state/m.room.topic").wants(t, http.StatusNotFound, "M_NOT_FOUND"),
					"carol":            bob.get(t, path+"/state/m.room.member/"+carol.id).wants(t, http.StatusNotFound, "M_NOT_FOUND"),
					"joined_members":   bob.get(t, path+"/joined_members").wants(t, http.StatusForbidden, "M_FORBIDDEN"),
				}
				named := roomList(9)
				named["conn_id"], named["room_subscriptions"] = "new", body{id: body{"timeline_limit": 50, "required_state": [][]string{{"*", "*"}}}}
				fresh := ""
				reads["sliding by name"] = bob.slides(t, &fresh, "", named)
				for name, got := range reads {
					if strings.Contains(got.Raw, "SECRET") || strings.Contains(got.Raw, unseen) || strings.Contains(got.Raw, carol.id) {
						t.Errorf("%s: %s", name, got.Raw)
					}
				}
			})
		}
	}
}
