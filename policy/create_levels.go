package policy

import (
	"encoding/json"
	"maps"
	"strconv"

	"beffroi/matrix"
	"beffroi/matrix/eventauth"
)

// levelsObject is the content of a power levels event, or its events or users.
type levelsObject = map[string]json.RawMessage

// powerLevels makes the content of the power levels event: the defaults, what
// the client says over them, and the checks of the access rule.
func (c *creation) powerLevels() error {
	asked := []json.RawMessage{c.in.PowerLevels, c.take(typePowerLevels)}
	levels := c.defaultLevels()
	floor, err := eventauth.ParsePowerLevels(marshalLevels(levels), c.rules)
	if err != nil {
		return err
	}
	for _, raw := range asked {
		if raw == nil {
			continue
		}
		var over levelsObject
		if !isObject(raw) || json.Unmarshal(raw, &over) != nil {
			return matrix.BadJSON("the power levels are not an object")
		}
		if c.s.enforce {
			merge(levels, over)
		} else {
			maps.Copy(levels, over)
		}
	}
	c.levels = marshalLevels(levels)
	final, err := eventauth.ParsePowerLevels(c.levels, c.rules)
	if err != nil {
		return err
	}
	return c.checkLevels(floor, final)
}

func (c *creation) checkLevels(floor, final *eventauth.PowerLevels) error {
	if c.rules.PrivilegedCreators {
		for user := range final.Users() {
			if user == c.in.Creator {
				return invalidRoom("the creator of a room of version %s has no power level", c.rules.Version)
			}
		}
	}
	if !c.s.enforce {
		return nil
	}
	if final.Invite() < floor.Invite() {
		return invalidRoom("inviting needs at least power level %d", floor.Invite())
	}
	if final.StateDefault() < floor.StateDefault() {
		return invalidRoom("state_default is at least %d", floor.StateDefault())
	}
	if c.facts.Rule == Unrestricted {
		if reason, org := c.s.judgeLevels(final, c.in.Now); reason != "" {
			return c.refuse(reason, org)
		}
	}
	return nil
}

// defaultLevels returns the levels that a room begins with: those of Tchap,
// which leave state to administrators and inviting to moderators, or those of
// the specification. From version 12 on the creators are not listed, and the
// tombstone is theirs.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
func (c *creation) defaultLevels() levelsObject {
	state, invite := 50, 0
	events := map[string]int{
		"m.room.name": 50, "m.room.avatar": 50, "m.room.canonical_alias": 50, "m.room.power_levels": 100,
		"m.room.history_visibility": 100, "m.room.tombstone": 100, "m.room.server_acl": 100, "m.room.encryption": 100,
	}
	if c.in.Preset == "public_chat" {
		invite = 50
	}
	if c.s.enforce {
		state, invite = 100, 50
		if c.in.Preset == "public_chat" {
			invite = 0
		}
		for _, typ := range []string{"m.beacon_info", "org.matrix.msc3672.beacon_info", "m.call.member", "org.matrix.msc3401.call.member"} {
			events[typ] = 0
		}
	}
	users := make(map[string]int)
	if c.rules.PrivilegedCreators {
		events["m.room.tombstone"] = 150
	} else {
		users[string(c.in.Creator)] = 100
		for _, user := range c.trusted() {
			users[string(user)] = 100
		}
	}
	number := func(n int) json.RawMessage { return strconv.AppendInt(nil, int64(n), 10) }
	return levelsObject{
		"users": encode(users), "users_default": number(0), "events": encode(events), "events_default": number(0),
		"state_default": number(state), "ban": number(50), "kick": number(50), "redact": number(50), "invite": number(invite),
	}
}

// merge lays over on base, inside objects too.
func merge(base, over levelsObject) {
	for k, v := range over {
		var inner, outer levelsObject
		if isObject(base[k]) && isObject(v) && json.Unmarshal(base[k], &inner) == nil && json.Unmarshal(v, &outer) == nil {
			merge(inner, outer)
			base[k] = marshalLevels(inner)
			continue
		}
		base[k] = v
	}
}

// marshalLevels cannot fail: what it is given was read from JSON.
func marshalLevels(levels levelsObject) json.RawMessage {
	raw, _ := json.Marshal(levels)
	return raw
}

func encode(levels map[string]int) json.RawMessage {
	raw, _ := json.Marshal(levels) // strings and numbers
	return raw
}
