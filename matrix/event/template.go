package event

import (
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

// MarshalTemplate returns p in the form that make_join, make_leave and
// make_knock answer with: an event without hashes, signatures and ID.
//
// https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
func (p *Proto) MarshalTemplate(rules *matrix.VersionRules) ([]byte, error) {
	raw, err := p.canonical(rules, true)
	if err != nil {
		return nil, err
	}
	if len(raw) > MaxBytes {
		return nil, matrix.TooLarge("the event has more than %d bytes", MaxBytes)
	}
	return raw, nil
}

// ParseTemplate reads a template that another server made. Only the fields
// of a Proto are read, whatever else it holds. A peer that gives no depth or no
// time leaves them zero; references and content it must give. The caller
// decides which of the fields to believe, and never signs the template itself.
//
// The errors are M_NOT_JSON, M_BAD_JSON and M_TOO_LARGE.
//
// https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
func ParseTemplate(raw []byte, rules *matrix.VersionRules) (*Proto, error) {
	if len(raw) > maxRawBytes {
		return nil, matrix.TooLarge("the event has more than %d bytes", MaxBytes)
	}
	json, err := canonicaljson.Append(make([]byte, 0, len(raw)), raw, mode(rules))
	if err != nil {
		return nil, err
	}
	e := &Event{json: json, rules: rules, spans: locate(json)}
	if err := e.checkTemplate(); err != nil {
		return nil, err
	}
	p := &Proto{
		RoomID: matrix.RoomID(e.roomID), Sender: matrix.UserID(e.sender), Type: e.typ,
		Content:    slices.Clone(e.Content()),
		PrevEvents: e.PrevEvents(), AuthEvents: e.AuthEvents(), Redacts: e.Redacts(),
		Depth: e.depth, OriginServerTS: e.originServerTS,
	}
	if e.isState {
		p.StateKey = &e.state
	}
	if rules.EventFormat == matrix.EventFormatID {
		p.PrevHashes, p.AuthHashes = e.hashesOf(fieldPrevEvents), e.hashesOf(fieldAuthEvents)
	}
	origin, _ := canonicaljson.Unquote(e.raw(fieldOrigin))
	p.Origin = matrix.ServerName(origin)
	return p, nil
}

// checkTemplate checks and reads what a template has.
func (e *Event) checkTemplate() error {
	for _, f := range [...]field{fieldSender, fieldType, fieldRoomID} {
		if err := e.wantKind(f, '"'); err != nil {
			return err
		}
	}
	if err := e.wantKind(fieldContent, '{'); err != nil {
		return err
	}
	if e.has(fieldStateKey) {
		if err := e.wantKind(fieldStateKey, '"'); err != nil {
			return err
		}
	}
	if len(e.json) > MaxBytes {
		return matrix.TooLarge("the event has more than %d bytes", MaxBytes)
	}
	e.readStrings()
	if err := e.checkNames(); err != nil {
		return err
	}
	if _, err := matrix.ParseRoomID(e.roomID); err != nil {
		return matrix.BadJSON("room_id is not a room ID")
	}
	if err := e.checkReferences(fieldPrevEvents, MaxPrevEvents); err != nil {
		return err
	}
	if err := e.checkReferences(fieldAuthEvents, MaxAuthEvents); err != nil {
		return err
	}
	var err error
	if e.depth, err = e.optionalInt(fieldDepth); err != nil {
		return err
	}
	e.originServerTS, err = e.optionalInt(fieldOriginServerTS)
	return err
}

// optionalInt reads an integer that may be absent and is never negative.
func (e *Event) optionalInt(f field) (int64, error) {
	if !e.has(f) {
		return 0, nil
	}
	v, ok := parseInt(e.raw(f))
	if !ok || v < 0 {
		return 0, matrix.BadJSON("%s is not an integer or negative", f)
	}
	return v, nil
}

// hashesOf returns the hashes beside the references of versions 1 and 2, ""
// where one is missing.
func (e *Event) hashesOf(f field) []string {
	var hashes []string
	c := canonicaljson.Array(e.raw(f))
	for raw, ok := c.NextElement(); ok; raw, ok = c.NextElement() {
		pair := canonicaljson.Array(raw)
		_, _ = pair.NextElement()
		object, _ := pair.NextElement()
		hash, _ := canonicaljson.Unquote(canonicaljson.Field(object, "sha256"))
		hashes = append(hashes, hash)
	}
	return hashes
}
