package eventauth

import (
	"github.com/tidwall/gjson"

	"beffroi/matrix"
)

// checkMember is the rule of m.room.member: 5 in versions 1 to 5 and 12, 4 in
// those between. The files member_*.go have one step each, numbered as in
// version 12.
//
// https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
func (c *check) checkMember() error {
	target, isState := c.e.StateKey()
	membership := c.e.Membership()
	if !isState || membership == "" { // 5.1
		return c.deny(c.n.member+".1", "a member event needs a state key and a membership")
	}
	if err := c.checkAuthorised(); err != nil { // 5.2
		return err
	}
	switch membership {
	case membershipJoin:
		return c.checkJoin(target) // 5.3
	case membershipInvite:
		return c.checkInvite(target) // 5.4
	case membershipLeave:
		return c.checkLeave(target) // 5.5
	case membershipBan:
		return c.checkBan(target) // 5.6
	case membershipKnock:
		if c.rules.KnockJoinRule {
			return c.checkKnock(target) // 5.7
		}
	}
	return c.deny(c.n.unknown, "membership %q is not known", membership) // 5.8
}

// checkAuthorised is step 5.2 (version 8 and later). That the server of the
// named user signed was verified with the other signatures of the event; who
// is no user has no server that could.
func (c *check) checkAuthorised() error {
	if !c.rules.RestrictedJoinRule {
		return nil
	}
	user := content(c.e, keyAuthorised)
	if !user.Exists() {
		return nil
	}
	if _, err := matrix.ParseUserID(user.Str); user.Type != gjson.String || err != nil {
		return c.deny(c.n.authorised+".1", "%s is not a user ID", keyAuthorised)
	}
	return nil
}

// joinRule returns the join rule of the room: "invite" without an event, ""
// where the event says none.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroomjoin_rules
func (c *check) joinRule() string {
	rules := c.state.Event(typeJoinRules, "")
	if rules == nil {
		return membershipInvite
	}
	return content(rules, "join_rule").Str
}

// mayActOn reports whether the sender has the level for an act and stands
// above its target.
func (c *check) mayActOn(target string, needed func(*PowerLevels) Level) (bool, error) {
	power, err := c.levels()
	if err != nil {
		return false, err
	}
	level := power.User(c.e.Sender())
	return level >= needed(power) && power.User(matrix.UserID(target)) < level, nil
}
