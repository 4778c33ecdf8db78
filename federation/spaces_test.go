package federation_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/roomserver"
)

func link(room matrix.RoomID, via matrix.ServerName, order string) policy.StateEvent {
	content := `{"via":["` + string(via) + `"],"order":"` + order + `"}`
	return policy.StateEvent{Type: "m.space.child", StateKey: string(room), Content: json.RawMessage(content)}
}

func (h *host) space(t *testing.T, creator matrix.UserID, preset string, children ...policy.StateEvent) matrix.RoomID {
	t.Helper()
	id, err := h.rooms.CreateRoom(t.Context(), roomserver.CreateRequest{CreateRequest: policy.CreateRequest{
		Creator: creator, Preset: preset, Version: "11", CreationContent: json.RawMessage(`{"type":"m.space"}`), InitialState: children}})
	must(t, err)
	return id
}

func idsOf(list []roomserver.SpaceRoom) (ids []matrix.RoomID) {
	for _, room := range list {
		ids = append(ids, room.RoomID)
	}
	return ids
}

// TestHierarchyOfOtherServers walks through spaces of two servers, and what a
// server that is in neither may see of them.
func TestHierarchyOfOtherServers(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			a, b := n.start(t, engine, one, ministries), n.start(t, engine, two, ministries)
			b.user(t, bob)
			open, secret := a.room(t, alice, "11", "public_chat"), a.room(t, alice, "11", "private_chat")
			deep := a.space(t, alice, "public_chat", link(a.room(t, alice, "12", "public_chat"), one, "1"))
			theirs := a.space(t, alice, "public_chat", link(open, one, "1"), link(secret, one, "2"), link(deep, one, "3"))
			own := b.room(t, bob, "12", "private_chat")
			root := b.space(t, bob, "private_chat", link(own, two, "1"), link(theirs, one, "2"), link("!gone:away.example", "away.example", "3"))

			list, next, err := b.rooms.Hierarchy(t.Context(), roomserver.HierarchyRequest{User: bob, Room: root})
			must(t, err)
			if ids := idsOf(list); len(ids) != 6 || next != "" || !slices.Equal(ids[:5], []matrix.RoomID{root, own, theirs, open, deep}) {
				t.Errorf("bob sees %v", ids)
			}
			if list[3].JoinRule != "public" || list[2].RoomType != "m.space" || len(list[2].Children) != 3 {
				t.Errorf("of the other server: %+v", list[2:4])
			}
			sum, err := b.rooms.RoomSummary(t.Context(), bob, open, []matrix.ServerName{one})
			must(t, err)
			if sum.RoomID != open || sum.RoomVersion != "11" || sum.Joined != 1 {
				t.Errorf("summary: %+v", sum)
			}
			if _, err := b.rooms.RoomSummary(t.Context(), bob, secret, []matrix.ServerName{one}); !matrix.IsCode(err, "M_NOT_FOUND") {
				t.Errorf("summary of a room that is shut: %v", err)
			}
			must(t, a.rooms.Invite(t.Context(), roomserver.MembershipRequest{Sender: alice, Target: bob, Room: secret}))
			if sum, err = b.rooms.RoomSummary(t.Context(), bob, secret, nil); err != nil || sum.Membership != "invite" || sum.JoinRule != "invite" {
				t.Errorf("summary of the invitation: %+v %v", sum, err)
			}

			p, _ := n.scribe(t, evil) // a partner: nothing of it comes into restricted rooms
			p.call(t, a, http.MethodGet, v1+"hierarchy/"+esc(string(theirs)), nil).wants(t, 404, "M_NOT_FOUND")
			p.call(t, a, http.MethodGet, v1+"hierarchy/%21none", nil).wants(t, 404, "M_NOT_FOUND")
			p.call(t, a, http.MethodGet, v1+"hierarchy/"+esc(string(theirs))+"?suggested_only=x", nil).wants(t, 400, "M_INVALID_PARAM")
		})
	}
}

// TestHierarchyAnswer looks at what a server says of a space.
func TestHierarchyAnswer(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.start(t, "sqlite", one, "")
	open, secret := a.room(t, alice, "11", "public_chat"), a.room(t, alice, "11", "private_chat")
	space := a.space(t, alice, "public_chat", link(open, one, "1"), link(secret, one, "2"), link("!else:where.example", one, "3"))
	p, _ := n.scribe(t, evil)
	got := p.call(t, a, http.MethodGet, v1+"hierarchy/"+esc(string(space)), nil).wants(t, 200, "")
	if got.Get("room.children_state.#").Int() != 3 || got.Get("children.#").Int() != 1 || got.Get("children.0.room_id").String() != string(open) ||
		got.Get("inaccessible_children").Raw != `["`+string(secret)+`"]` {
		t.Error(got.Raw)
	}
	if got = p.call(t, a, http.MethodGet, v1+"hierarchy/"+esc(string(space))+"?suggested_only=true", nil).wants(t, 200, ""); got.Get("children").Raw != "[]" {
		t.Error(got.Raw)
	}
}

