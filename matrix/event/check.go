package event

import (
	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

// maxStringBytes is the longest type, state key or identifier, in bytes.
//
// https://spec.matrix.org/v1.19/client-server-api/#size-limits
const maxStringBytes = matrix.MaxIDBytes

// check reads the fields of an event and says what is wrong with them.
//
// https://spec.matrix.org/v1.19/rooms/v12/#event-format
func (e *Event) check() error {
	if len(e.json) > MaxBytes {
		return matrix.TooLarge("the event has more than %d bytes", MaxBytes)
	}
	for _, f := range [...]field{fieldSender, fieldType} {
		if err := e.wantKind(f, '"'); err != nil {
			return err
		}
	}
	for _, f := range [...]field{fieldRoomID, fieldStateKey} {
		if e.has(f) && e.kind(f) != '"' {
			return matrix.BadJSON("%s is not a string", f)
		}
	}
	for _, f := range [...]field{fieldContent, fieldHashes, fieldSignatures} {
		if err := e.wantKind(f, '{'); err != nil {
			return err
		}
	}
	e.readStrings()
	if err := e.checkStrings(); err != nil {
		return err
	}
	if err := e.checkNumbers(); err != nil {
		return err
	}
	if err := e.checkReferences(fieldPrevEvents, MaxPrevEvents); err != nil {
		return err
	}
	return e.checkReferences(fieldAuthEvents, MaxAuthEvents)
}

// kind returns the first byte of the value of a field, or 0.
func (e *Event) kind(f field) byte {
	if raw := e.raw(f); len(raw) > 0 {
		return raw[0]
	}
	return 0
}

func (e *Event) wantKind(f field, kind byte) error {
	switch {
	case e.kind(f) == kind:
		return nil
	case !e.has(f):
		return matrix.BadJSON("the event has no %s", f)
	case kind == '"':
		return matrix.BadJSON("%s is not a string", f)
	case kind == '[':
		return matrix.BadJSON("%s is not an array", f)
	default:
		return matrix.BadJSON("%s is not an object", f)
	}
}

func (e *Event) checkStrings() error {
	if err := e.checkNames(); err != nil {
		return err
	}
	if e.isCreateOfHashedRoom() {
		if e.has(fieldRoomID) {
			return matrix.BadJSON("the create event has a room_id, which is its own hash")
		}
	} else if _, err := matrix.ParseRoomID(e.roomID); err != nil {
		return matrix.BadJSON("room_id is missing or not a room ID")
	}
	if e.typ == typeRedaction && !e.rules.RedactsInContent && e.has(fieldRedacts) && e.kind(fieldRedacts) != '"' {
		return matrix.BadJSON("redacts is not a string")
	}
	if e.rules.EventFormat == matrix.EventFormatID {
		return e.checkEventID()
	}
	return nil
}

// checkNames checks the sizes of what readStrings read, and the sender.
func (e *Event) checkNames() error {
	switch {
	case len(e.typ) > maxStringBytes:
		return matrix.TooLarge("type has more than %d bytes", maxStringBytes)
	case len(e.state) > maxStringBytes:
		return matrix.TooLarge("state_key has more than %d bytes", maxStringBytes)
	case len(e.sender) > maxStringBytes:
		return matrix.TooLarge("sender has more than %d bytes", maxStringBytes)
	case len(e.roomID) > maxStringBytes:
		return matrix.TooLarge("room_id has more than %d bytes", maxStringBytes)
	}
	if _, err := matrix.ParseUserID(e.sender); err != nil {
		return matrix.BadJSON("sender is not a user ID")
	}
	return nil
}

// checkEventID checks the ID that events of versions 1 and 2 carry.
func (e *Event) checkEventID() error {
	if err := e.wantKind(fieldEventID, '"'); err != nil {
		return err
	}
	text, _ := canonicaljson.Unquote(e.raw(fieldEventID))
	if len(text) > maxStringBytes {
		return matrix.TooLarge("event_id has more than %d bytes", maxStringBytes)
	}
	id, err := matrix.ParseEventID(text)
	if err != nil {
		return matrix.BadJSON("event_id is not an event ID")
	}
	if _, err := matrix.ParseServerName(string(id.Server())); err != nil {
		return matrix.BadJSON("event_id names no server")
	}
	e.id = id
	return nil
}

func (e *Event) checkNumbers() error {
	var ok bool
	if e.depth, ok = parseInt(e.raw(fieldDepth)); !ok || e.depth < 0 || e.depth > e.rules.MaxDepth {
		return matrix.BadJSON("depth is missing, not an integer or out of range")
	}
	if e.originServerTS, ok = parseInt(e.raw(fieldOriginServerTS)); !ok {
		return matrix.BadJSON("origin_server_ts is missing or not an integer")
	}
	return nil
}
