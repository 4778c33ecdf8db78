// Package event is the one type of event for all room versions: reading what
// others sent, building what we send, hashing, signing and redacting.
//
// An event is a piece of canonical JSON and the positions of its fields in it.
// Reading a field never parses the content, and whatever is derived (hashes,
// redacted copies, the form clients see) is put together from pieces of those
// bytes.
package event

import (
	"strconv"
	"sync/atomic"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

const (
	// MaxBytes is the size of the greatest event, signatures included.
	//
	// https://spec.matrix.org/v1.19/client-server-api/#size-limits
	MaxBytes = 65536
	// MaxPrevEvents is how many events may come right before one.
	//
	// https://spec.matrix.org/v1.19/rooms/v12/#event-format
	MaxPrevEvents = 20
	// MaxAuthEvents is how many events may allow one.
	//
	// https://spec.matrix.org/v1.19/rooms/v12/#event-format
	MaxAuthEvents = 10
)

// The event types this package treats differently from others.
const (
	typeCreate            = "m.room.create"
	typeMember            = "m.room.member"
	typeJoinRules         = "m.room.join_rules"
	typePowerLevels       = "m.room.power_levels"
	typeAliases           = "m.room.aliases"
	typeHistoryVisibility = "m.room.history_visibility"
	typeRedaction         = "m.room.redaction"
)

// StateTuple says which piece of the state of a room an event sets.
//
// https://spec.matrix.org/v1.19/client-server-api/#types-of-room-events
type StateTuple struct{ Type, StateKey string }

// Event is a persistent event. It never changes and is safe for concurrent use.
//
// https://spec.matrix.org/v1.19/server-server-api/#pdus
type Event struct {
	json  []byte
	spans [numFields]span
	rules *matrix.VersionRules

	id                         matrix.EventID
	roomID, sender, typ, state string
	isState, hashMismatch      bool
	depth, originServerTS      int64

	refs atomic.Pointer[references] // read from the JSON when first asked for
}

// derive returns e with other JSON, which must be of the same event.
func (e *Event) derive(json []byte) *Event {
	return &Event{
		json: json, spans: locate(json), rules: e.rules,
		id: e.id, roomID: e.roomID, sender: e.sender, typ: e.typ, state: e.state,
		isState: e.isState, hashMismatch: e.hashMismatch,
		depth: e.depth, originServerTS: e.originServerTS,
	}
}

// String returns the event ID, so that no content gets into a log.
func (e *Event) String() string { return string(e.id) }

// ID returns the event ID.
func (e *Event) ID() matrix.EventID { return e.id }

// RoomID returns the room. That of a create event of version 12 is derived
// from its ID.
//
// https://spec.matrix.org/v1.19/rooms/v12/#event-format
func (e *Event) RoomID() matrix.RoomID { return matrix.RoomID(e.roomID) }

// Sender returns who sent the event.
func (e *Event) Sender() matrix.UserID { return matrix.UserID(e.sender) }

// Type returns the type, such as m.room.message.
func (e *Event) Type() string { return e.typ }

// StateKey returns the state key. ok is false when the event has none, which
// is not the same as the empty state key.
func (e *Event) StateKey() (key string, ok bool) { return e.state, e.isState }

// IsState reports whether the event has a state key.
func (e *Event) IsState() bool { return e.isState }

// IsStateKey reports whether the event sets this piece of state.
func (e *Event) IsStateKey(typ, key string) bool {
	return e.isState && e.typ == typ && e.state == key
}

// StateTuple returns which piece of state the event sets. It is meaningless
// for an event that is not state.
func (e *Event) StateTuple() StateTuple { return StateTuple{e.typ, e.state} }

// Content returns the content, a canonical JSON object that must not be
// modified.
func (e *Event) Content() []byte { return e.raw(fieldContent) }

// Depth returns what the sender believed the depth to be. It proves nothing.
func (e *Event) Depth() int64 { return e.depth }

// OriginServerTS returns when the sender's server made the event, by its own
// clock, in milliseconds.
func (e *Event) OriginServerTS() int64 { return e.originServerTS }

// JSON returns the event as it travels between servers: canonical, with hashes
// and signatures, without unsigned. It must not be modified.
func (e *Event) JSON() []byte { return e.json }

// Rules returns the rules of the room's version.
func (e *Event) Rules() *matrix.VersionRules { return e.rules }

// HashMismatch reports whether the content hash did not fit what was
// received, so that this is the redacted copy.
//
// https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
func (e *Event) HashMismatch() bool { return e.hashMismatch }

// Membership returns content.membership of an m.room.member event, and "" of
// any other event.
func (e *Event) Membership() string {
	if e.typ != typeMember {
		return ""
	}
	raw := canonicaljson.Field(e.Content(), "membership")
	switch string(raw) { // no allocation for those that exist
	case `"join"`:
		return "join"
	case `"leave"`:
		return "leave"
	case `"invite"`:
		return "invite"
	case `"ban"`:
		return "ban"
	case `"knock"`:
		return "knock"
	}
	s, _ := canonicaljson.Unquote(raw)
	return s
}

// Redacts returns the event that an m.room.redaction event redacts, or "": for
// every other event, and when what it says is no event ID.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroomredaction
func (e *Event) Redacts() matrix.EventID {
	if e.typ != typeRedaction {
		return ""
	}
	raw := e.raw(fieldRedacts)
	if e.rules.RedactsInContent {
		raw = canonicaljson.Field(e.Content(), "redacts")
	}
	s, _ := canonicaljson.Unquote(raw)
	id, err := matrix.ParseEventID(s)
	if err != nil {
		return ""
	}
	return id
}

// isCreateOfHashedRoom reports whether e is the create event of a room whose
// ID is the hash of it.
func (e *Event) isCreateOfHashedRoom() bool {
	return e.rules.RoomIDIsCreateHash && e.IsStateKey(typeCreate, "")
}

// parseInt reads an integer of JSON.
func parseInt(raw []byte) (int64, bool) {
	v, err := strconv.ParseInt(string(raw), 10, 64)
	return v, err == nil && raw[0] != '+'
}
