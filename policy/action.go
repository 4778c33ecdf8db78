package policy

// Action is what somebody wants to do. Each route and each type of event maps
// to exactly one.
type Action uint8

// The actions. Leave and KickBan are allowed to everybody: nobody can be held
// in a room, and nobody is safe from being removed.
const (
	ActionNone Action = iota // no action: always denied
	ActionRegister
	ActionLogin
	ActionCreateRoom
	ActionInvite
	ActionInvite3PID
	ActionJoin
	ActionKnock
	ActionLeave
	ActionKickBan
	ActionSendMessage
	ActionSendState
	ActionSetAccessRule
	ActionSetPowerLevels
	ActionSetJoinRule
	ActionSetEncryption
	ActionPublishRoom
	ActionAlias
	ActionUpgradeRoom
	ActionReadProfile
	ActionSearchDirectory
	ActionListPublicRooms
	ActionReadMedia
	ActionUploadMedia
	ActionDeviceKeys
	ActionSendToDevice
	ActionEDU
	ActionFederateIn
	ActionFederateOut

	actionCount
)

var actionNames = [actionCount]string{
	"none", "register", "login", "create_room", "invite", "invite_3pid", "join", "knock", "leave", "kick_ban",
	"send_message", "send_state", "set_access_rule", "set_power_levels", "set_join_rule", "set_encryption",
	"publish_room", "alias", "upgrade_room", "read_profile", "search_directory", "list_public_rooms", "read_media",
	"upload_media", "device_keys", "send_to_device", "edu", "federate_in", "federate_out",
}

// String returns the name of the action in documents, logs and the audit trail.
func (a Action) String() string {
	if a < actionCount {
		return actionNames[a]
	}
	return actionNames[ActionNone]
}

// ParseAction returns the action of a name. ActionNone has no name that can
// be asked for.
func ParseAction(name string) (Action, bool) {
	for a := ActionRegister; a < actionCount; a++ {
		if actionNames[a] == name {
			return a, true
		}
	}
	return ActionNone, false
}

// Actions returns every action, in their order.
func Actions() []Action {
	out := make([]Action, 0, actionCount-1)
	for a := ActionRegister; a < actionCount; a++ {
		out = append(out, a)
	}
	return out
}

// Class says what the document makes of an account or a server.
type Class uint8

// The classes. A name that the document does not know is ClassUnknown and
// refused; it is never taken for an external partner.
const (
	ClassUnknown Class = iota
	// ClassUnaffiliated is a server of no organisation that the document
	// admits by federation.allow or federation.default. Where access rules
	// are enforced its accounts are in no room.
	ClassUnaffiliated
	ClassGovernment
	ClassExternal
	ClassBlocked

	classCount
)

var classNames = [classCount]string{"unknown", "unaffiliated", "government", "external", "blocked"}

// String returns the name of the class in documents and rules.
func (c Class) String() string {
	if c < classCount {
		return classNames[c]
	}
	return classNames[ClassUnknown]
}

// Source says where a request came from.
type Source uint8

// The sources.
const (
	SourceClient Source = iota
	SourceFederation
	SourceAdmin  // an administrator's call
	SourceSystem // the server itself: sweep, upgrade, notices

	sourceCount
)

var sourceNames = [sourceCount]string{"client", "federation", "admin", "system"}

// String returns the name of the source in rules and the audit trail.
func (s Source) String() string {
	if s < sourceCount {
		return sourceNames[s]
	}
	return sourceNames[SourceClient]
}

// AccessRule says who may be in a room: the rule of its
// im.vector.room.access_rules event.
type AccessRule string

// The access rules. A room without the event is restricted.
const (
	Restricted   AccessRule = "restricted"   // no external account
	Unrestricted AccessRule = "unrestricted" // external accounts that were invited
	Direct       AccessRule = "direct"       // two members, of any admitted organisation
)

// Valid reports whether r is one of the three rules.
func (r AccessRule) Valid() bool { return r == Restricted || r == Unrestricted || r == Direct }

// TypeAccessRules is the type of the state event that holds a room's access rule.
const TypeAccessRules = "im.vector.room.access_rules"
