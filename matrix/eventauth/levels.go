package eventauth

import (
	"iter"
	"math"
	"slices"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

// Level is a power level.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
type Level int64

// Infinite is the level of the creators of a room of version 12 or later. It
// is above every level that an event can say.
//
// https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
const Infinite Level = math.MaxInt64

// maxLevel and minLevel bound the levels of versions 1 to 9, which may say
// any number: what is beyond counts as the bound.
const (
	maxLevel Level = math.MaxInt64 - 1
	minLevel Level = -maxLevel
)

// named counts the levels that stand at the top of the content.
type named uint8

const (
	levelBan named = iota
	levelEventsDefault
	levelInvite
	levelKick
	levelRedact
	levelStateDefault
	levelUsersDefault
	namedCount
)

// namedKeys and namedDefaults are in the order of the constants above.
var (
	namedKeys     = [namedCount]string{"ban", "events_default", "invite", "kick", "redact", "state_default", "users_default"}
	namedDefaults = [namedCount]Level{50, 0, 0, 50, 50, 50, 0}
)

// entry is one level of a list.
type entry struct {
	key   string
	level Level
}

// PowerLevels are the levels of a room: those of its m.room.power_levels
// event where it has one, the defaults where it says nothing, and the power
// of the creators. It never changes and may be shared and kept.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
type PowerLevels struct {
	levels [namedCount]Level
	said   [namedCount]bool

	// Sorted by key, as canonical JSON has them.
	users, events, notifications []entry

	// The creators have creatorLevel, whatever users says.
	creators     []matrix.UserID
	creatorLevel Level
}

// EffectivePowerLevels returns the levels of a room with this create event
// and this m.room.power_levels event. power is nil where the room has none:
// then the creator has 100 (versions 1 to 11) and everybody else the default.
// The error is a *matrix.Error M_BAD_JSON for a power that cannot be read,
// which no accepted event is.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
func EffectivePowerLevels(create, power *event.Event) (*PowerLevels, error) {
	out := &PowerLevels{levels: namedDefaults}
	if power != nil {
		var bad *malformed
		if out, bad = parseLevels(power.Content(), power.Rules()); bad != nil {
			return nil, bad.answer()
		}
	}
	switch {
	case create == nil:
	case create.Rules().PrivilegedCreators:
		out.creators, out.creatorLevel = Creators(create), Infinite
	case power == nil:
		out.creators, out.creatorLevel = Creators(create), 100
	}
	return out, nil
}

// User returns the level of a user.
func (p *PowerLevels) User(user matrix.UserID) Level {
	if slices.Contains(p.creators, user) {
		return p.creatorLevel
	}
	if level, ok := find(p.users, string(user)); ok {
		return level
	}
	return p.levels[levelUsersDefault]
}

// Event returns the level that sending an event of this type needs. Member
// events have rules of their own and are not asked for here.
func (p *PowerLevels) Event(typ string, isState bool) Level {
	if level, ok := find(p.events, typ); ok {
		return level
	}
	if isState {
		return p.levels[levelStateDefault]
	}
	return p.levels[levelEventsDefault]
}

// Notification returns the level that a notification of this kind needs,
// such as "room" for @room. The default is 50.
func (p *PowerLevels) Notification(kind string) Level {
	if level, ok := find(p.notifications, kind); ok {
		return level
	}
	return 50
}

// Ban returns the level that banning needs.
func (p *PowerLevels) Ban() Level { return p.levels[levelBan] }

// Kick returns the level that kicking, and with Ban unbanning, needs.
func (p *PowerLevels) Kick() Level { return p.levels[levelKick] }

// Invite returns the level that inviting needs.
func (p *PowerLevels) Invite() Level { return p.levels[levelInvite] }

// Redact returns the level that redacting the events of others needs.
func (p *PowerLevels) Redact() Level { return p.levels[levelRedact] }

// StateDefault returns the level of state events without one of their own.
func (p *PowerLevels) StateDefault() Level { return p.levels[levelStateDefault] }

// EventsDefault returns the level of message events without one of their own.
func (p *PowerLevels) EventsDefault() Level { return p.levels[levelEventsDefault] }

// UsersDefault returns the level of users without one of their own.
func (p *PowerLevels) UsersDefault() Level { return p.levels[levelUsersDefault] }

// Users yields the users whose level is said, the creators not among them
// unless the event names them, in the order of their IDs.
func (p *PowerLevels) Users() iter.Seq2[matrix.UserID, Level] {
	return func(yield func(matrix.UserID, Level) bool) {
		for _, e := range p.users {
			if !yield(matrix.UserID(e.key), e.level) {
				return
			}
		}
	}
}

// find looks a key up in a sorted list.
func find(list []entry, key string) (Level, bool) {
	i, ok := slices.BinarySearchFunc(list, key, func(e entry, key string) int { return strings.Compare(e.key, key) })
	if !ok {
		return 0, false
	}
	return list[i].level, true
}
