package policy_test

import (
	"net/http"
	"slices"

	"beffroi/matrix"
	"beffroi/policy"
)

// everybody are the accounts of the real servers.
var everybody = []string{"agent", "ministry", "partner"}

// ways are all ways in.
func ways() []way {
	return slices.Concat(clientWays(), spaceWays(), joinWays(), pushWays(), fetchedWays(), theirWays())
}

// clientWays are those that a client asks its own server for.
func clientWays() []way {
	return []way{
		{"join-by-id", everybody, false, func(c *cell) { c.public(); c.xc.join(c.t, c.room) }},
		{"join-by-alias", everybody, false, joinByAlias},
		{"join-uninvited", everybody, false, func(c *cell) { c.create(nil); c.xc.join(c.t, c.room) }},
		{"invitation", everybody, false, func(c *cell) {
			c.create(nil)
			c.alice.invite(c.t, c.room, c.x)
			c.xc.join(c.t, c.room)
		}},
		{"invitation-by-state", everybody, false, func(c *cell) {
			c.create(nil)
			c.alice.setState(c.t, c.room, "m.room.member", string(c.x), object{"membership": "invite"})
			c.xc.join(c.t, c.room)
		}},
		{"join-by-state", everybody, false, func(c *cell) {
			c.create(nil)
			c.alice.invite(c.t, c.room, c.x)
			c.xc.setState(c.t, c.room, "m.room.member", string(c.x), object{"membership": "join"})
		}},
		{"joined-by-another", everybody, false, func(c *cell) {
			c.create(nil)
			c.alice.setState(c.t, c.room, "m.room.member", string(c.x), object{"membership": "join"})
		}},
		{"new-room-invites", everybody, false, func(c *cell) {
			r := c.tryCreate(object{"invite": []matrix.UserID{c.x}})
			if c.room = matrix.RoomID(r.Get("room_id").String()); r.status != http.StatusOK {
				c.create(nil) // the request as a whole is refused: nothing came of it
			}
			c.xc.join(c.t, c.room)
		}},
		{"new-room-has-member", everybody, false, newRoomHasMember},
		{"new-room-invites-address", everybody, false, newRoomInvitesAddress},
		{"knock", everybody, false, func(c *cell) {
			c.joinRule(object{"join_rule": "knock"})
			c.xc.call(c.t, http.MethodPost, v3+"knock/"+esc(string(c.room))+"?via=one.example&server_name=one.example", object{})
			c.alice.invite(c.t, c.room, c.x)
			c.xc.join(c.t, c.room)
		}},
		{"return-after-leaving", everybody, false, func(c *cell) { c.comesBack("leave", c.xc) }},
		{"return-after-kick", everybody, false, func(c *cell) { c.comesBack("kick", c.alice) }},
		{"upgrade", everybody, false, upgrade},
		{"successor", everybody, false, successor},
		{"opened", everybody, false, opened},
	}
}

// create makes the room of the cell, with what extra asks for.
func (c *cell) create(extra object) {
	c.t.Helper()
	r := c.tryCreate(extra)
	if r.status != http.StatusOK {
		c.t.Fatalf("create: %d %s", r.status, r.Raw)
	}
	c.room = matrix.RoomID(r.Get("room_id").String())
}

func (c *cell) tryCreate(extra object) reply {
	c.t.Helper()
	body := object{"preset": "private_chat"}
	switch c.rule {
	case policy.Unrestricted:
		body["initial_state"] = []object{{"type": policy.TypeAccessRules, "content": object{"rule": c.rule}}}
	case policy.Direct:
		body["is_direct"], body["preset"] = true, "trusted_private_chat"
	}
	for key, value := range extra {
		if list, ok := value.([]object); ok && key == "initial_state" && body[key] != nil {
			value = append(body[key].([]object), list...)
		}
		body[key] = value
	}
	return c.alice.call(c.t, http.MethodPost, v3+"createRoom", body)
}

// joinRule makes the room with a join rule, where it can be.
func (c *cell) joinRule(content object) {
	c.t.Helper()
	c.create(nil)
	c.setJoinRule(content)
}

func (c *cell) setJoinRule(content object) {
	c.t.Helper()
	r := c.alice.setState(c.t, c.room, "m.room.join_rules", "", content)
	if r.Get(`org\.beffroi\.policy.reason`).Exists() {
		panic(errCannotBe)
	}
	if r.status != http.StatusOK {
		c.t.Fatalf("join rule: %d %s", r.status, r.Raw)
	}
}

// public makes a room that everybody may join.
func (c *cell) public() {
	c.t.Helper()
	c.joinRule(object{"join_rule": "public"})
}

