package eventauth

// checkInvite is step 5.4.
func (c *check) checkInvite(target string) error {
	if invite := content(c.e, "third_party_invite"); invite.Exists() { // 5.4.1
		return c.checkThirdPartyInvite(target, invite)
	}
	if c.membership(string(c.e.Sender())) != membershipJoin { // 5.4.2
		return c.deny(c.n.invite+".2", "%s is not in the room", c.e.Sender())
	}
	switch c.membership(target) { // 5.4.3
	case membershipJoin:
		return c.deny(c.n.invite+".3", "%s is already in the room", target)
	case membershipBan:
		return c.deny(c.n.invite+".3", "%s is banned from the room", target)
	}
	power, err := c.levels()
	if err != nil {
		return err
	}
	if power.User(c.e.Sender()) < power.Invite() { // 5.4.4
		return c.deny(c.n.invite+".5", "inviting needs power level %d", power.Invite())
	}
	return nil
}
