package clientapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

const slidingPath = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"

// slides asks once over a connection and goes on from the answer.
func (p *person) slides(t *testing.T, pos *string, query string, request any) reply {
	t.Helper()
	got := p.post(t, slidingPath+"?timeout=0&pos="+*pos+query, request).ok(t)
	*pos = got.Get("pos").String()
	return got
}

// elementState is the state that Element X asks for in its list of rooms.
var elementState = [][]string{{"m.room.name", ""}, {"m.room.encryption", ""}, {"m.room.member", "$LAZY"}, {"m.room.member", "$ME"},
	{"m.room.topic", ""}, {"m.room.avatar", ""}, {"m.room.canonical_alias", ""}, {"m.room.power_levels", ""},
	{"org.matrix.msc3401.call.member", "*"}, {"m.room.join_rules", ""}, {"m.room.create", ""},
	{"m.room.history_visibility", ""}, {"m.space.child", "*"}}

// roomList is the request of the list of rooms of Element X.
func roomList(last int) body {
	return body{"conn_id": "room-list", "lists": body{"all_rooms": body{"ranges": [][]int{{0, last}}, "timeline_limit": 1,
		"filters": body{}, "required_state": elementState}},
		"extensions": body{"account_data": body{"enabled": true}, "typing": body{"enabled": true},
			"receipts": body{"enabled": true, "rooms": []string{"*"}}}}
}

// TestSlidingStory plays what Element X does: a window of rooms that grows, a
// room that is opened, and what happens meanwhile.
func TestSlidingStory(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
		var ids, paths []string
		for n := range 5 {
			id, path := alice.creates(t, body{"preset": "public_chat", "name": fmt.Sprint("Room ", n)})
			ids, paths = append(ids, id), append(paths, path)
			bob.post(t, path+"/join", body{}).ok(t)
		}
		pos := ""
		got := bob.slides(t, &pos, "", roomList(1))
		if got.Get("lists.all_rooms.count").Int() != 5 || len(got.Get("rooms").Map()) != 2 {
			t.Fatalf("first window: %s", got.Raw)
		}
		top := got.Get("rooms").Map()[ids[4]]
		if top.Get("name").String() != "Room 4" || !top.Get("initial").Bool() || top.Get("joined_count").Int() != 2 ||
			top.Get("timeline.#").Int() != 1 || !top.Get("limited").Bool() || top.Get("bump_stamp").Int() == 0 {
			t.Errorf("top room: %s", top.Raw)
		}
		if members := top.Get(`required_state.#(type=="m.room.member")#`).Array(); len(members) != 1 {
			t.Errorf("members: %s", top.Raw)
		}
		got = bob.slides(t, &pos, "", roomList(99))
		if rooms := got.Get("rooms").Map(); len(rooms) != 3 || rooms[ids[4]].Exists() {
			t.Fatalf("larger window: %s", got.Raw)
		}
		if got = bob.slides(t, &pos, "", roomList(99)); len(got.Get("rooms").Map()) != 0 {
			t.Fatalf("nothing happened: %s", got.Raw)
		}

		alice.put(t, paths[0]+"/send/m.room.message/t1", body{"msgtype": "m.text", "body": "hello"}).ok(t)
		before := pos
		got = bob.slides(t, &pos, "", roomList(99))
		room := got.Get("rooms").Map()[ids[0]]
		if room.Get("initial").Bool() || room.Get("timeline.#").Int() != 1 || room.Get("num_live").Int() != 1 ||
			room.Get("timeline.0.content.body").String() != "hello" || room.Get("name").Exists() {
			t.Errorf("message: %s", got.Raw)
		}
		pos = before // the answer was lost
		if got = bob.slides(t, &pos, "", roomList(99)); got.Get("rooms").Map()[ids[0]].Get("timeline.0.content.body").String() != "hello" {
			t.Errorf("retry: %s", got.Raw)
		}

		open := roomList(99)
		open["room_subscriptions"] = body{ids[0]: body{"timeline_limit": 20, "required_state": elementState}}
		got = bob.slides(t, &pos, "", open)
		if room = got.Get("rooms").Map()[ids[0]]; !room.Get("unstable_expanded_timeline").Bool() || room.Get("timeline.#").Int() < 8 {
			t.Errorf("opened: %s", got.Raw)
		}
		bob.put(t, paths[0]+"/typing/"+bob.id, body{"typing": true, "timeout": 30000}).ok(t)
		if got = bob.slides(t, &pos, "", open); got.Get("extensions.typing.rooms").Map()[ids[0]].Get("content.user_ids.0").String() != bob.id {
			t.Errorf("typing: %s", got.Raw)
		}
		alice.post(t, paths[1]+"/kick", body{"user_id": bob.id}).ok(t)
		alice.put(t, paths[1]+"/state/m.room.topic", body{"topic": "after"}).ok(t)
		got = bob.slides(t, &pos, "", open)
		room = got.Get("rooms").Map()[ids[1]]
		if room.Get(`required_state.#(state_key=="`+bob.id+`").content.membership`).String() != "leave" || strings.Contains(got.Raw, "after") {
			t.Errorf("kicked: %s", got.Raw)
		}
		if got = bob.slides(t, &pos, "", open); len(got.Get("rooms").Map()) != 0 {
			t.Errorf("kicked again: %s", got.Raw)
		}
	})
}

