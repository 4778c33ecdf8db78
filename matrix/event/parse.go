package event

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

// maxRawBytes is the most that is read of an event before it is canonical:
// room for escapes, white space and an unsigned of others.
//
// Divergence: the specification bounds only the canonical form. An event that
// takes more than four times as much on the way is refused unread.
const maxRawBytes = 4 * MaxBytes

// scratch is memory for what is hashed and thrown away.
type scratch struct{ b []byte }

var scratches = sync.Pool{New: func() any { return &scratch{b: make([]byte, 0, 4096)} }}

// mode returns how the numbers of a room version are treated.
func mode(rules *matrix.VersionRules) canonicaljson.Mode {
	if rules.StrictCanonicalJSON {
		return canonicaljson.Strict
	}
	return canonicaljson.Lenient
}

// ParseUntrusted reads an event that another server sent. It checks all that
// an event alone can show but its signatures: canonical JSON, sizes, the type
// of every field, the content hash. When only that hash is wrong it returns
// the redacted copy, as the specification asks. unsigned is dropped.
//
// The errors are M_NOT_JSON, M_BAD_JSON and M_TOO_LARGE; with any of them the
// event is to be dropped. raw is not kept.
//
// https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
func ParseUntrusted(raw []byte, rules *matrix.VersionRules) (*Event, error) {
	if len(raw) > maxRawBytes {
		return nil, matrix.TooLarge("the event has more than %d bytes", MaxBytes)
	}
	json, err := canonicaljson.Append(make([]byte, 0, len(raw)), raw, mode(rules))
	if err != nil {
		return nil, err
	}
	if json[0] != '{' {
		return nil, matrix.BadJSON("an event is an object")
	}
	e := &Event{json: json, rules: rules, spans: locate(json)}
	if e.has(fieldUnsigned) {
		// What comes after it moves forward: over its own place, never beyond.
		e.json = e.without(json[:0], fieldUnsigned)
		e.spans[fieldUnsigned] = span{}
	}
	e.json = slices.Clip(e.json)
	if err := e.check(); err != nil {
		return nil, err
	}
	return e.finish()
}

// finish computes what takes a hash: the ID, and whether the content is what
// was hashed when the event was made.
func (e *Event) finish() (*Event, error) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	intact, err := e.contentHashFits(s)
	if err != nil {
		return nil, err
	}
	e.setID(s)
	if intact {
		return e, nil
	}
	redacted, err := e.Redact()
	if err != nil {
		return nil, err
	}
	redacted.hashMismatch = true
	return redacted, nil
}

// ParseStored reads an event that this package made and that we stored. It
// checks nothing and does not look into the content. raw is kept and must not
// be modified afterwards.
//
// https://spec.matrix.org/v1.19/server-server-api/#pdus
func ParseStored(raw []byte, id matrix.EventID, rules *matrix.VersionRules) (*Event, error) {
	e := &Event{json: raw, rules: rules, id: id, spans: locate(raw)}
	for _, f := range [...]field{fieldContent, fieldSender, fieldType, fieldOriginServerTS} {
		if !e.has(f) {
			return nil, fmt.Errorf("stored event %s has no %s", id, f)
		}
	}
	var ok1, ok2 bool
	e.depth, ok1 = parseInt(e.raw(fieldDepth))
	e.originServerTS, ok2 = parseInt(e.raw(fieldOriginServerTS))
	if !ok1 || !ok2 {
		return nil, errors.New("stored event " + string(id) + " is damaged")
	}
	e.readStrings()
	if e.isCreateOfHashedRoom() && len(id) > 0 {
		e.roomID = "!" + string(id[1:])
	}
	return e, nil
}

// readStrings reads the fields that are strings, all into one allocation,
// which does not keep the JSON alive.
func (e *Event) readStrings() {
	var stack [512]byte
	buf := canonicaljson.AppendUnquoted(stack[:0], e.raw(fieldRoomID))
	room := len(buf)
	buf = canonicaljson.AppendUnquoted(buf, e.raw(fieldSender))
	sender := len(buf)
	buf = canonicaljson.AppendUnquoted(buf, e.raw(fieldType))
	typ := len(buf)
	buf = canonicaljson.AppendUnquoted(buf, e.raw(fieldStateKey))
	all := string(buf)
	e.roomID, e.sender, e.typ, e.state = all[:room], all[room:sender], all[sender:typ], all[typ:]
	e.isState = e.has(fieldStateKey)
}
