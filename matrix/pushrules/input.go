package pushrules

import (
	"bytes"
	"strings"

	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
)

// Input is an event with what the rules ask about its room. It remembers what
// was looked up, so that one Input serves all users of a room; it must not be
// used by two goroutines at once.
//
// https://spec.matrix.org/v1.19/client-server-api/#conditions-1
type Input struct {
	event     *event.Event
	members   int64
	mayNotify func(kind string) bool
	found     []lookedUp
}

type lookedUp struct {
	path  string
	value value
}

// NewInput returns the input of an event for a room of so many joined members.
// mayNotify reports whether the power of the sender reaches the level under
// this name in the notifications of the power levels, such as "room"; nil means that it never does.
//
// https://spec.matrix.org/v1.19/client-server-api/#conditions-1
func NewInput(e *event.Event, members int64, mayNotify func(kind string) bool) *Input {
	if mayNotify == nil {
		mayNotify = func(string) bool { return false }
	}
	return &Input{event: e, members: members, mayNotify: mayNotify}
}

// value is a property of the event; the zero value is an absent one.
type value struct {
	raw      []byte // canonical JSON; nil where text is all there is
	text     string
	isString bool
}

// equals compares with a plain value in canonical JSON.
func (v *value) equals(want []byte) bool {
	if v.raw != nil {
		return string(v.raw) == string(want)
	}
	return v.isString && string(canonicaljson.AppendString(nil, v.text)) == string(want)
}

// path is a property of an event, cut at its dots.
type path struct {
	whole string
	parts []string
}

// newPath undoes the escapes of a path.
//
// https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths
func newPath(whole string) path {
	p := path{whole: whole}
	var part strings.Builder
	for i := 0; i < len(whole); i++ {
		switch c := whole[i]; {
		case c == '\\' && i+1 < len(whole) && (whole[i+1] == '.' || whole[i+1] == '\\'):
			i++
			part.WriteByte(whole[i])
		case c == '.':
			p.parts = append(p.parts, part.String())
			part.Reset()
		default:
			part.WriteByte(c)
		}
	}
	p.parts = append(p.parts, part.String())
	return p
}

// at returns a property of the event.
func (in *Input) at(p *path) *value {
	for i := range in.found {
		if in.found[i].path == p.whole {
			return &in.found[i].value
		}
	}
	in.found = append(in.found, lookedUp{p.whole, in.read(p.parts)})
	return &in.found[len(in.found)-1].value
}

func (in *Input) read(parts []string) value {
	e := in.event
	if len(parts) == 1 {
		switch parts[0] {
		case "type":
			return value{text: e.Type(), isString: true}
		case "sender":
			return value{text: string(e.Sender()), isString: true}
		case "room_id":
			return value{text: string(e.RoomID()), isString: true}
		case "event_id":
			return value{text: string(e.ID()), isString: true}
		case "state_key":
			key, ok := e.StateKey()
			return value{text: key, isString: ok}
		}
	}
	raw := e.JSON()
	if parts[0] == "content" {
		raw, parts = e.Content(), parts[1:]
	}
	for _, part := range parts {
		if raw = member(raw, part); raw == nil {
			return value{}
		}
	}
	v := value{raw: raw}
	v.text, v.isString = canonicaljson.Unquote(raw)
	return v
}

// member returns the raw value of a member of an object, or nil.
func member(object []byte, name string) []byte {
	c := canonicaljson.Object(object)
	for m, ok := c.Next(); ok; m, ok = c.Next() {
		if string(m.Key) == name || bytes.IndexByte(m.Key, '\\') >= 0 && m.Name() == name {
			return m.Value
		}
	}
	return nil
}
