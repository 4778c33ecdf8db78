package federation_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/policy"
	"beffroi/roomserver"
)

func TestJoinIsCheckedAgainstThePath(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.start(t, "sqlite", one, "")
	p, _ := n.scribe(t, evil)
	room, other := a.room(t, alice, "12", "public_chat"), a.room(t, alice, "12", "public_chat")
	join := p.template(t, a, "make_join", room, eve)
	forged := func(change func(*event.Proto)) *event.Event {
		proto := &event.Proto{RoomID: room, Sender: eve, Type: "m.room.member", StateKey: new(string),
			Content: json.RawMessage(`{"membership":"join"}`), PrevEvents: join.PrevEvents(), AuthEvents: join.AuthEvents(),
			Depth: join.Depth(), OriginServerTS: join.OriginServerTS()}
		*proto.StateKey = string(eve)
		change(proto)
		e, err := proto.Build(join.Rules(), p.key)
		must(t, err)
		return e
	}
	put := func(call string, room matrix.RoomID, id matrix.EventID, raw []byte) reply {
		return p.call(t, a, http.MethodPut, "/_matrix/federation/"+call+"/"+esc(string(room), string(id)), json.RawMessage(raw))
	}
	for name, tc := range map[string]struct {
		call   string
		room   matrix.RoomID
		e      *event.Event
		id     matrix.EventID // "" is that of e
		status int
		code   string
	}{
		"another room":      {"v2/send_join", other, join, "", 400, "M_INVALID_PARAM"},
		"another event":     {"v2/send_join", room, join, "$x", 400, "M_INVALID_PARAM"},
		"a leave":           {"v2/send_join", room, forged(func(p *event.Proto) { p.Content = json.RawMessage(`{"membership":"leave"}`) }), "", 400, "M_BAD_JSON"},
		"a join as a leave": {"v2/send_leave", room, join, "", 400, "M_BAD_JSON"},
		"a join as a knock": {"v1/send_knock", room, join, "", 400, "M_BAD_JSON"},
		"a message":         {"v2/send_join", room, forged(func(p *event.Proto) { p.Type, p.StateKey = "m.room.message", nil }), "", 400, "M_BAD_JSON"},
		"of another user":   {"v2/send_join", room, forged(func(p *event.Proto) { *p.StateKey = "@bob:two.example" }), "", 400, "M_BAD_JSON"},
		"of another server": {"v2/send_join", room, forged(func(p *event.Proto) { p.Sender, *p.StateKey = bob, string(bob) }), "", 403, "M_FORBIDDEN"},
		"without events":    {"v2/send_join", room, forged(func(p *event.Proto) { p.AuthEvents = nil }), "", 403, "M_FORBIDDEN"},
		"of the other room": {"v2/send_join", room, forged(func(p *event.Proto) { p.RoomID = other }), "", 400, "M_INVALID_PARAM"},
	} {
		t.Run(name, func(t *testing.T) {
			id := tc.id
			if id == "" {
				id = tc.e.ID()
			}
			put(tc.call, tc.room, id, tc.e.JSON()).wants(t, tc.status, tc.code)
			if a.knows(t, tc.e.ID()) {
				t.Error("the event is stored")
			}
		})
	}
	unsigned := append([]byte(nil), join.JSON()...)
	unsigned = []byte(fmt.Sprintf(`{"signatures":{},%s`, unsigned[1:]))
	put("v2/send_join", room, join.ID(), unsigned).wants(t, 400, "M_BAD_JSON") // two members signatures

	// The good one, in both forms.
	put("v2/send_join", room, join.ID(), join.JSON()).wants(t, 200, "")
	second := p.template(t, a, "make_join", room, "@mallory:evil.example")
	old := put("v1/send_join", room, second.ID(), second.JSON()).wants(t, 200, "")
	if old.Get("0").Int() != 200 || !old.Get("1.state.0").Exists() || !old.Get("1.auth_chain.0").Exists() {
		t.Errorf("version 1 answers %s", old.Raw)
	}
	leave := p.template(t, a, "make_leave", room, "@mallory:evil.example")
	if got := put("v1/send_leave", room, leave.ID(), leave.JSON()).wants(t, 200, ""); got.Raw != "[200,{}]" {
		t.Errorf("version 1 answers %s", got.Raw)
	}
	a.verify(t)
}

