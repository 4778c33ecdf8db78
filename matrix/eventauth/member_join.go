package eventauth

import "beffroi/matrix"

// checkJoin is step 5.3.
func (c *check) checkJoin(target string) error {
	prev := c.e.PrevEvents()
	first := len(prev) == 1 && prev[0] == c.create.ID()
	if first && target != "" && matrix.UserID(target) == creator(c.create) { // 5.3.1
		return nil
	}
	if string(c.e.Sender()) != target { // 5.3.2
		return c.deny(c.n.join+".2", "nobody can join for somebody else")
	}
	membership := c.membership(target)
	if membership == membershipBan { // 5.3.3
		return c.deny(c.n.join+".3", "%s is banned from the room", target)
	}
	invited := membership == membershipInvite || membership == membershipJoin
	switch rule := c.joinRule(); {
	case rule == "invite", rule == "knock" && c.rules.KnockJoinRule: // 5.3.4
		if invited {
			return nil
		}
		return c.deny(c.n.join+".4", "joining the room needs an invitation")
	case rule == "restricted" && c.rules.RestrictedJoinRule,
		rule == "knock_restricted" && c.rules.KnockRestrictedRule: // 5.3.5
		if invited { // 5.3.5.1
			return nil
		}
		return c.checkRestrictedJoin()
	case rule == "public": // 5.3.6
		return nil
	default: // 5.3.7
		return c.deny(c.n.joinOther, "the join rule of the room lets nobody in")
	}
}

// checkRestrictedJoin is step 5.3.5.2: a member who could have invited the
// user vouches for the join.
func (c *check) checkRestrictedJoin() error {
	rule := c.n.joinRestricted + ".2"
	authoriser := content(c.e, keyAuthorised).Str
	if authoriser == "" {
		return c.deny(rule, "joining the room needs an invitation or the approval of a member")
	}
	if c.membership(authoriser) != membershipJoin {
		return c.deny(rule, "%s approved the join and is not in the room", authoriser)
	}
	power, err := c.levels()
	if err != nil {
		return err
	}
	if power.User(matrix.UserID(authoriser)) < power.Invite() {
		return c.deny(rule, "%s approved the join and may not invite", authoriser)
	}
	return nil // 5.3.5.3
}
