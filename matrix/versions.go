package matrix

import "net/http"

// RoomVersion names the rules of a room, such as "12".
//
// https://spec.matrix.org/v1.19/rooms/
type RoomVersion string

// DefaultRoomVersion is the version of a room whose creator asks for none.
//
// https://spec.matrix.org/v1.19/rooms/#complete-list-of-room-versions
const DefaultRoomVersion RoomVersion = "12"

// EventFormat says how an event carries its own ID and those it refers to.
//
// https://spec.matrix.org/v1.19/rooms/v3/#event-ids
type EventFormat uint8

// The event formats. The first two hold for one or two versions each.
const (
	// EventFormatID has event_id in the event and pairs of ID and hash in
	// prev_events and auth_events (versions 1 and 2).
	EventFormatID EventFormat = iota + 1
	// EventFormatHash derives the ID from the reference hash in standard
	// base64 (version 3).
	EventFormatHash
	// EventFormatHashURL derives the ID from the reference hash in URL-safe
	// base64 (versions 4 and later).
	EventFormatHashURL
)

// StateResolution names an algorithm of state resolution.
//
// https://spec.matrix.org/v1.19/rooms/v2/#state-resolution
type StateResolution uint8

// The algorithms of state resolution.
const (
	StateResolutionV1  StateResolution = iota + 1 // version 1
	StateResolutionV2                             // versions 2 to 11
	StateResolutionV21                            // version 12
)

// VersionRules is everything in which room versions differ. The table of
// them is the only place that knows a version by its name.
//
// https://spec.matrix.org/v1.19/rooms/#feature-matrix
type VersionRules struct {
	Version         RoomVersion
	EventFormat     EventFormat
	StateResolution StateResolution

	// StrictCanonicalJSON refuses floats and integers out of range.
	StrictCanonicalJSON bool
	// EnforceKeyValidity refuses signatures by a key that had expired at
	// origin_server_ts.
	EnforceKeyValidity bool

	// Power levels: which forms are read, and whether the check of changes
	// covers notifications.
	IntegerPowerLevels          bool // only integers (v10+)
	FloatPowerLevels            bool // floats are truncated (v1-5)
	NotificationsPowerLevelAuth bool // v6+

	AliasesAuth         bool // m.room.aliases has a rule and a redaction of its own (v1-5)
	RedactionAuth       bool // m.room.redaction is checked by the auth rules (v1-2)
	EventIDSignature    bool // the domain of event_id must have signed (v1-2)
	KnockJoinRule       bool // v7+
	RestrictedJoinRule  bool // v8+
	KnockRestrictedRule bool // v10+

	// CreatorInContent reads the creator from content.creator (v1-10), not
	// from the sender of the create event.
	CreatorInContent bool
	// PrivilegedCreators gives the creators infinite power and reads
	// content.additional_creators (v12).
	PrivilegedCreators bool
	// RoomIDIsCreateHash makes the room ID the hash of the create event,
	// which has no room_id and is in no auth_events (v12).
	RoomIDIsCreateHash bool

	// What redaction keeps, beyond what it keeps in every version.
	RedactionKeepsOrigin     bool // origin, prev_state and membership at the top level (v1-10)
	RedactionKeepsAllow      bool // allow of join_rules (v8+)
	RedactionKeepsAuthorised bool // join_authorised_via_users_server of a member (v9+)
	UpdatedRedaction         bool // create whole, invite level, redacts, third_party_invite.signed (v11+)
	RedactsInContent         bool // redacts lives in content (v11+)

	// MaxDepth is the greatest depth an event may have.
	MaxDepth int64
}

const maxCanonicalInt = 1<<53 - 1

var versionTable = buildVersions()

// buildVersions writes the history of the versions down as what each one
// changed against the one before.
func buildVersions() map[RoomVersion]*VersionRules {
	table := make(map[RoomVersion]*VersionRules)
	v := VersionRules{
		EventFormat: EventFormatID, StateResolution: StateResolutionV1,
		FloatPowerLevels: true, AliasesAuth: true, RedactionAuth: true, EventIDSignature: true,
		CreatorInContent: true, RedactionKeepsOrigin: true, MaxDepth: 1<<63 - 1,
	}
	add := func(name RoomVersion, change func()) {
		change()
		rules := v
		rules.Version = name
		table[name] = &rules
	}
	add("1", func() {})
	add("2", func() { v.StateResolution = StateResolutionV2 })
	add("3", func() { v.EventFormat, v.RedactionAuth, v.EventIDSignature = EventFormatHash, false, false })
	add("4", func() { v.EventFormat = EventFormatHashURL })
	add("5", func() { v.EnforceKeyValidity = true })
	add("6", func() {
		v.StrictCanonicalJSON, v.MaxDepth = true, maxCanonicalInt
		v.FloatPowerLevels, v.AliasesAuth, v.NotificationsPowerLevelAuth = false, false, true
	})
	add("7", func() { v.KnockJoinRule = true })
	add("8", func() { v.RestrictedJoinRule, v.RedactionKeepsAllow = true, true })
	add("9", func() { v.RedactionKeepsAuthorised = true })
	add("10", func() { v.KnockRestrictedRule, v.IntegerPowerLevels = true, true })
	add("11", func() {
		v.CreatorInContent, v.RedactionKeepsOrigin = false, false
		v.UpdatedRedaction, v.RedactsInContent = true, true
	})
	add("12", func() {
		v.StateResolution = StateResolutionV21
		v.PrivilegedCreators, v.RoomIDIsCreateHash = true, true
	})
	return table
}

// Rules returns the rules of a version, or M_UNSUPPORTED_ROOM_VERSION. The
// value is shared and never changes.
//
// https://spec.matrix.org/v1.19/rooms/#feature-matrix
func (v RoomVersion) Rules() (*VersionRules, error) {
	if rules := versionTable[v]; rules != nil {
		return rules, nil
	}
	return nil, NewError(http.StatusBadRequest, "M_UNSUPPORTED_ROOM_VERSION", "room version %q is not supported", clip(string(v)))
}

// RoomVersions returns every version that is implemented, in their order.
//
// https://spec.matrix.org/v1.19/rooms/#complete-list-of-room-versions
func RoomVersions() []RoomVersion {
	return []RoomVersion{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"}
}