func TestRoomVersionsMustFit(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.start(t, "sqlite", one, "")
	a.user(t, alice)
	p, _ := n.scribe(t, evil)
	room := a.room(t, alice, "11", "public_chat")
	for _, query := range []string{"", "?ver=1&ver=12&ver=org.example"} {
		got := p.call(t, a, http.MethodGet, v1+esc("make_join", string(room), string(eve))+query, nil).
			wants(t, 400, "M_INCOMPATIBLE_ROOM_VERSION")
		if got.Get("room_version").String() != "11" {
			t.Errorf("%s", got.Raw)
		}
	}
	got := p.call(t, a, http.MethodPut, v2+"invite/%21r/%24e", `{"room_version":"99","event":{"sender":"@eve:evil.example","state_key":"@alice:one.example"}}`).
		wants(t, 400, "M_INCOMPATIBLE_ROOM_VERSION")
	if got.Get("room_version").String() != "99" {
		t.Errorf("%s", got.Raw)
	}
}

// invitation builds an invitation of evil's to a room of its own.
func invitation(t *testing.T, p *pen, version matrix.RoomVersion, guest matrix.UserID) (create, invite *event.Event) {
	t.Helper()
	rules, err := version.Rules()
	must(t, err)
	proto := &event.Proto{Sender: eve, Type: "m.room.create", StateKey: new(string), Depth: 1, OriginServerTS: 1_700_000_000_000,
		Content: json.RawMessage(`{"creator":"@eve:evil.example","room_version":"` + string(version) + `"}`)}
	if !rules.RoomIDIsCreateHash {
		proto.RoomID = "!theirs:evil.example"
	}
	create, err = proto.Build(rules, p.key)
	must(t, err)
	key := string(guest)
	proto = &event.Proto{RoomID: create.RoomID(), Sender: eve, Type: "m.room.member", StateKey: &key, Depth: 5, OriginServerTS: 1_700_000_000_000,
		Content: json.RawMessage(`{"membership":"invite"}`), PrevEvents: []matrix.EventID{create.ID()}, AuthEvents: []matrix.EventID{create.ID()}}
	invite, err = proto.Build(rules, p.key)
	must(t, err)
	return create, invite
}

func TestInvitations(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.start(t, "sqlite", one, "")
	a.user(t, alice)
	p, _ := n.scribe(t, evil)
	put := func(create, invite *event.Event, version matrix.RoomVersion, told ...json.RawMessage) reply {
		return p.call(t, a, http.MethodPut, v2+esc("invite", string(invite.RoomID()), string(invite.ID())), map[string]any{
			"room_version": version, "event": json.RawMessage(invite.JSON()), "invite_room_state": told})
	}
	for _, version := range []matrix.RoomVersion{"10", "11", "12"} {
		t.Run(string(version), func(t *testing.T) {
			create, invite := invitation(t, p, version, alice)
			if version == "12" {
				put(create, invite, version).wants(t, 400, "M_MISSING_PARAM")
			}
			put(create, invite, version, json.RawMessage("null")).wants(t, 400, map[bool]string{false: "M_BAD_JSON", true: "M_MISSING_PARAM"}[version == "12"])
			got := put(create, invite, version, create.JSON()).wants(t, 200, "")
			signed, err := event.ParseUntrusted([]byte(got.Get("event").Raw), invite.Rules())
			must(t, err)
			if signed.ID() != invite.ID() || len(signed.SignatureKeyIDs(one)) != 1 || len(signed.SignatureKeyIDs(evil)) != 1 {
				t.Errorf("%s", got.Raw)
			}
		})
	}
	create, invite := invitation(t, p, "12", "@nobody:one.example")
	put(create, invite, "12", create.JSON()).wants(t, 403, "M_FORBIDDEN")
	create, invite = invitation(t, p, "12", bob)
	put(create, invite, "12", create.JSON()).wants(t, 400, "M_INVALID_PARAM")

	create, invite = invitation(t, p, "1", alice)
	told, err := json.Marshal(map[string]any{"invite_room_state": []json.RawMessage{create.JSON()}})
	must(t, err)
	old := fmt.Sprintf(`{"unsigned":%s,%s`, told, invite.JSON()[1:])
	got := p.call(t, a, http.MethodPut, v1+esc("invite", string(invite.RoomID()), string(invite.ID())), old).wants(t, 200, "")
	if got.Get("0").Int() != 200 || !got.Get(`1.event.signatures.one\.example`).Exists() {
		t.Errorf("%s", got.Raw)
	}
}

