package eventauth

// checkLeave is step 5.5: leaving, declining, kicking and unbanning.
func (c *check) checkLeave(target string) error {
	sender := string(c.e.Sender())
	membership := c.membership(target)
	if sender == target { // 5.5.1
		switch {
		case membership == membershipJoin, membership == membershipInvite,
			membership == membershipKnock && c.rules.KnockJoinRule:
			return nil
		}
		return c.deny(c.n.leave+".1", "%s is not in the room", target)
	}
	if c.membership(sender) != membershipJoin { // 5.5.2
		return c.deny(c.n.leave+".2", "%s is not in the room", sender)
	}
	power, err := c.levels()
	if err != nil {
		return err
	}
	if membership == membershipBan && power.User(c.e.Sender()) < power.Ban() { // 5.5.3
		return c.deny(c.n.leave+".3", "unbanning needs power level %d", power.Ban())
	}
	may, err := c.mayActOn(target, (*PowerLevels).Kick)
	if err != nil || may { // 5.5.4
		return err
	}
	return c.deny(c.n.leave+".5", "kicking needs power level %d and one above the target's", power.Kick())
}
