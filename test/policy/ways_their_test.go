package policy_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/matrix/signing"
	"beffroi/policy"
)

// theirWays are rooms of other servers, into which an account of ours is let:
// nobody may be there whom the policy refuses.
func theirWays() []way {
	return []way{
		{"their-room-has-it", strangers, true, func(c *cell) {
			h := c.hosted("ally.example", nil)
			h.add(h.by, forged{typ: "m.room.member", key: string(c.x), sender: h.creator, content: object{"membership": "invite"}})
			h.add(c.xp, membership(c.x, "join"))
			c.weJoin(h)
		}},
		{"their-room-let-it-in", strangers, true, func(c *cell) {
			h := c.hosted("ally.example", nil)
			h.add(h.by, forged{typ: "m.room.join_rules", sender: h.creator, content: object{"join_rule": "public"}})
			h.add(c.xp, membership(c.x, "join"))
			c.weJoin(h)
		}},
		{"their-room-had-it", strangers, true, func(c *cell) {
			h := c.hosted("ally.example", nil)
			h.add(h.by, forged{typ: "m.room.member", key: string(c.x), sender: h.creator, content: object{"membership": "invite"}})
			h.add(c.xp, membership(c.x, "join"))
			h.add(c.xp, membership(c.x, "leave"))
			c.weJoin(h)
			c.push(h.build(c.xp, membership(c.x, "join")))
		}},
		{"their-room-gets-it", strangers, true, func(c *cell) {
			h := c.hosted("ally.example", nil)
			h.add(h.by, forged{typ: "m.room.member", key: string(c.x), sender: h.creator, content: object{"membership": "invite"}})
			c.weJoin(h)
			c.push(h.build(c.xp, membership(c.x, "join")))
		}},
		{"their-history-shows-it", strangers, true, theirHistory},
		{"it-invites-us", strangers, true, func(c *cell) { itInvites(c, "v2") }},
		{"it-invites-us-v1", strangers, true, func(c *cell) { itInvites(c, "v1") }},
		{"we-join-its-room", strangers, true, func(c *cell) {
			h := c.hosted(c.xp.name, &c.x)
			c.weJoin(h)
		}},
	}
}

// hosted is a room of a scripted server.
type hosted struct {
	c       *cell
	by      *pen
	creator matrix.UserID
	room    matrix.RoomID
	rules   *matrix.VersionRules
	events  []*event.Event
	state   map[event.StateTuple]*event.Event
	ours    *event.Event // the join of one of ours
}

// hosted makes a room on a scripted server with the access rule of the cell.
func (c *cell) hosted(on matrix.ServerName, creator *matrix.UserID) *hosted {
	c.t.Helper()
	h := &hosted{c: c, by: c.pens[on], creator: matrix.UserID("@host:" + string(on)), state: make(map[event.StateTuple]*event.Event)}
	if creator != nil {
		h.creator = *creator
	}
	var err error
	h.rules, err = matrix.RoomVersion("11").Rules()
	must(c.t, err)
	h.room = matrix.RoomID("!" + c.x.Localpart() + ":" + string(on))
	h.add(h.by, forged{typ: "m.room.create", sender: h.creator, content: object{"room_version": "11"}})
	h.add(h.by, membership(h.creator, "join"))
	h.add(h.by, forged{typ: "m.room.power_levels", sender: h.creator, content: object{"users": object{string(h.creator): 100}}})
	h.add(h.by, forged{typ: "m.room.join_rules", sender: h.creator, content: object{"join_rule": "invite"}})
	if c.rule == policy.Direct {
		h.add(h.by, forged{typ: policy.TypeAccessRules, sender: h.creator, content: object{"rule": "direct"}})
	} else {
		h.add(h.by, forged{typ: policy.TypeAccessRules, sender: h.creator, content: object{"rule": c.rule}})
		h.add(h.by, forged{typ: "m.room.history_visibility", sender: h.creator, content: object{"history_visibility": "shared"}})
	}
	c.room, c.at = h.room, c.account(c.t, "one.example", c.x.Localpart()+"host")
	return h
}

// build makes an event on top of the room.
func (h *hosted) build(by *pen, f forged) *event.Event {
	h.c.t.Helper()
	content, err := json.Marshal(f.content)
	must(h.c.t, err)
	p := event.Proto{RoomID: h.room, Sender: f.sender, Type: f.typ, Content: content, Depth: int64(len(h.events) + 1),
		OriginServerTS: 1_700_000_000_000 + h.c.last.Add(1)}
	if !f.message {
		p.StateKey = &f.key
	}
	if n := len(h.events); n > 0 {
		p.PrevEvents = []matrix.EventID{h.events[n-1].ID()}
	}
	for _, tuple := range eventauth.NeededFor(eventauth.SubjectOfProto(&p), h.rules) {
		if e := h.state[tuple]; e != nil {
			p.AuthEvents = append(p.AuthEvents, e.ID())
		}
	}
	e, err := p.Build(h.rules, by.key)
	must(h.c.t, err)
	return e
}

// add builds an event and makes it the end of the room.
func (h *hosted) add(by *pen, f forged) *event.Event {
	h.c.t.Helper()
	e := h.build(by, f)
	h.events = append(h.events, e)
	h.by.gives(e)
	if e.IsState() {
		h.state[e.StateTuple()] = e
	}
	return e
}

