package eventauth

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

// The types and keys that the rules speak of.
const (
	typeCreate           = "m.room.create"
	typeMember           = "m.room.member"
	typeJoinRules        = "m.room.join_rules"
	typePowerLevels      = "m.room.power_levels"
	typeThirdPartyInvite = "m.room.third_party_invite"
	typeAliases          = "m.room.aliases"
	typeRedaction        = "m.room.redaction"

	membershipJoin   = "join"
	membershipInvite = "invite"
	membershipLeave  = "leave"
	membershipBan    = "ban"
	membershipKnock  = "knock"

	keyAuthorised = "join_authorised_via_users_server"
)

// State is the state to judge an event by: the auth events of the event, the
// state before it, or the current state. Only the keys of [NeededFor] are
// asked for.
//
// https://spec.matrix.org/v1.19/server-server-api/#authorisation-rules
type State interface {
	// Event returns the state event with this type and key, nil where there is none.
	Event(typ, key string) *event.Event
}

// LeveledState is a State that keeps the levels of its room parsed, as
// [EffectivePowerLevels] of its create and power levels events returned them.
// [Check] asks it in place of parsing them again.
//
// https://spec.matrix.org/v1.19/server-server-api/#authorisation-rules
type LeveledState interface {
	State
	PowerLevels() (*PowerLevels, error)
}

// check is one event under examination.
type check struct {
	e      *event.Event
	state  State
	create *event.Event
	rules  *matrix.VersionRules
	n      *numbers

	power *PowerLevels // by levels()
}

// Check applies the authorisation rules to an event, given the state to judge
// by. create is the accepted create event of the room, nil only for a create
// event itself. What [CheckAuthEvents] checks is not repeated here, and the
// signatures, that of the server which authorises a restricted join among
// them, must have been verified.
//
// The error is a *NotAllowed.
//
// https://spec.matrix.org/v1.19/server-server-api/#authorisation-rules
func Check(e *event.Event, state State, create *event.Event) error {
	c := check{e: e, state: state, create: create, rules: e.Rules(), n: numbersFor(e.Rules())}
	if e.Type() == typeCreate {
		return c.checkCreate()
	}
	if err := c.checkRoom(); err != nil {
		return err
	}
	switch e.Type() {
	case typeAliases:
		if c.rules.AliasesAuth {
			return c.checkAliases()
		}
	case typeMember:
		return c.checkMember()
	}
	if membership := c.membership(string(e.Sender())); membership != membershipJoin {
		return c.deny(c.n.joined, "%s is not in the room", e.Sender())
	}
	power, err := c.levels()
	if err != nil {
		return err
	}
	level := power.User(e.Sender())
	if e.Type() == typeThirdPartyInvite {
		if level < power.Invite() {
			return c.deny(c.n.thirdParty+".1", "inviting needs power level %d", power.Invite())
		}
		return nil
	}
	key, isState := e.StateKey()
	if required := power.Event(e.Type(), isState); required > level {
		return c.deny(c.n.level, "sending %s needs power level %d", e.Type(), required)
	}
	if strings.HasPrefix(key, "@") && key != string(e.Sender()) {
		return c.deny(c.n.stateKey, "the state key %s is another user's", key)
	}
	switch {
	case e.Type() == typePowerLevels:
		return c.checkPowerLevels()
	case e.Type() == typeRedaction && c.rules.RedactionAuth:
		return c.checkRedaction()
	}
	return nil
}

// deny returns the refusal by a rule.
func (c *check) deny(rule, format string, args ...any) error {
	return &NotAllowed{Version: c.rules.Version, Rule: rule, Reason: fmt.Sprintf(format, args...)}
}

// membership returns the current membership of a user, "" where there is none.
func (c *check) membership(user string) string {
	if member := c.state.Event(typeMember, user); member != nil {
		return member.Membership()
	}
	return ""
}

// levels returns the current power levels of the room. It refuses when they
// cannot be read, because then nothing can be compared.
func (c *check) levels() (*PowerLevels, error) {
	if c.power != nil {
		return c.power, nil
	}
	var err error
	if leveled, ok := c.state.(LeveledState); ok {
		c.power, err = leveled.PowerLevels()
	} else {
		c.power, err = EffectivePowerLevels(c.create, c.state.Event(typePowerLevels, ""))
	}
	if err != nil {
		return nil, c.deny(c.n.level, "the power levels of the room cannot be read: %v", err)
	}
	return c.power, nil
}

// content returns a field of the content of an event. The path is gjson's.
func content(e *event.Event, path string) gjson.Result { return gjson.GetBytes(e.Content(), path) }
