package event

import (
	"encoding/json"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

// ClientForm says what clients are to see of an event.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-event-format
type ClientForm struct {
	// OmitRoomID leaves out room_id, as sync does.
	OmitRoomID bool
	// Unsigned is an object to add, or nil.
	Unsigned json.RawMessage
	// StrippedState leaves out everything but content, sender, state_key and type.
	StrippedState bool
}

// clientBytes is about what the form for clients takes beside the content.
const clientBytes = 512

// AppendClient appends the event in the form clients get to dst.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-event-format
func (e *Event) AppendClient(dst []byte, form ClientForm) []byte {
	redacts := e.rawRedacts()
	dst = slices.Grow(dst, len(e.Content())+len(form.Unsigned)+len(redacts)+clientBytes)
	dst = append(dst, `{"content":`...)
	if redacts != nil && !e.rules.RedactsInContent {
		dst = appendContentRedacts(dst, e.Content(), redacts)
	} else {
		dst = append(dst, e.Content()...)
	}
	if !form.StrippedState {
		dst = append(dst, `,"event_id":`...)
		dst = e.appendRawID(dst)
		dst = append(dst, `,"origin_server_ts":`...)
		dst = append(dst, e.raw(fieldOriginServerTS)...)
		if redacts != nil {
			dst = append(dst, `,"redacts":`...)
			dst = append(dst, redacts...)
		}
		if !form.OmitRoomID {
			dst = append(dst, `,"room_id":`...)
			dst = e.appendRawRoomID(dst)
		}
	}
	dst = append(dst, `,"sender":`...)
	dst = append(dst, e.raw(fieldSender)...)
	if e.isState {
		dst = append(dst, `,"state_key":`...)
		dst = append(dst, e.raw(fieldStateKey)...)
	}
	dst = append(dst, `,"type":`...)
	dst = append(dst, e.raw(fieldType)...)
	if len(form.Unsigned) > 0 && !form.StrippedState {
		dst = append(dst, `,"unsigned":`...)
		dst = append(dst, form.Unsigned...)
	}
	return append(dst, '}')
}

// appendRawID appends the event ID as a JSON string. A hash needs no escapes.
func (e *Event) appendRawID(dst []byte) []byte {
	if e.rules.EventFormat == matrix.EventFormatID {
		return append(dst, e.raw(fieldEventID)...)
	}
	return append(append(append(dst, '"'), e.id...), '"')
}

// appendRawRoomID appends the room ID as a JSON string.
func (e *Event) appendRawRoomID(dst []byte) []byte {
	if !e.has(fieldRoomID) {
		return append(append(append(dst, '"'), e.roomID...), '"')
	}
	return append(dst, e.raw(fieldRoomID)...)
}

// rawRedacts returns the JSON string of what a redaction redacts, or nil.
func (e *Event) rawRedacts() []byte {
	if e.typ != typeRedaction {
		return nil
	}
	raw := e.raw(fieldRedacts)
	if e.rules.RedactsInContent {
		raw = canonicaljson.Field(e.Content(), "redacts")
	}
	if len(raw) < 2 || raw[0] != '"' {
		return nil
	}
	return raw
}

// appendContentRedacts appends the content of a redaction of versions 1 to 10
// with the copy of redacts that clients of later ones look for.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroomredaction
func appendContentRedacts(dst, content, redacts []byte) []byte {
	if canonicaljson.Field(content, "redacts") != nil {
		return append(dst, content...)
	}
	dst = append(append(dst, `{"redacts":`...), redacts...)
	if len(content) > len("{}") {
		dst = append(dst, ',')
	}
	return append(dst, content[1:]...)
}