// weJoin has an account of ours invited, and makes the scripted server let it in.
func (c *cell) weJoin(h *hosted) {
	c.t.Helper()
	us := c.at.user
	invite := h.add(h.by, forged{typ: "m.room.member", key: string(us), sender: h.creator, content: object{"membership": "invite"}})
	stripped := []object{
		{"type": "m.room.create", "state_key": "", "sender": h.creator, "content": object{"room_version": "11"}},
		{"type": policy.TypeAccessRules, "state_key": "", "sender": h.creator, "content": object{"rule": c.rule}},
	}
	h.by.call(c.t, c.alice.server, http.MethodPut, fed2+esc("invite", string(h.room), string(invite.ID())),
		object{"event": json.RawMessage(invite.JSON()), "room_version": "11", "invite_room_state": stripped})
	h.letIn(us)
	r := c.at.call(c.t, http.MethodPost, v3+"join/"+esc(string(h.room))+"?via="+string(h.by.name)+"&server_name="+string(h.by.name), object{})
	if r.status == http.StatusOK && h.ours != nil {
		h.events, h.state[h.ours.StateTuple()] = append(h.events, h.ours), h.ours
	}
}

// letIn scripts make_join and send_join for an account of ours.
func (h *hosted) letIn(us matrix.UserID) {
	h.c.t.Helper()
	p := event.Proto{RoomID: h.room, Sender: us, Type: "m.room.member", StateKey: (*string)(&us),
		Content: json.RawMessage(`{"membership":"join"}`), PrevEvents: []matrix.EventID{h.events[len(h.events)-1].ID()},
		Depth: int64(len(h.events) + 1), OriginServerTS: 1_700_000_000_000}
	for _, tuple := range eventauth.NeededFor(eventauth.SubjectOfProto(&p), h.rules) {
		if e := h.state[tuple]; e != nil {
			p.AuthEvents = append(p.AuthEvents, e.ID())
		}
	}
	template, err := p.MarshalTemplate(h.rules)
	must(h.c.t, err)
	h.by.answer("make_join", h.room, func([]byte, url.Values) (any, int) {
		return object{"room_version": "11", "event": json.RawMessage(template)}, http.StatusOK
	})
	var state, chain []json.RawMessage
	for _, e := range h.state {
		state = append(state, e.JSON())
	}
	for _, e := range h.events {
		chain = append(chain, e.JSON())
	}
	h.by.answer("send_join", h.room, func(body []byte, _ url.Values) (any, int) {
		if e, err := event.ParseUntrusted(body, h.rules); err == nil {
			h.ours = e
		}
		return object{"origin": h.by.name, "state": state, "auth_chain": chain, "members_omitted": false}, http.StatusOK
	})
}

// theirHistory has a room whose past holds the account: it counts whether one
// of ours is shown its join.
func theirHistory(c *cell) {
	h := c.hosted("ally.example", nil)
	h.add(h.by, forged{typ: "m.room.member", key: string(c.x), sender: h.creator, content: object{"membership": "invite"}})
	join := h.add(c.xp, membership(c.x, "join"))
	h.add(c.xp, membership(c.x, "leave"))
	h.by.answer("backfill", h.room, func([]byte, url.Values) (any, int) {
		var pdus []json.RawMessage
		for i := len(h.events) - 1; i >= 0; i-- {
			pdus = append(pdus, h.events[i].JSON())
		}
		return object{"origin": h.by.name, "origin_server_ts": 1, "pdus": pdus}, http.StatusOK
	})
	c.weJoin(h)
	c.shown = func() bool {
		page := c.at.call(c.t, http.MethodGet, v3+"rooms/"+esc(string(h.room), "messages")+"?dir=b&limit=100", nil)
		for _, e := range page.Get("chunk").Array() {
			if e.Get("event_id").String() == string(join.ID()) {
				return true
			}
		}
		return false
	}
}

// itInvites has the account itself invite one of ours to its room: it counts
// whether that one sees the invitation.
func itInvites(c *cell, version string) {
	h := c.hosted(c.xp.name, &c.x)
	invite := h.add(h.by, forged{typ: "m.room.member", key: string(c.at.user), sender: c.x, content: object{"membership": "invite"}})
	stripped := []object{{"type": policy.TypeAccessRules, "state_key": "", "sender": c.x, "content": object{"rule": c.rule}}}
	path := "/_matrix/federation/" + version + "/" + esc("invite", string(h.room), string(invite.ID()))
	var body any = object{"event": json.RawMessage(invite.JSON()), "room_version": "11", "invite_room_state": stripped}
	if version == "v1" {
		body = json.RawMessage(invite.JSON())
	}
	h.by.call(c.t, c.alice.server, http.MethodPut, path, body)
	c.shown = func() bool {
		return c.at.get(c.t, v3+"sync?timeout=0").Get("rooms.invite").Map()[string(h.room)].Exists()
	}
}

// signJSON signs an object as an identity server does.
func signJSON(t *testing.T, key signing.Key, value object) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(value)
	must(t, err)
	signed, err := signing.Sign(raw, key)
	must(t, err)
	return signed
}