func joinByAlias(c *cell) {
	c.public()
	alias := "#" + c.x.Localpart() + ":one.example"
	c.alice.put(c.t, v3+"directory/room/"+esc(alias), object{"room_id": c.room})
	c.xc.call(c.t, http.MethodPost, v3+"join/"+esc(alias), object{})
}

func newRoomHasMember(c *cell) {
	r := c.tryCreate(object{"initial_state": []object{
		{"type": "m.room.member", "state_key": c.x, "content": object{"membership": "join"}}}})
	if r.status == http.StatusOK {
		c.room = matrix.RoomID(r.Get("room_id").String())
		return
	}
	c.create(nil) // the request as a whole is refused: nothing came of it
}

// newRoomInvitesAddress invites an address of the account's organisation; that
// alone makes nobody a member.
func newRoomInvitesAddress(c *cell) {
	domain := map[string]string{"agent": "un.gouv.example", "ministry": "deux.gouv.example", "partner": "partenaire.example"}
	for who, server := range realServers {
		if server == c.x.Server() {
			r := c.tryCreate(object{"invite_3pid": []object{{"medium": "email", "address": c.x.Localpart() + "@" + domain[who],
				"id_server": "one.example", "id_access_token": "x"}}})
			if r.status == http.StatusOK {
				c.room = matrix.RoomID(r.Get("room_id").String())
			} else {
				c.create(nil)
			}
		}
	}
	c.xc.join(c.t, c.room)
}

// comesBack lets the account in by invitation, takes it out, opens the room to
// everybody and lets it try again.
func (c *cell) comesBack(how string, by *client) {
	c.create(nil)
	c.alice.invite(c.t, c.room, c.x)
	if c.xc.join(c.t, c.room).status == http.StatusOK {
		by.post(c.t, v3+"rooms/"+esc(string(c.room), how), object{"user_id": c.x})
		c.gone()
		c.before = true
	}
	c.setJoinRule(object{"join_rule": "public"})
	c.xc.join(c.t, c.room)
}

// gone waits until both servers know that the account is out.
func (c *cell) gone() {
	c.t.Helper()
	for _, s := range []*server{c.alice.server, c.xc.server} {
		c.waitFor(s, c.room, c.x, "leave")
	}
}

// upgrade makes a new version of a room that everybody may join.
func upgrade(c *cell) {
	c.public()
	r := c.alice.call(c.t, http.MethodPost, v3+"rooms/"+esc(string(c.room), "upgrade"), object{"new_version": "11"})
	if r.status != http.StatusOK {
		c.t.Fatalf("upgrade: %d %s", r.status, r.Raw)
	}
	c.room = matrix.RoomID(r.Get("replacement_room").String())
	c.xc.join(c.t, c.room)
}

// successor makes the new version by hand, as clients can.
func successor(c *cell) {
	c.public()
	old := c.room
	c.create(object{"creation_content": object{"predecessor": object{"room_id": old}}})
	c.setJoinRule(object{"join_rule": "public"})
	c.alice.setState(c.t, old, "m.room.tombstone", "", object{"body": "moved", "replacement_room": c.room})
	c.xc.join(c.t, c.room)
}

// opened opens the room to partners and invites.
func opened(c *cell) {
	c.create(nil)
	r := c.alice.setState(c.t, c.room, policy.TypeAccessRules, "", object{"rule": "unrestricted", "visibility": "private"})
	if r.status != http.StatusOK {
		panic(errCannotBe)
	}
	c.alice.invite(c.t, c.room, c.x)
	c.xc.join(c.t, c.room)
}

// spaceWays are those by way of a space.
func spaceWays() []way {
	return []way{
		{"space", everybody, false, func(c *cell) { bySpace(c, "restricted", true) }},
		{"space-knock-or-member", everybody, false, func(c *cell) { bySpace(c, "knock_restricted", true) }},
		{"space-without-being-in-it", everybody, false, func(c *cell) { bySpace(c, "restricted", false) }},
	}
}

// bySpace makes a space, into which the account is invited where inside is so,
// and lets it join a room of the space.
func bySpace(c *cell, rule string, inside bool) {
	c.create(object{"creation_content": object{"type": "m.space"}, "preset": "private_chat", "is_direct": false,
		"initial_state": []object{{"type": policy.TypeAccessRules, "content": object{"rule": "unrestricted"}}}})
	space := c.room
	if inside {
		c.alice.invite(c.t, space, c.x)
		if r := c.xc.join(c.t, space); r.status != http.StatusOK {
			c.t.Fatalf("into the space: %d %s", r.status, r.Raw)
		}
	}
	c.joinRule(object{"join_rule": rule, "allow": []object{{"type": "m.room_membership", "room_id": space}}})
	c.xc.join(c.t, c.room)
}
