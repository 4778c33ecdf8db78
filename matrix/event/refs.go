package event

import (
	"bytes"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

// references are the events that an event refers to.
type references struct{ prev, auth []matrix.EventID }

// PrevEvents returns the events before this one. The slice is shared and must
// not be modified.
func (e *Event) PrevEvents() []matrix.EventID { return e.references().prev }

// AuthEvents returns the events that allow this one, as its sender sees it.
// The slice is shared and must not be modified.
func (e *Event) AuthEvents() []matrix.EventID { return e.references().auth }

func (e *Event) references() *references {
	if refs := e.refs.Load(); refs != nil {
		return refs
	}
	// All IDs are cut from one string.
	var buf []byte
	ends := make([]int, 0, MaxPrevEvents+MaxAuthEvents)
	buf, ends = e.appendReferences(buf, ends, fieldPrevEvents)
	prev := len(ends)
	buf, ends = e.appendReferences(buf, ends, fieldAuthEvents)
	all, ids, from := string(buf), make([]matrix.EventID, len(ends)), 0
	for i, end := range ends {
		ids[i] = matrix.EventID(all[from:end])
		from = end
	}
	refs := &references{prev: ids[:prev:prev], auth: ids[prev:]}
	e.refs.Store(refs)
	return refs
}

func (e *Event) appendReferences(buf []byte, ends []int, f field) ([]byte, []int) {
	c := canonicaljson.Array(e.raw(f))
	for raw, ok := c.NextElement(); ok; raw, ok = c.NextElement() {
		if raw[0] == '[' { // versions 1 and 2: a pair of ID and hash
			pair := canonicaljson.Array(raw)
			raw, _ = pair.NextElement()
		}
		buf = canonicaljson.AppendUnquoted(buf, raw)
		ends = append(ends, len(buf))
	}
	return buf, ends
}

// checkReferences checks the form of prev_events or auth_events.
func (e *Event) checkReferences(f field, limit int) error {
	if err := e.wantKind(f, '['); err != nil {
		return err
	}
	n := 0
	c := canonicaljson.Array(e.raw(f))
	for raw, ok := c.NextElement(); ok; raw, ok = c.NextElement() {
		if n++; n > limit {
			return matrix.BadJSON("%s has more than %d entries", f, limit)
		}
		if e.rules.EventFormat == matrix.EventFormatID {
			pair := canonicaljson.Array(raw)
			raw, _ = pair.NextElement()
			if hash, ok := pair.NextElement(); !ok || hash[0] != '{' {
				return matrix.BadJSON("an entry of %s is not a pair of an event ID and a hash", f)
			}
			if _, more := pair.NextElement(); more {
				return matrix.BadJSON("an entry of %s is not a pair of an event ID and a hash", f)
			}
		}
		if !isEventID(raw) {
			return matrix.BadJSON("an entry of %s is not an event ID", f)
		}
	}
	return nil
}

// isEventID reports whether a raw value is the string of an event ID.
func isEventID(raw []byte) bool {
	if len(raw) < 2 || raw[0] != '"' {
		return false
	}
	if text := raw[1 : len(raw)-1]; bytes.IndexByte(text, '\\') < 0 {
		return len(text) >= 2 && len(text) <= maxStringBytes && text[0] == '$'
	}
	text, _ := canonicaljson.Unquote(raw)
	_, err := matrix.ParseEventID(text)
	return err == nil
}
