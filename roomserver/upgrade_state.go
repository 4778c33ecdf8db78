package roomserver

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/policy"
)

// transferredTypes is the state with an empty key that a new room takes over,
// in the order in which it gets it. What is sensitive to who sent it, or names
// events of the old room, is not there; join rules and aliases are not copied
// as they are.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
var transferredTypes = []string{
	policy.TypeAccessRules, "m.room.join_rules", "m.room.history_visibility", "m.room.guest_access", "m.room.encryption",
	"m.room.server_acl", "m.room.policy", "m.room.retention", "m.room.name", "m.room.topic", "m.room.avatar",
	typeCanonicalAlias,
}

// keyedTypes is the state with a key that a new room takes over: where it
// stands among the spaces.
var keyedTypes = []string{typeSpaceChild, typeSpaceParent}

const (
	typeSpaceChild  = "m.space.child"
	typeSpaceParent = "m.space.parent"
	// maxTransferred bounds the bans and the children of a space that are
	// carried over, each by an event.
	maxTransferred = 5000
)

// transferable returns the state of the old room that the new one gets.
func (u *upgrade) transferable() (state []policy.StateEvent, err error) {
	v := u.old.cur
	for _, typ := range transferredTypes {
		e := v.Event(typ, "")
		if e == nil {
			continue
		}
		content := json.RawMessage(e.Content())
		switch typ {
		case "m.room.join_rules":
			content = u.joinRules(e)
		case typeCanonicalAlias:
			content = u.canonicalAlias(e)
		}
		if len(content) > 2 { // an empty one is as good as none
			state = append(state, policy.StateEvent{Type: typ, Content: content})
		}
	}
	v.Each("m.room.member", func(e *event.Event) bool {
		if key, _ := e.StateKey(); e.Membership() == "ban" {
			ban := content{Membership: "ban", Reason: stringField(e.Content(), "reason")}
			state = append(state, policy.StateEvent{Type: "m.room.member", StateKey: key, Content: marshal(ban)})
		}
		return len(state) <= maxTransferred
	})
	if len(state) > maxTransferred { // who is banned must not come in by the new room
		return nil, matrix.NewError(http.StatusBadRequest, "M_INVALID_ROOM_STATE",
			"the room has more than %d bans, which the new one cannot take over: lift some first", maxTransferred)
	}
	for _, typ := range keyedTypes {
		v.Each(typ, func(e *event.Event) bool {
			key, _ := e.StateKey()
			if key != "" && len(viaOf(e.Content())) > 0 {
				state = append(state, policy.StateEvent{Type: typ, StateKey: key, Content: e.Content()})
			}
			return len(state) < maxTransferred
		})
	}
	return state, v.err
}

