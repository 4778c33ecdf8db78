package eventauth

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
)

// part says which part of a power levels event is malformed, because each
// has a rule of its own.
type part uint8

const (
	partNamed part = iota
	partLists
	partUsers
)

// malformed is what is wrong with the content of a power levels event.
type malformed struct {
	part   part
	reason string
}

func (m *malformed) answer() *matrix.Error { return matrix.BadJSON("%s", m.reason) }

// ParsePowerLevels reads the content of an m.room.power_levels event, which
// must be a JSON object. A room version decides which forms a level may have:
// integers always, strings of digits up to version 9, floats, which are
// truncated, up to version 5. The levels know no creators: that is
// [EffectivePowerLevels].
//
// The error is a *matrix.Error M_BAD_JSON. A user that is no user ID is one.
//
// Divergence: the rules of versions 1 to 9 refuse only malformed users. We
// refuse every level that cannot be read, because nobody could compare it.
//
// https://spec.matrix.org/v1.19/rooms/v1/#mroompower_levels-events-accept-values-as-strings
func ParsePowerLevels(content []byte, rules *matrix.VersionRules) (*PowerLevels, error) {
	levels, bad := parseLevels(content, rules)
	if bad == nil {
		bad = levels.checkUsers()
	}
	if bad != nil {
		return nil, bad.answer()
	}
	return levels, nil
}

// checkUsers refuses keys of users that are no user IDs. It is no part of
// parseLevels because an event of the state has passed it before.
func (p *PowerLevels) checkUsers() *malformed {
	for _, e := range p.users {
		if _, err := matrix.ParseUserID(e.key); err != nil {
			return &malformed{partUsers, fmt.Sprintf("power level of %q, which is not a user ID", e.key)}
		}
	}
	return nil
}

func parseLevels(content []byte, rules *matrix.VersionRules) (*PowerLevels, *malformed) {
	p := &PowerLevels{levels: namedDefaults}
	object := gjson.Parse(string(content)) // one copy: the keys of the lists point into it
	if !object.IsObject() {
		return nil, &malformed{partNamed, "the power levels are not an object"}
	}
	var bad *malformed
	object.ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "users":
			p.users, bad = parseList(key.Str, value, rules, partUsers)
		case "events":
			p.events, bad = parseList(key.Str, value, rules, partLists)
		case "notifications":
			// Before version 6 the rules do not know of them: what cannot be
			// read is not said.
			p.notifications, bad = parseList(key.Str, value, rules, partLists)
			if bad != nil && !rules.NotificationsPowerLevelAuth {
				p.notifications, bad = nil, nil
			}
		default:
			bad = p.parseNamed(key.Str, value, rules)
		}
		return bad == nil
	})
	if bad != nil {
		return nil, bad
	}
	return p, nil
}

// parseNamed reads one of the seven levels at the top. Other keys mean nothing.
func (p *PowerLevels) parseNamed(key string, value gjson.Result, rules *matrix.VersionRules) *malformed {
	i := slices.Index(namedKeys[:], key)
	if i < 0 {
		return nil
	}
	level, ok := parseLevel(value, rules)
	if !ok {
		return &malformed{partNamed, fmt.Sprintf("the power level %s is not an integer", key)}
	}
	p.levels[i], p.said[i] = level, true
	return nil
}

func parseList(name string, object gjson.Result, rules *matrix.VersionRules, where part) ([]entry, *malformed) {
	if !object.IsObject() {
		return nil, &malformed{where, fmt.Sprintf("%s of the power levels is not an object", name)}
	}
	var (
		list   []entry
		bad    *malformed
		sorted = true
	)
	object.ForEach(func(key, value gjson.Result) bool {
		level, ok := parseLevel(value, rules)
		if !ok {
			bad = &malformed{where, fmt.Sprintf("the power level of %q in %s is not an integer", key.Str, name)}
			return false
		}
		if list == nil {
			list = make([]entry, 0, 4+len(object.Raw)/64)
		}
		sorted = sorted && (len(list) == 0 || list[len(list)-1].key < key.Str)
		list = append(list, entry{key.Str, level})
		return true
	})
	if !sorted { // content that has not been made canonical yet
		slices.SortStableFunc(list, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	}
	return list, bad
}

// parseLevel reads a level in the forms of the room version.
func parseLevel(value gjson.Result, rules *matrix.VersionRules) (Level, bool) {
	switch {
	case value.Type == gjson.Number:
		return parseNumber(value.Raw, rules)
	case value.Type == gjson.String && !rules.IntegerPowerLevels:
		return parseDigits(strings.TrimSpace(value.Str))
	}
	return 0, false
}

// parseNumber reads a JSON number.
//
// https://spec.matrix.org/v1.19/rooms/v1/#mroompower_levels-events-accept-values-as-floats
func parseNumber(raw string, rules *matrix.VersionRules) (Level, bool) {
	if i, err := strconv.ParseInt(raw, 10, 64); err == nil {
		return clamp(i), true
	}
	if !rules.FloatPowerLevels {
		return 0, false
	}
	f, err := strconv.ParseFloat(raw, 64)
	switch {
	case err != nil: // out of the range of a double
		return 0, false
	case f >= math.MaxInt64:
		return maxLevel, true
	case f <= math.MinInt64:
		return minLevel, true
	}
	return clamp(int64(f)), true // truncates toward zero
}

// parseDigits reads an optional sign and decimal digits. Go's own reader of
// integers takes no more than that in base 10.
func parseDigits(s string) (Level, bool) {
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, false
	}
	return clamp(i), true // out of range, i is the nearest bound
}

func clamp(i int64) Level { return min(max(Level(i), minLevel), maxLevel) }
