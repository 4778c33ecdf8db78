package eventauth

// checkBan is step 5.6.
func (c *check) checkBan(target string) error {
	if c.membership(string(c.e.Sender())) != membershipJoin { // 5.6.1
		return c.deny(c.n.ban+".1", "%s is not in the room", c.e.Sender())
	}
	may, err := c.mayActOn(target, (*PowerLevels).Ban)
	if err != nil || may { // 5.6.2
		return err
	}
	return c.deny(c.n.ban+".3", "banning needs power level %d and one above the target's", c.power.Ban())
}

// checkKnock is step 5.7 (version 7 and later).
func (c *check) checkKnock(target string) error {
	rule := c.joinRule()
	if rule != "knock" && !(rule == "knock_restricted" && c.rules.KnockRestrictedRule) { // 5.7.1
		return c.deny(c.n.knock+".1", "the room takes no knocks")
	}
	if string(c.e.Sender()) != target { // 5.7.2
		return c.deny(c.n.knock+".2", "nobody can knock for somebody else")
	}
	switch c.membership(target) { // 5.7.3
	case membershipBan:
		return c.deny(c.n.knock+".4", "%s is banned from the room", target)
	case membershipInvite, membershipJoin:
		return c.deny(c.n.knock+".4", "%s is already invited or in the room", target)
	}
	return nil
}
