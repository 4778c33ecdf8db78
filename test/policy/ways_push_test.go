package policy_test

import (
	"encoding/json"
	"net/http"
	"net/url"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/signing"
	"beffroi/policy"
)

// pushWays are those of events that a server pushes without asking.
func pushWays() []way {
	return []way{
		{"pushed-join", strangers, true, func(c *cell) { c.public(); c.push(c.forgedJoin()) }},
		{"pushed-join-invited", strangers, true, func(c *cell) { c.invited(); c.push(c.forgedJoin()) }},
		{"pushed-by-another-server", strangers, true, func(c *cell) {
			c.public()
			mole, _ := c.mole(0)
			c.pushBy(mole, c.forgedJoin())
		}},
		{"pushed-invitation", strangers, true, func(c *cell) {
			c.create(nil)
			mole, user := c.mole(50)
			invite := membership(c.x, "invite")
			invite.sender = user
			c.pushBy(mole, mole.forge(c.t, c.alice, c.room, invite))
			c.enters("v2")
			c.push(c.forgedJoin())
		}},
		{"pushed-for-another", strangers, true, func(c *cell) {
			c.create(nil)
			mole, user := c.mole(50)
			join := membership(c.x, "join")
			join.sender = user
			c.pushBy(mole, mole.forge(c.t, c.alice, c.room, join))
		}},
		{"pushed-from-the-past", strangers, true, pushedFromThePast},
		{"refused-join-built-upon", strangers, true, func(c *cell) {
			c.public()
			mole, user := c.mole(0)
			join := c.forgedJoin()
			c.push(join)
			c.pushBy(mole, mole.forge(c.t, c.alice, c.room, forged{typ: "m.room.message", message: true, sender: user,
				content: object{"body": "on top of it"}, prev: []matrix.EventID{join.ID(), c.alice.tip(c.t, c.room)}}))
			c.alice.setState(c.t, c.room, "m.room.topic", "", object{"topic": "later"})
		}},
		{"refused-and-invited-later", strangers, true, func(c *cell) {
			c.public()
			c.push(c.forgedJoin())
			c.alice.setState(c.t, c.room, policy.TypeAccessRules, "", object{"rule": "unrestricted", "visibility": "private"})
			c.alice.invite(c.t, c.room, c.x)
			c.enters("v2")
		}},
		{"refused-join-as-authority", strangers, true, func(c *cell) {
			c.public()
			join := c.forgedJoin()
			c.push(join)
			rename := membership(c.x, "join")
			rename.content = object{"membership": "join", "displayname": "me"}
			rename.prev = []matrix.EventID{join.ID()}
			rename.auth = append(join.AuthEvents(), join.ID())
			c.push(c.xp.forge(c.t, c.alice, c.room, rename))
		}},
		{"rule-redacted", strangers, true, func(c *cell) {
			c.public()
			mole, user := c.mole(100)
			rule := c.alice.state(c.t, c.room)[event.StateTuple{Type: policy.TypeAccessRules}]
			c.pushBy(mole, mole.forge(c.t, c.alice, c.room, forged{typ: "m.room.redaction", message: true, sender: user, redacts: rule, content: object{}}))
			c.enters("v2")
		}},
		{"ban-redacted", strangers, true, func(c *cell) {
			c.public()
			mole, user := c.mole(100)
			c.alice.call(c.t, http.MethodPost, v3+"rooms/"+esc(string(c.room), "ban"), object{"user_id": c.x})
			if ban, ok := c.alice.state(c.t, c.room)[event.StateTuple{Type: "m.room.member", StateKey: string(c.x)}]; ok {
				c.pushBy(mole, mole.forge(c.t, c.alice, c.room, forged{typ: "m.room.redaction", message: true, sender: user, redacts: ban, content: object{}}))
			}
			c.enters("v2")
			c.push(c.forgedJoin())
		}},
		{"opened-by-another-server", strangers, true, func(c *cell) {
			c.create(nil)
			mole, user := c.mole(100)
			c.pushBy(mole, mole.forge(c.t, c.alice, c.room, forged{typ: policy.TypeAccessRules, sender: user,
				content: object{"rule": "unrestricted", "visibility": "private"}}))
			invite := membership(c.x, "invite")
			invite.sender = user
			c.pushBy(mole, mole.forge(c.t, c.alice, c.room, invite))
			c.enters("v2")
		}},
		{"third-party-invite", strangers, true, thirdPartyInvite},
	}
}