func TestPolicyAtTheEdge(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := n.start(t, "sqlite", one, ministries)
	a.user(t, alice)
	partner, _ := n.scribe(t, evil)
	room := a.room(t, alice, "12", "private_chat")
	reason := func(got reply) string {
		return got.wants(t, 403, "M_FORBIDDEN").Get(`org\.beffroi\.policy.reason`).String()
	}
	create, invite := invitation(t, partner, "12", alice)
	for name, got := range map[string]reply{
		string(policy.ReasonExternalRestricted): partner.call(t, a, http.MethodGet, v1+esc("make_join", string(room), string(eve))+"?ver=12", nil),
		string(policy.ReasonExternalInvite): partner.call(t, a, http.MethodPut, v2+esc("invite", string(invite.RoomID()), string(invite.ID())),
			map[string]any{"room_version": "12", "event": json.RawMessage(invite.JSON()), "invite_room_state": []json.RawMessage{create.JSON()}}),
		string(policy.ReasonExternalPublic):  partner.call(t, a, http.MethodGet, v1+"publicRooms", nil),
		string(policy.ReasonExternalProfile): partner.call(t, a, http.MethodGet, v1+"query/profile?user_id=@alice:one.example", nil),
	} {
		if got := reason(got); got != name {
			t.Errorf("refused for %q, want %q", got, name)
		}
	}
	// A user of a server that nobody knows, in the body of one that is known.
	asked := map[string]any{"device_keys": map[matrix.UserID]any{"@x:stranger.example": []string{}, alice: []string{}}}
	got := partner.call(t, a, http.MethodPost, v1+"user/keys/query", asked).wants(t, 200, "")
	if !got.Get(`device_keys.@alice:one\.example`).Exists() || got.Get(`device_keys.@x:stranger\.example`).Exists() {
		t.Errorf("%s", got.Raw)
	}
	// Nobody is held in a room.
	partner.call(t, a, http.MethodGet, v1+esc("make_leave", string(room), string(eve)), nil).wants(t, 403, "M_FORBIDDEN") // who is not in it
}

func TestARestrictedJoinIsVouchedFor(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.start(t, "sqlite", one, ""), n.start(t, "sqlite", two, "")
	a.work(t)
	b.work(t)
	p, _ := n.scribe(t, evil)
	space := a.room(t, alice, "11", "public_chat")
	restricted := func(room matrix.RoomID) policy.StateEvent {
		return policy.StateEvent{Type: "m.room.join_rules", Content: json.RawMessage(fmt.Sprintf(
			`{"join_rule":"restricted","allow":[{"type":"m.room_membership","room_id":"%s"}]}`, room))}
	}
	room := a.room(t, alice, "11", "private_chat", restricted(space), shared)
	b.join(t, bob, space, one)
	if err := b.rooms.Join(t.Context(), roomserver.JoinRequest{User: "@carol:two.example", Room: room, Via: []matrix.ServerName{one}}); !matrix.IsCode(err, "M_FORBIDDEN") {
		t.Errorf("a stranger to the space joins: %v", err)
	}
	b.join(t, bob, room, one)
	a.has(t, b.say(t, bob, room, "entré par l'espace"))
	nowhere := a.room(t, alice, "11", "private_chat", restricted("!unknown:two.example"))
	p.call(t, a, http.MethodGet, v1+esc("make_join", string(nowhere), string(eve))+"?ver=11", nil).wants(t, 400, "M_UNABLE_TO_AUTHORISE_JOIN")
	a.verify(t)
	b.verify(t)
}
