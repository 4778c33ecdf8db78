package eventauth

import "beffroi/matrix"

// checkPowerLevels is the rule of m.room.power_levels: 10 in versions 1 to 5
// and 12, 9 in those between. The steps have the numbers of version 12.
//
// https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
func (c *check) checkPowerLevels() error {
	next, err := c.parsePower() // 10.1 to 10.3
	if err != nil {
		return err
	}
	if c.rules.PrivilegedCreators { // 10.4
		for _, user := range Creators(c.create) {
			if _, named := find(next.users, string(user)); named {
				return c.deny(c.n.powerCreators, "%s created the room and has every power already", user)
			}
		}
	}
	if c.state.Event(typePowerLevels, "") == nil { // 10.5
		return nil
	}
	now, err := c.levels()
	if err != nil {
		return err
	}
	p := powerChange{check: c, now: now, next: next, sender: now.User(c.e.Sender())}
	if err := p.checkNamed(); err != nil { // 10.6
		return err
	}
	if err := p.checkList("events", now.events, next.events); err != nil { // 10.7 and 10.8
		return err
	}
	if c.rules.NotificationsPowerLevelAuth {
		if err := p.checkList("notifications", now.notifications, next.notifications); err != nil {
			return err
		}
	}
	return p.checkUsers() // 10.9 and 10.10
}

// parsePower reads the levels that the event sets.
func (c *check) parsePower() (*PowerLevels, error) {
	next, bad := parseLevels(c.e.Content(), c.rules)
	if bad == nil {
		bad = next.checkUsers()
	}
	if bad == nil {
		return next, nil
	}
	switch bad.part {
	case partNamed:
		return nil, c.deny(c.n.powerNamed, "%s", bad.reason)
	case partLists:
		return nil, c.deny(c.n.powerLists, "%s", bad.reason)
	default:
		return nil, c.deny(c.n.powerUsers, "%s", bad.reason)
	}
}

// powerChange is one set of levels that takes the place of another.
type powerChange struct {
	*check
	now, next *PowerLevels
	sender    Level
}

// checkNamed is step 10.6: what is added, changed or removed must be within
// the sender's power before and after. What is absent has no value.
func (p *powerChange) checkNamed() error {
	for i, key := range namedKeys {
		was, is := p.now.said[i], p.next.said[i]
		if was == is && p.now.levels[i] == p.next.levels[i] {
			continue
		}
		if was && p.now.levels[i] > p.sender {
			return p.deny(p.n.changeNamed+".1", "changing %s needs power level %d", key, p.now.levels[i])
		}
		if is && p.next.levels[i] > p.sender {
			return p.deny(p.n.changeNamed+".2", "%s would be above the sender's own power level", key)
		}
	}
	return nil
}

// checkList is steps 10.7 and 10.8 for events and notifications.
func (p *powerChange) checkList(name string, now, next []entry) error {
	for change := range changes(now, next) {
		if change.was && change.old > p.sender {
			return p.deny(p.n.changeOld+".1", "changing %q in %s needs power level %d", change.key, name, change.old)
		}
		if change.is && change.new > p.sender {
			return p.deny(p.n.changeNew+".1", "%q in %s would be above the sender's own power level", change.key, name)
		}
	}
	return nil
}

// checkUsers is steps 10.9 and 10.10. A user may lower their own level; that
// of another can be touched only from above.
func (p *powerChange) checkUsers() error {
	for change := range changes(p.now.users, p.next.users) {
		own := matrix.UserID(change.key) == p.e.Sender()
		if change.was && !own && change.old >= p.sender {
			return p.deny(p.n.changeUsersOld+".1", "changing the power level of %s needs one above %d", change.key, change.old)
		}
		if change.is && change.new > p.sender {
			return p.deny(p.n.changeUsersNew+".1", "%s would have a power level above the sender's own", change.key)
		}
	}
	return nil
}
