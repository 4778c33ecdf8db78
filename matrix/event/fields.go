package event

import "beffroi/matrix/canonicaljson"

// field is a top-level field with a meaning, in canonical order.
type field uint8

const (
	fieldAuthEvents field = iota
	fieldContent
	fieldDepth
	fieldEventID
	fieldHashes
	fieldMembership
	fieldOrigin
	fieldOriginServerTS
	fieldPrevEvents
	fieldPrevState
	fieldRedacts
	fieldRoomID
	fieldSender
	fieldSignatures
	fieldStateKey
	fieldType
	fieldUnsigned
	numFields
)

var fieldNames = [numFields]string{
	"auth_events", "content", "depth", "event_id", "hashes", "membership", "origin", "origin_server_ts",
	"prev_events", "prev_state", "redacts", "room_id", "sender", "signatures", "state_key", "type", "unsigned",
}

func (f field) String() string { return fieldNames[f] }

// fieldOf returns the field of a key. Keys that need escapes are none of ours.
func fieldOf(key []byte) (field, bool) {
	switch string(key) {
	case "auth_events":
		return fieldAuthEvents, true
	case "content":
		return fieldContent, true
	case "depth":
		return fieldDepth, true
	case "event_id":
		return fieldEventID, true
	case "hashes":
		return fieldHashes, true
	case "membership":
		return fieldMembership, true
	case "origin":
		return fieldOrigin, true
	case "origin_server_ts":
		return fieldOriginServerTS, true
	case "prev_events":
		return fieldPrevEvents, true
	case "prev_state":
		return fieldPrevState, true
	case "redacts":
		return fieldRedacts, true
	case "room_id":
		return fieldRoomID, true
	case "sender":
		return fieldSender, true
	case "signatures":
		return fieldSignatures, true
	case "state_key":
		return fieldStateKey, true
	case "type":
		return fieldType, true
	case "unsigned":
		return fieldUnsigned, true
	}
	return 0, false
}

// span is where the value of a field is in the JSON. The zero span is that of
// an absent field.
type span struct{ start, end uint32 }

// locate finds the fields in canonical JSON without reading them.
func locate(json []byte) (spans [numFields]span) {
	c := canonicaljson.Object(json)
	for m, ok := c.Next(); ok; m, ok = c.Next() {
		if f, ok := fieldOf(m.Key); ok {
			spans[f] = span{uint32(m.ValueStart), uint32(m.ValueStart + len(m.Value))}
		}
	}
	return spans
}

// raw returns the raw value of a field, or nil.
func (e *Event) raw(f field) []byte {
	s := e.spans[f]
	if s.end == 0 {
		return nil
	}
	return e.json[s.start:s.end:s.end]
}

// has reports whether a field is there.
func (e *Event) has(f field) bool { return e.spans[f].end != 0 }

// without appends the JSON of e without some fields, given in canonical order.
func (e *Event) without(dst []byte, fields ...field) []byte {
	from := 0
	for _, f := range fields {
		if !e.has(f) {
			continue
		}
		start := int(e.spans[f].start) - len(`"":`) - len(f.String())
		end := int(e.spans[f].end)
		switch {
		case start > 1:
			start-- // with the comma before it
		case e.json[end] == ',':
			end++ // the first member: with the comma after it
		}
		dst = append(dst, e.json[from:max(start, from)]...)
		from = end
	}
	return append(dst, e.json[from:]...)
}
