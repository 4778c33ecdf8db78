package eventauth

import (
	"slices"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

// checkCreate is rule 1. The steps have the numbers of version 12.
func (c *check) checkCreate() error {
	if len(c.e.PrevEvents()) > 0 { // 1.1
		return c.deny("1.1", "a create event has no prev_events")
	}
	// A create event with another state key is the create event of no room:
	// the rules look it up under "".
	if !c.e.IsStateKey(typeCreate, "") {
		return c.deny("1", "the state key of a create event is empty")
	}
	if err := c.checkCreateRoom(); err != nil { // 1.2
		return err
	}
	version := content(c.e, "room_version") // 1.3
	if version.Exists() {
		if _, err := matrix.RoomVersion(version.Str).Rules(); version.Type != gjson.String || err != nil {
			return c.deny("1.3", "room version %s is not supported", version.Raw)
		}
	}
	if c.rules.CreatorInContent && !content(c.e, "creator").Exists() { // 1.4 of versions 1 to 10
		return c.deny("1.4", "the create event names no creator")
	}
	if c.rules.PrivilegedCreators && !validCreators(content(c.e, "additional_creators")) { // 1.4
		return c.deny("1.4", "additional_creators is not a list of user IDs")
	}
	return nil // 1.5
}

// checkCreateRoom is step 1.2: the room must be the creator's to name.
func (c *check) checkCreateRoom() error {
	if c.rules.RoomIDIsCreateHash {
		if gjson.GetBytes(c.e.JSON(), "room_id").Exists() {
			return c.deny("1.2", "a create event of this version has no room_id")
		}
		return nil
	}
	if roomDomain(c.e.RoomID()) != c.e.Sender().Server() {
		return c.deny("1.2", "the room ID is not of the creator's server")
	}
	return nil
}

// roomDomain returns the domain of a room ID. This rule alone, and only up to
// version 11, may look at it.
func roomDomain(room matrix.RoomID) matrix.ServerName { return matrix.EventID(room).Server() }

// validCreators reports whether additional_creators is absent or a list of user IDs.
func validCreators(list gjson.Result) bool {
	if !list.Exists() {
		return true
	}
	valid := list.IsArray()
	list.ForEach(func(_, user gjson.Result) bool {
		_, err := matrix.ParseUserID(user.Str)
		valid = valid && user.Type == gjson.String && err == nil
		return valid
	})
	return valid
}

// checkRoom is rule 2 of version 12 (the room ID is the ID of the create
// event) and the rule of m.federate in all versions.
func (c *check) checkRoom() error {
	switch {
	case c.create == nil && c.rules.RoomIDIsCreateHash:
		return c.deny(c.n.room, "the create event of the room is not known")
	case c.create == nil:
		return c.deny(c.n.auth+".4", "the create event of the room is not known")
	case c.rules.RoomIDIsCreateHash && c.create.ID() != createID(c.e.RoomID()):
		return c.deny(c.n.room, "the room ID is not that of the create event")
	case c.create.RoomID() != c.e.RoomID():
		return c.deny(c.n.auth+".5", "the create event is of another room")
	}
	if c.e.Sender().Server() != c.create.Sender().Server() && !Federates(c.create) {
		return c.deny(c.n.federate, "the room is not open to other servers")
	}
	return nil
}

// Federates reports whether users of other servers than the creator's may
// take part in a room, by m.federate of its create event.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroomcreate
func Federates(create *event.Event) bool {
	return content(create, `m\.federate`).Type != gjson.False
}

// creator returns the user who may make the first join of the room: the
// sender of the create event, up to version 10 the creator it names.
func creator(create *event.Event) matrix.UserID {
	if create.Rules().CreatorInContent {
		return matrix.UserID(content(create, "creator").Str)
	}
	return create.Sender()
}

// Creators returns the creators of a room: one up to version 11, from version
// 12 on the additional creators as well, each once. An additional creator
// that is no string is left out; no accepted create event has one.
//
// https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
func Creators(create *event.Event) []matrix.UserID {
	creators := []matrix.UserID{creator(create)}
	if !create.Rules().PrivilegedCreators {
		return creators
	}
	content(create, "additional_creators").ForEach(func(_, user gjson.Result) bool {
		if id := matrix.UserID(user.Str); user.Type == gjson.String && !slices.Contains(creators, id) {
			creators = append(creators, id)
		}
		return true
	})
	return creators
}