// TestSlidingAcceptedForm asks in the form in which MSC4186 was accepted.
func TestSlidingAcceptedForm(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	id, _ := alice.creates(t, body{"preset": "private_chat", "name": "Plans", "invite": []string{bob.id}})
	request := body{"lists": body{"all": body{"timeline_limit": 3, "required_state": body{"include": []body{{}}, "lazy_members": true}}}}
	got := alice.post(t, "/_matrix/client/v4/sync", request).ok(t)
	room := got.Get("rooms").Map()[id]
	if room.Get("membership").String() != "join" || room.Get("lists.0").String() != "all" || room.Get("timeline.#").Int() != 3 ||
		!room.Get(`required_state.#(type=="m.room.create")`).Exists() || got.Get("lists.all.ops").Exists() {
		t.Errorf("joined: %s", got.Raw)
	}
	got = bob.post(t, "/_matrix/client/v4/sync", request).ok(t)
	room = got.Get("rooms").Map()[id]
	if room.Get("membership").String() != "invite" || room.Get(`stripped_state.#(type=="m.room.name").content.name`).String() != "Plans" ||
		room.Get("timeline").Exists() || room.Get("required_state").Exists() {
		t.Errorf("invited: %s", got.Raw)
	}
	request["pos"] = got.Get("pos").String()
	alice.post(t, "/_matrix/client/v4/sync", request).wants(t, http.StatusBadRequest, "M_UNKNOWN_POS")
}

func TestSlidingRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	list := func(l body) body { return body{"lists": body{"a": l}} }
	many := make(body)
	for n := range 101 {
		many[fmt.Sprint("l", n)] = body{"timeline_limit": 1, "required_state": []any{}}
	}
	for name, tc := range map[string]struct {
		query, code string
		body        any
	}{
		"pos":            {"?pos=nonsense", "M_UNKNOWN_POS", body{}},
		"unknown pos":    {"?pos=s1_t1_c123", "M_UNKNOWN_POS", body{}},
		"timeout":        {"?timeout=-1", "M_INVALID_PARAM", body{}},
		"presence":       {"?set_presence=dancing", "M_INVALID_PARAM", body{}},
		"no limit":       {"", "M_MISSING_PARAM", list(body{"required_state": []any{}})},
		"no state":       {"", "M_MISSING_PARAM", list(body{"timeline_limit": 1})},
		"negative limit": {"", "M_INVALID_PARAM", list(body{"timeline_limit": -1, "required_state": []any{}})},
		"range":          {"", "M_INVALID_PARAM", list(body{"timeline_limit": 1, "required_state": []any{}, "ranges": []any{[]int{5, 2}}})},
		"half a range":   {"", "M_INVALID_PARAM", list(body{"timeline_limit": 1, "required_state": []any{}, "ranges": []any{[]int{5}}})},
		"pattern":        {"", "M_INVALID_PARAM", list(body{"timeline_limit": 1, "required_state": []any{[]string{"m.room.name"}}})},
		"many lists":     {"", "M_INVALID_PARAM", body{"lists": many}},
		"since":          {"", "M_INVALID_PARAM", body{"extensions": body{"to_device": body{"enabled": true, "since": "x"}}}},
		"conn_id":        {"", "M_INVALID_PARAM", body{"conn_id": strings.Repeat("x", 256)}},
	} {
		t.Run(name, func(t *testing.T) {
			alice.post(t, slidingPath+tc.query, tc.body).wants(t, http.StatusBadRequest, tc.code)
		})
	}
}