// joinRules returns the join rules of the old room in words that the version
// of the new one knows: never such that somebody comes in who could not before.
func (u *upgrade) joinRules(e *event.Event) json.RawMessage {
	rule := stringField(e.Content(), "join_rule")
	switch {
	case rule == "knock_restricted" && !u.rules.KnockRestrictedRule && u.rules.RestrictedJoinRule:
		rule = "restricted"
	case rule == "knock_restricted" && !u.rules.KnockRestrictedRule && u.rules.KnockJoinRule:
		rule = "knock"
	case rule == "knock_restricted" && !u.rules.KnockRestrictedRule,
		rule == "restricted" && !u.rules.RestrictedJoinRule,
		rule == "knock" && !u.rules.KnockJoinRule:
		rule = "invite"
	default:
		return e.Content()
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(e.Content(), &all) != nil {
		return marshal(map[string]string{"join_rule": "invite"})
	}
	all["join_rule"] = marshal(rule)
	return marshal(all)
}

// canonicalAlias returns the canonical aliases that lead to the new room: those
// of this server, which move.
func (u *upgrade) canonicalAlias(e *event.Event) json.RawMessage {
	out := make(map[string]any)
	if alias := matrix.RoomAlias(stringField(e.Content(), "alias")); slices.Contains(u.aliases, alias) {
		out["alias"] = alias
	}
	var alt []matrix.RoomAlias
	for _, alias := range altAliases(e.Content()) {
		if slices.Contains(u.aliases, alias) {
			alt = append(alt, alias)
		}
	}
	if alt != nil {
		out["alt_aliases"] = alt
	}
	return marshal(out)
}

// The bounds of an integer in canonical JSON.
const (
	maxInt = 1<<53 - 1
	minInt = -maxInt
)

// levels returns the power levels of the new room, nil where the old one has
// none: all of the old room, in the form of the new version. Creators are
// listed where their version gives them no power of its own, and are not where
// it does.
func (u *upgrade) levels() (json.RawMessage, error) {
	had, err := u.old.cur.PowerLevels()
	now := u.old.cur.Event("m.room.power_levels", "")
	if err != nil || now == nil {
		return nil, err
	}
	var out map[string]json.RawMessage
	if err := json.Unmarshal(now.Content(), &out); err != nil {
		return nil, err
	}
	number := func(l eventauth.Level) int64 { return min(max(int64(l), minInt), maxInt) }
	for key, level := range map[string]eventauth.Level{
		"ban": had.Ban(), "events_default": had.EventsDefault(), "invite": had.Invite(), "kick": had.Kick(),
		"redact": had.Redact(), "state_default": had.StateDefault(), "users_default": had.UsersDefault(),
	} {
		if _, said := out[key]; said {
			out[key] = marshal(number(level))
		}
	}
	listed := func(name string, level func(string) eventauth.Level) map[string]int64 {
		list := make(map[string]int64)
		for key := range gjson.GetBytes(now.Content(), name).Map() {
			list[key] = number(level(key))
		}
		return list
	}
	events := listed("events", func(typ string) eventauth.Level { return had.Event(typ, true) })
	if _, said := out["notifications"]; said {
		out["notifications"] = marshal(listed("notifications", had.Notification))
	}
	users := make(map[string]int64)
	for user, level := range had.Users() {
		if _, err := matrix.ParseUserID(string(user)); err == nil { // old versions let others in
			users[string(user)] = number(level)
		}
	}
	u.creatorLevels(users, events)
	out["users"], out["events"] = marshal(users), marshal(events)
	return marshal(out), nil
}

// creatorLevels changes lists of levels by what versions make of creators.
func (u *upgrade) creatorLevels(users, events map[string]int64) {
	was := u.old.cur.createEvent()
	if u.rules.PrivilegedCreators {
		for _, user := range append(slices.Clone(u.Creators), u.User) {
			delete(users, string(user))
		}
		if level, said := events[typeTombstone]; said && !was.Rules().PrivilegedCreators {
			events[typeTombstone] = max(level, 150) // as in a room that is made with this version
		}
		return
	}
	if was.Rules().PrivilegedCreators {
		for _, user := range eventauth.Creators(was) {
			users[string(user)] = 100
		}
		for typ, level := range events { // what was only for creators
			events[typ] = min(level, 100)
		}
	}
}

// quietLevels returns the power levels of the old room such that only
// moderators speak and invite, and whether that is a change.
func (u *upgrade) quietLevels() (json.RawMessage, bool) {
	had, err := u.old.cur.PowerLevels()
	now := u.old.cur.Event("m.room.power_levels", "")
	if err != nil || now == nil {
		return nil, false
	}
	quiet := max(50, had.UsersDefault()+1)
	var out map[string]json.RawMessage
	if json.Unmarshal(now.Content(), &out) != nil || had.EventsDefault() >= quiet && had.Invite() >= quiet {
		return nil, false
	}
	out["events_default"] = marshal(int64(max(quiet, had.EventsDefault())))
	out["invite"] = marshal(int64(max(quiet, had.Invite())))
	return marshal(out), true
}

// predecessorOf returns the room that a create event says to replace.
func predecessorOf(create *event.Event) matrix.RoomID {
	room, err := matrix.ParseRoomID(stringField(canonicaljson.Field(create.Content(), "predecessor"), "room_id"))
	if err != nil {
		return ""
	}
	return room
}

// viaOf returns the servers that the content of a link between spaces names,
// none where the link is not valid.
func viaOf(content []byte) (servers []matrix.ServerName) {
	list := canonicaljson.Array(canonicaljson.Field(content, "via"))
	for raw, ok := list.NextElement(); ok; raw, ok = list.NextElement() {
		text, ok := canonicaljson.Unquote(raw)
		if !ok {
			continue
		}
		if server, err := matrix.ParseServerName(string(text)); err == nil {
			servers = append(servers, server)
		}
	}
	return servers
}
