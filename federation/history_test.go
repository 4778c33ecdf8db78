package federation_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/roomserver"
)

func sendState(user matrix.UserID, room matrix.RoomID, typ string, content json.RawMessage) roomserver.SendRequest {
	return roomserver.SendRequest{Sender: user, Room: room, Type: typ, StateKey: new(string), Content: content}
}

// ids returns the IDs of the events in an answer.
func (g *guest) ids(t *testing.T, list gjson.Result) (ids []matrix.EventID) {
	t.Helper()
	list.ForEach(func(_, raw gjson.Result) bool {
		e, err := event.ParseUntrusted([]byte(raw.Raw), g.rules)
		must(t, err)
		ids = append(ids, e.ID())
		return true
	})
	return ids
}

func TestHistoryIsForMembers(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, a *host, g *guest) {
		a.work(t)
		var said []matrix.EventID
		for _, text := range []string{"un", "deux", "trois"} {
			said = append(said, a.say(t, alice, g.room, text))
		}
		hidden := a.room(t, alice, "12", "private_chat")
		secret := a.say(t, alice, hidden, "secret")
		room, last := string(g.room), string(said[2])

		got := g.call(t, a, http.MethodGet, v1+"event/"+esc(last), nil).wants(t, 200, "")
		if ids := g.ids(t, got.Get("pdus")); !slices.Equal(ids, said[2:]) || got.Get("origin").String() != string(one) {
			t.Errorf("event: %s", got.Raw)
		}
		g.call(t, a, http.MethodGet, v1+"event/"+esc(string(secret)), nil).wants(t, 403, "M_FORBIDDEN")
		g.call(t, a, http.MethodGet, v1+"event/%24unknown", nil).wants(t, 404, "M_NOT_FOUND")

		whole := g.call(t, a, http.MethodGet, v1+"state/"+esc(room)+"?event_id="+esc(last), nil).wants(t, 200, "")
		named := g.call(t, a, http.MethodGet, v1+"state_ids/"+esc(room)+"?event_id="+esc(last), nil).wants(t, 200, "")
		for list, name := range map[string]string{"pdus": "pdu_ids", "auth_chain": "auth_chain_ids"} {
			ids := g.ids(t, whole.Get(list))
			if len(ids) == 0 || len(ids) != len(named.Get(name).Array()) {
				t.Errorf("%s has %d events and %s %s", list, len(ids), name, named.Get(name).Raw)
			}
			for _, id := range named.Get(name).Array() {
				if !slices.Contains(ids, matrix.EventID(id.String())) {
					t.Errorf("%s lacks %s", list, id)
				}
			}
		}
		chain := g.ids(t, whole.Get("auth_chain"))
		for _, id := range g.auth[1:] { // the power levels are state, and in the chain of it
			if !slices.Contains(chain, id) {
				t.Errorf("the auth chain lacks %s", id)
			}
		}
		auth := g.call(t, a, http.MethodGet, v1+"event_auth/"+esc(room, last), nil).wants(t, 200, "")
		if ids := g.ids(t, auth.Get("auth_chain")); !slices.Contains(ids, g.auth[1]) || slices.Contains(ids, said[2]) {
			t.Errorf("event_auth: %v", ids)
		}
		back := g.call(t, a, http.MethodGet, v1+"backfill/"+esc(room)+"?limit=2&v="+esc(last), nil).wants(t, 200, "")
		if ids := g.ids(t, back.Get("pdus")); !slices.Equal(ids, []matrix.EventID{said[2], said[1]}) {
			t.Errorf("backfill: %v, want the last of %v", ids, said)
		}
		missing := g.call(t, a, http.MethodPost, v1+"get_missing_events/"+esc(room), map[string]any{
			"earliest_events": []matrix.EventID{g.tip.ID()}, "latest_events": said[2:], "limit": 10}).wants(t, 200, "")
		if ids := g.ids(t, missing.Get("events")); !slices.Equal(ids, said[:2]) {
			t.Errorf("get_missing_events: %v, want %v", ids, said[:2])
		}
		none := g.call(t, a, http.MethodPost, v1+"get_missing_events/"+esc(room), map[string]any{"latest_events": said[2:], "limit": 0})
		if ids := g.ids(t, none.Get("events")); len(ids) != 0 {
			t.Errorf("a limit of 0 gives %v", ids)
		}

		// Another room's event in the path of this one, and a room that the server is not in.
		for _, path := range []string{"state/" + esc(room) + "?event_id=", "state_ids/" + esc(room) + "?event_id=", "event_auth/" + esc(room) + "/"} {
			g.call(t, a, http.MethodGet, v1+path+esc(string(secret)), nil).wants(t, 404, "M_NOT_FOUND")
		}
		for _, path := range []string{"state/" + esc(string(hidden)) + "?event_id=", "state_ids/" + esc(string(hidden)) + "?event_id=",
			"event_auth/" + esc(string(hidden)) + "/", "backfill/" + esc(string(hidden)) + "?limit=9&v="} {
			g.call(t, a, http.MethodGet, v1+path+esc(string(secret)), nil).wants(t, 403, "M_FORBIDDEN")
		}
		back = g.call(t, a, http.MethodGet, v1+"backfill/"+esc(room)+"?limit=9&v="+esc(string(secret)), nil)
		if ids := g.ids(t, back.Get("pdus")); len(ids) != 0 {
			t.Errorf("backfill tells of another room: %v", ids)
		}
	})
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.start(t, "sqlite", one, ministries), n.start(t, "sqlite", two, ministries)
	a.user(t, alice)
	must(t, a.accounts.SetProfileField(t.Context(), alice, "displayname", json.RawMessage(`"Alice"`)))
	p := &pen{net: n, key: b.key}
	if got := p.call(t, a, http.MethodGet, v1+"query/profile?user_id="+esc(string(alice)), nil).wants(t, 200, ""); got.Get("displayname").String() != "Alice" {
		t.Errorf("%s", got.Raw)
	}
	if got := p.call(t, a, http.MethodGet, v1+"query/profile?field=avatar_url&user_id="+esc(string(alice)), nil).wants(t, 200, ""); got.Raw != "{}" {
		t.Errorf("%s", got.Raw)
	}
	room := a.room(t, alice, "12", "private_chat")
	must(t, a.rooms.CreateAlias(t.Context(), alice, "#salle:one.example", room))
	got := p.call(t, a, http.MethodGet, v1+"query/directory?room_alias=%23salle:one.example", nil).wants(t, 200, "")
	if got.Get("room_id").String() != string(room) || got.Get("servers.0").String() != string(one) {
		t.Errorf("%s", got.Raw)
	}
	for _, got := range []reply{p.call(t, a, http.MethodGet, v1+"publicRooms?limit=5", nil),
		p.call(t, a, http.MethodPost, v1+"publicRooms", `{"limit":5,"filter":{"generic_search_term":"x","room_types":[null]}}`)} {
		if got.wants(t, 200, ""); !got.Get("chunk").IsArray() || len(got.Get("chunk").Array()) != 0 {
			t.Errorf("%s", got.Raw)
		}
	}
	p.call(t, a, http.MethodPost, v1+"publicRooms", `{"since":"nonsense"}`).wants(t, 400, "M_INVALID_PARAM")
}

func TestDevicesAreTold(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.start(t, "sqlite", one, ministries), n.start(t, "sqlite", two, ministries)
	a.user(t, alice)
	a.device(t, alice, "PHONE")
	p := &pen{net: n, key: b.key}
	if got := p.call(t, a, http.MethodGet, v1+"user/devices/"+esc(string(alice)), nil).wants(t, 200, ""); got.Get("user_id").String() != string(alice) || !got.Get("devices").IsArray() {
		t.Errorf("%s", got.Raw)
	}
	claim := map[string]any{"one_time_keys": map[matrix.UserID]any{alice: map[string]string{"PHONE": "signed_curve25519"}}}
	if got := p.call(t, a, http.MethodPost, v1+"user/keys/claim", claim).wants(t, 200, ""); got.Get("one_time_keys").Raw != "{}" {
		t.Errorf("%s", got.Raw)
	}
}