// TestAHostileServerTellsOfASpace hears nonsense of one.
func TestAHostileServerTellsOfASpace(t *testing.T) {
	t.Parallel()
	const room = "!r:evil.example"
	good := `{"room_id":"` + room + `","join_rule":"public","num_joined_members":1,"world_readable":false,"guest_can_join":false,"room_type":"m.space","children_state":[%s]}`
	child := `{"type":"m.space.child","state_key":"!c:evil.example","sender":"@eve:evil.example","origin_server_ts":1,"content":{"via":["evil.example"]}}`
	for name, tc := range map[string]struct {
		answer   string
		children int // -1: no answer
	}{
		"true":             {`{"room":` + fmt.Sprintf(good, child) + `}`, 1},
		"another room":     {`{"room":{"room_id":"!x:evil.example","join_rule":"public"}}`, -1},
		"no room":          {`{"children":[]}`, -1},
		"nothing":          {`[]`, -1},
		"numbers":          {`{"room":{"room_id":7}}`, -1},
		"null children":    {`{"room":` + fmt.Sprintf(good, "null,"+child) + `,"children":[null,7,{}]}`, 1},
		"no sender":        {`{"room":` + fmt.Sprintf(good, `{"type":"m.space.child","state_key":"!c:x","content":{"via":["x"]}}`) + `}`, 0},
		"no via":           {`{"room":` + fmt.Sprintf(good, `{"type":"m.space.child","state_key":"!c:x","sender":"@a:b","content":{}}`) + `}`, 0},
		"another type":     {`{"room":` + fmt.Sprintf(good, `{"type":"m.room.name","state_key":"!c:x","sender":"@a:b","content":{"via":["x"]}}`) + `}`, 0},
		"shut":             {`{"room":{"room_id":"` + room + `","join_rule":"invite"}}`, -1},
		"negative members": {`{"room":{"room_id":"` + room + `","join_rule":"public","num_joined_members":-1}}`, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			a := n.start(t, "sqlite", one, "")
			n.serve(t, evil, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(tc.answer))
			}))
			list, _, err := a.rooms.Hierarchy(t.Context(), roomserver.HierarchyRequest{User: alice, Room: room})
			switch {
			case tc.children < 0 && !matrix.IsCode(err, "M_FORBIDDEN"):
				t.Errorf("%v %v", list, err)
			case tc.children >= 0 && (err != nil || len(list[0].Children) != tc.children):
				t.Errorf("%v %v", list, err)
			}
		})
	}
}

// TestViaOfOneUserTellsNobodyElse asks a hostile server for the room of an
// honest one, and then as another user the honest one.
func TestViaOfOneUserTellsNobodyElse(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.start(t, "sqlite", one, ""), n.start(t, "sqlite", two, "")
	b.user(t, bob)
	open := a.room(t, alice, "11", "public_chat")
	n.serve(t, evil, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"room":{"room_id":%q,"join_rule":"public","name":"forged","num_joined_members":1}}`, open)
	}))
	sum, err := b.rooms.RoomSummary(t.Context(), "@mallory:"+matrix.UserID(two), open, []matrix.ServerName{evil})
	must(t, err)
	if sum.Name != "forged" {
		t.Fatalf("the hostile server was not asked: %+v", sum)
	}
	sum, err = b.rooms.RoomSummary(t.Context(), bob, open, []matrix.ServerName{one})
	must(t, err)
	if sum.Name == "forged" || sum.RoomVersion != "11" {
		t.Errorf("bob is told by a server that he did not ask: %+v", sum)
	}
}

// TestTimestampToEventAcrossAGap asks a server that has come into the room late.
func TestTimestampToEventAcrossAGap(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			a, b := n.start(t, engine, one, ministries), n.start(t, engine, two, ministries)
			a.work(t)
			b.work(t)
			room := a.room(t, alice, "12", "public_chat")
			first := a.say(t, alice, room, "the first")
			for range 150 {
				a.say(t, alice, room, "more")
			}
			b.user(t, bob)
			b.join(t, bob, room, one)
			when, err := a.rooms.NearTime(t.Context(), roomserver.NearRequest{User: alice, Room: room})
			must(t, err)
			got, err := b.rooms.NearTime(t.Context(), roomserver.NearRequest{User: bob, Room: room, TS: when.TS})
			if err != nil || got != when {
				t.Errorf("the first event is %v, %v; want %v", got, err, when)
			}
			if _, err := b.rooms.Context(t.Context(), roomserver.ContextRequest{User: bob, Room: room, Event: first}); err != nil {
				t.Errorf("context: %v", err)
			}
			b.verify(t)

			p, _ := n.scribe(t, evil)
			p.call(t, a, http.MethodGet, v1+"timestamp_to_event/"+esc(string(room))+"?ts=0&dir=f", nil).wants(t, 403, "M_FORBIDDEN")
			p.call(t, a, http.MethodGet, v1+"timestamp_to_event/"+esc(string(room))+"?ts=x&dir=f", nil).wants(t, 400, "M_INVALID_PARAM")
			p.call(t, a, http.MethodGet, v1+"timestamp_to_event/"+esc(string(room))+"?ts=0", nil).wants(t, 400, "M_MISSING_PARAM")
		})
	}
}
