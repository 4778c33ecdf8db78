package pushrules

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"beffroi/matrix"
)

// Within returns the changes without the rules that match nothing in a room:
// those for other rooms. Most members of a large room then have the same.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules
func (c *Changes) Within(room matrix.RoomID) Changes {
	out := Changes{Own: c.Own, Defaults: c.Defaults}
	elsewhere := func(r Rule) bool { return !r.Enabled || slices.ContainsFunc(r.Conditions, otherRoom(room)) }
	out.Own.Override = slices.DeleteFunc(slices.Clone(c.Own.Override), elsewhere)
	out.Own.Underride = slices.DeleteFunc(slices.Clone(c.Own.Underride), elsewhere)
	out.Own.Room = slices.DeleteFunc(slices.Clone(c.Own.Room), func(r Rule) bool { return r.ID != string(room) })
	return out
}

// otherRoom returns what reports whether a condition names another room.
func otherRoom(room matrix.RoomID) func(raw json.RawMessage) bool {
	return func(raw json.RawMessage) bool {
		if !bytes.Contains(raw, []byte("room_id")) {
			return false
		}
		var c rawCondition
		if json.Unmarshal(raw, &c) != nil || c.Kind != "event_match" || c.Key == nil || *c.Key != "room_id" || c.Pattern == nil {
			return false
		}
		return !strings.ContainsAny(*c.Pattern, "*?") && !strings.EqualFold(*c.Pattern, string(room))
	}
}

// Personal reports whether a condition asks for the name of the user in the
// room, so that two users with the same rules may be notified of different
// events.
//
// https://spec.matrix.org/v1.19/client-server-api/#conditions-1
func (c *Changes) Personal() bool {
	asks := func(r Rule) bool {
		return slices.ContainsFunc(r.Conditions, func(raw json.RawMessage) bool {
			return bytes.Contains(raw, []byte("contains_display_name"))
		})
	}
	return slices.ContainsFunc(c.Own.Override, asks) || slices.ContainsFunc(c.Own.Underride, asks)
}