// TestSlidingTellsWhatChangedOutOfSight changes the tags of a room at which the
// client does not look.
func TestSlidingTellsWhatChangedOutOfSight(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	id, path := alice.creates(t, body{})
	_, other := alice.creates(t, body{})
	pos := ""
	alice.slides(t, &pos, "", roomList(1))
	alice.put(t, other+"/send/m.room.message/t1", body{"body": "x"}).ok(t)
	alice.slides(t, &pos, "", roomList(0))
	alice.put(t, "/user/"+alice.id+path+"/tags/m.favourite", body{}).ok(t)
	if got := alice.slides(t, &pos, "", roomList(0)); len(got.Get("extensions.account_data.rooms").Map()) != 0 {
		t.Errorf("out of sight: %s", got.Raw)
	}
	if got := alice.slides(t, &pos, "", roomList(1)); got.Get("extensions.account_data.rooms").Map()[id].Get("0.type").String() != "m.tag" {
		t.Errorf("back in sight: %s", got.Raw)
	}
	if got := alice.slides(t, &pos, "", roomList(1)); len(got.Get("extensions.account_data.rooms").Map()) != 0 {
		t.Errorf("told twice: %s", got.Raw)
	}
}

// TestSlidingTellsWhatIsUnread: a room says how much of it is unread, and says
// so again where the user has read it with another client.
func TestSlidingTellsWhatIsUnread(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob, carol := h.registers(t, "alice"), h.registers(t, "bob"), h.registers(t, "carol")
		id, path := alice.creates(t, body{"preset": "public_chat"})
		bob.post(t, path+"/join", body{}).ok(t)
		carol.post(t, path+"/join", body{}).ok(t)
		pos, list := "", roomList(0)
		delete(list, "extensions")
		wants := func(what string, notifications, highlights int64) {
			t.Helper()
			got := bob.slides(t, &pos, "", list).Get("rooms").Map()[id]
			n, hl := got.Get("notification_count"), got.Get("highlight_count")
			if !n.Exists() || !hl.Exists() || n.Int() != notifications || hl.Int() != highlights {
				t.Errorf("%s: want %d and %d: %s", what, notifications, highlights, got.Raw)
			}
			if !got.Get("bump_stamp").Exists() || got.Get("bump_stamp").Int() == 0 {
				t.Errorf("%s: no bump_stamp: %s", what, got.Raw)
			}
		}
		wants("at first", 0, 0)
		first := alice.tells(t, path, body{})
		wants("a message", 1, 0)
		last := alice.tells(t, path, body{"msgtype": "m.text", "body": "you", "m.mentions": body{"user_ids": []string{bob.id}}})
		wants("a mention", 2, 1)

		carol.post(t, path+"/receipt/m.read/"+last, body{}).ok(t)
		if got := bob.slides(t, &pos, "", list); len(got.Get("rooms").Map()) != 0 {
			t.Errorf("somebody else has read: %s", got.Raw)
		}
		bob.post(t, path+"/receipt/m.read.private/"+first, body{}).ok(t)
		before := pos
		wants("read one", 1, 1)
		pos = before // the answer was lost
		wants("asked again", 1, 1)
		if got := bob.slides(t, &pos, "", list); len(got.Get("rooms").Map()) != 0 {
			t.Errorf("told twice: %s", got.Raw)
		}
		bob.post(t, path+"/receipt/m.read/"+last, body{}).ok(t)
		wants("read all", 0, 0)
	})
}