// push gives the room's server an event of the account's server.
func (c *cell) push(e *event.Event) { c.t.Helper(); c.pushBy(c.xp, e) }

func (c *cell) pushBy(p *pen, e *event.Event) {
	c.t.Helper()
	p.send(c.t, c.alice.server, e)
}

// pushedFromThePast joins where the room stood before its join rule was closed.
func pushedFromThePast(c *cell) {
	c.public()
	then := c.alice.tip(c.t, c.room)
	late := membership(c.x, "join")
	late.prev = []matrix.EventID{then}
	e := c.xp.forge(c.t, c.alice, c.room, late)
	c.alice.setState(c.t, c.room, "m.room.join_rules", "", object{"join_rule": "invite"})
	c.push(e)
}

// thirdPartyInvite has a mole that invites by a token, which it signs itself.
func thirdPartyInvite(c *cell) {
	c.create(nil)
	mole, user := c.mole(100)
	public := signing.EncodeBase64(mole.key.Public())
	token := c.x.Localpart()
	c.pushBy(mole, mole.forge(c.t, c.alice, c.room, forged{typ: "m.room.third_party_invite", key: token, sender: user,
		content: object{"display_name": "somebody", "key_validity_url": "https://ally.example/valid", "public_key": public,
			"public_keys": []object{{"public_key": public}}}}))
	signed := signJSON(c.t, mole.key, object{"mxid": c.x, "token": token})
	invite := membership(c.x, "invite")
	invite.sender = user
	invite.content = object{"membership": "invite", "third_party_invite": object{"display_name": "somebody", "signed": signed}}
	c.pushBy(mole, mole.forge(c.t, c.alice, c.room, invite))
	c.enters("v2")
}

// fetchedWays are those of events that our server asks for.
func fetchedWays() []way {
	return []way{
		{"missing-events", strangers, true, func(c *cell) {
			mole, user, join := c.gap()
			mole.answer("get_missing_events", c.room, func([]byte, url.Values) (any, int) {
				return object{"events": []json.RawMessage{join.JSON()}}, http.StatusOK
			})
			c.upon(mole, user, join)
		}},
		{"missing-events-of-its-own", strangers, true, func(c *cell) {
			c.public()
			join := c.forgedJoin()
			c.xp.answer("get_missing_events", c.room, func([]byte, url.Values) (any, int) {
				return object{"events": []json.RawMessage{join.JSON()}}, http.StatusOK
			})
			c.push(c.xp.forge(c.t, c.alice, c.room, forged{typ: "m.room.message", message: true, sender: c.x,
				content: object{"body": "after"}, prev: []matrix.EventID{join.ID()}, auth: append(join.AuthEvents(), join.ID()), depth: join.Depth() + 10}))
		}},
		{"state-before", strangers, true, func(c *cell) {
			mole, user, join := c.gap()
			ghost := mole.forge(c.t, c.alice, c.room, forged{typ: "m.room.message", message: true, sender: user,
				content: object{"body": "ghost"}, prev: []matrix.EventID{join.ID()}})
			state := c.alice.state(c.t, c.room)
			mole.answer("state_ids", c.room, func([]byte, url.Values) (any, int) {
				ids := []matrix.EventID{join.ID()}
				for _, id := range state {
					ids = append(ids, id)
				}
				return object{"pdu_ids": ids, "auth_chain_ids": ids}, http.StatusOK
			})
			mole.gives(join)
			c.upon(mole, user, ghost)
		}},
	}
}

// gap makes a room with a mole and a join of which our server has not heard.
func (c *cell) gap() (*pen, matrix.UserID, *event.Event) {
	c.t.Helper()
	c.public()
	mole, user := c.mole(0)
	return mole, user, c.forgedJoin()
}

// upon pushes a message that follows an event that our server does not have.
func (c *cell) upon(mole *pen, user matrix.UserID, e *event.Event) {
	c.t.Helper()
	c.pushBy(mole, mole.forge(c.t, c.alice, c.room, forged{typ: "m.room.message", message: true, sender: user,
		content: object{"body": "after"}, prev: []matrix.EventID{e.ID()}, depth: e.Depth() + 10}))
}
