package eventauth

import (
	"strconv"

	"beffroi/matrix"
)

// numbers are the numbers that a room version gives to the rules. The texts
// of the versions insert and remove rules, so one rule has up to three.
type numbers struct {
	room, auth, federate, aliases, member, joined, thirdParty, level, stateKey, power, redaction string

	// Steps of the member rule, and of the join in it.
	authorised, join, invite, leave, ban, knock, unknown string
	joinRestricted, joinPublic, joinOther                string

	// Steps of the power levels: the form, then what may change.
	powerNamed, powerLists, powerUsers, powerCreators                 string
	changeNamed, changeOld, changeNew, changeUsersOld, changeUsersNew string
}

var numbersTable = buildNumbers()

// numbersFor returns the numbering of a room version.
func numbersFor(rules *matrix.VersionRules) *numbers { return numbersTable[rules.Version] }

func buildNumbers() map[matrix.RoomVersion]*numbers {
	table := make(map[matrix.RoomVersion]*numbers)
	for _, version := range matrix.RoomVersions() {
		if rules, err := version.Rules(); err == nil {
			table[version] = number(rules)
		}
	}
	return table
}

// number counts the rules of a version in the order of its text.
func number(rules *matrix.VersionRules) *numbers {
	n := &numbers{}
	top := counter{from: 1} // rule 1 is the create event
	if rules.RoomIDIsCreateHash {
		n.room = top.next()
	}
	n.auth, n.federate = top.next(), top.next()
	if rules.AliasesAuth {
		n.aliases = top.next()
	}
	n.member, n.joined, n.thirdParty = top.next(), top.next(), top.next()
	n.level, n.stateKey, n.power = top.next(), top.next(), top.next()
	if rules.RedactionAuth {
		n.redaction = top.next()
	}
	n.numberMember(rules)
	n.numberPower(rules)
	return n
}

func (n *numbers) numberMember(rules *matrix.VersionRules) {
	steps := counter{prefix: n.member + ".", from: 1} // step 1 is the form
	if rules.RestrictedJoinRule {
		n.authorised = steps.next()
	}
	n.join, n.invite, n.leave, n.ban = steps.next(), steps.next(), steps.next(), steps.next()
	if rules.KnockJoinRule {
		n.knock = steps.next()
	}
	n.unknown = steps.next()

	joins := counter{prefix: n.join + ".", from: 4} // creator, sender, ban and invite come first
	if rules.RestrictedJoinRule {
		n.joinRestricted = joins.next()
	}
	n.joinPublic, n.joinOther = joins.next(), joins.next()
}

func (n *numbers) numberPower(rules *matrix.VersionRules) {
	steps := counter{prefix: n.power + "."}
	if rules.IntegerPowerLevels {
		n.powerNamed, n.powerLists = steps.next(), steps.next()
	}
	n.powerUsers = steps.next()
	if rules.PrivilegedCreators {
		n.powerCreators = steps.next()
	}
	steps.next() // no previous power levels
	n.changeNamed, n.changeOld, n.changeNew = steps.next(), steps.next(), steps.next()
	n.changeUsersOld, n.changeUsersNew = steps.next(), steps.next()
	if !rules.IntegerPowerLevels {
		n.powerNamed, n.powerLists = n.changeNamed, n.changeOld
	}
}

// counter counts the steps of a rule.
type counter struct {
	prefix string
	from   int
}

func (c *counter) next() string {
	c.from++
	return c.prefix + strconv.Itoa(c.from)
}
