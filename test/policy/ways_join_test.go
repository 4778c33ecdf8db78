package policy_test

import (
	"encoding/json"
	"fmt"
	"net/http"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// strangers are the accounts of the scripted server.
var strangers = []string{"ministry", "partner", "ended", "blocked", "denied", "unaffiliated", "unknown"}

// joinWays are the calls by which a server makes its account a member.
func joinWays() []way {
	return []way{
		{"make-and-send-join", strangers, true, func(c *cell) { c.public(); c.enters("v2") }},
		{"make-and-send-join-v1", strangers, true, func(c *cell) { c.public(); c.enters("v1") }},
		{"send-join-unasked", strangers, true, func(c *cell) { c.public(); c.sendsJoin(c.forgedJoin()) }},
		{"send-join-uninvited", strangers, true, func(c *cell) { c.create(nil); c.sendsJoin(c.forgedJoin()) }},
		{"send-join-invited", strangers, true, func(c *cell) { c.invited(); c.enters("v2") }},
		{"send-knock", strangers, true, func(c *cell) {
			c.joinRule(object{"join_rule": "knock"})
			c.xp.enter(c.t, c.alice.server, c.room, c.x, "knock", "v1")
			c.alice.invite(c.t, c.room, c.x)
			c.enters("v2")
		}},
		{"restricted-join-vouched", strangers, true, restrictedJoinVouched},
		{"restricted-join-forged", strangers, true, func(c *cell) {
			c.joinRule(object{"join_rule": "restricted", "allow": []object{{"type": "m.room_membership", "room_id": "!elsewhere:one.example"}}})
			join := membership(c.x, "join")
			join.content = object{"membership": "join", "join_authorised_via_users_server": c.alice.user}
			c.sendsJoin(c.xp.forge(c.t, c.alice, c.room, join))
		}},
		{"old-room-versions", strangers, true, oldRoomVersions},
		{"banned", strangers, true, func(c *cell) {
			c.public()
			c.alice.call(c.t, http.MethodPost, v3+"rooms/"+esc(string(c.room), "ban"), object{"user_id": c.x})
			c.enters("v2")
			c.sendsJoin(c.forgedJoin())
		}},
	}
}

// enters asks for a template and sends the join, and, refused, sends one of its
// own making.
func (c *cell) enters(version string) {
	c.t.Helper()
	r, _ := c.xp.enter(c.t, c.alice.server, c.room, c.x, "join", version)
	if r.status != http.StatusOK {
		c.sendsJoinBy(version, c.forgedJoin())
	}
}

// forgedJoin is a join that asked nobody.
func (c *cell) forgedJoin() *event.Event {
	c.t.Helper()
	return c.xp.forge(c.t, c.alice, c.room, membership(c.x, "join"))
}

func (c *cell) sendsJoin(e *event.Event) reply { return c.sendsJoinBy("v2", e) }

func (c *cell) sendsJoinBy(version string, e *event.Event) reply {
	c.t.Helper()
	path := "/_matrix/federation/" + version + "/" + esc("send_join", string(c.room), string(e.ID()))
	return c.xp.call(c.t, c.alice.server, http.MethodPut, path, json.RawMessage(e.JSON()))
}

// invited makes the room and invites the account.
func (c *cell) invited() {
	c.t.Helper()
	c.create(nil)
	c.alice.invite(c.t, c.room, c.x)
}

// restrictedJoinVouched brings the account into a space first.
func restrictedJoinVouched(c *cell) {
	c.create(object{"preset": "private_chat", "is_direct": false, "creation_content": object{"type": "m.space"},
		"initial_state": []object{{"type": "im.vector.room.access_rules", "content": object{"rule": "unrestricted"}}}})
	space := c.room
	c.invitedTo(space)
	c.xp.enter(c.t, c.alice.server, space, c.x, "join", "v2")
	c.joinRule(object{"join_rule": "restricted", "allow": []object{{"type": "m.room_membership", "room_id": space}}})
	c.enters("v2")
}

func (c *cell) invitedTo(room matrix.RoomID) {
	c.t.Helper()
	c.alice.invite(c.t, room, c.x)
}

// oldRoomVersions tries the plain way in rooms of every other version. It is in
// where one of them lets it in.
func oldRoomVersions(c *cell) {
	in := false
	for _, version := range []string{"6", "7", "8", "9", "10", "11"} {
		c.create(object{"room_version": version})
		c.alice.invite(c.t, c.room, c.x)
		c.enters("v2")
		in = in || c.alice.member(c.t, c.room, c.x) == "join"
	}
	c.shown = func() bool { return in }
}

// mole brings an account of an allied ministry into the room, with power: it
// lies for whoever wants to come in. Where there is no seat for it, as in a
// direct room that the account itself is invited into, the room cannot be.
func (c *cell) mole(power int) (*pen, matrix.UserID) {
	c.t.Helper()
	p := c.pens["ally.example"]
	user := matrix.UserID(fmt.Sprintf("@mole%d:ally.example", c.last.Add(1)))
	c.alice.invite(c.t, c.room, user)
	if r, _ := p.enter(c.t, c.alice.server, c.room, user, "join", "v2"); r.status != http.StatusOK {
		c.t.Fatalf("the mole: %d %s", r.status, r.Raw)
	}
	if power > 0 {
		levels := c.alice.get(c.t, v3+"rooms/"+esc(string(c.room), "state", "m.room.power_levels"))
		var content object
		must(c.t, json.Unmarshal([]byte(levels.Raw), &content))
		users, _ := content["users"].(object)
		if users == nil {
			users = object{}
		}
		users[string(user)] = power
		content["users"] = users
		if r := c.alice.setState(c.t, c.room, "m.room.power_levels", "", content); r.status != http.StatusOK {
			c.t.Fatalf("power for the mole: %d %s", r.status, r.Raw)
		}
	}
	return p, user
}

// waitFor waits until a server has a membership.
func (c *cell) waitFor(s *server, room matrix.RoomID, user matrix.UserID, membership string) {
	c.t.Helper()
	s.until(c.t, string(user)+" is "+membership, func(r *storage.Reader) bool {
		row, err := rooms.ByID(c.t.Context(), r, room)
		if err != nil {
			return false
		}
		m, err := rooms.MemberOf(c.t.Context(), r, row.NID, user)
		must(c.t, err)
		return m.Membership == membership
	})
}
