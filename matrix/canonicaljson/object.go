package canonicaljson

import (
	"bytes"
	"slices"
)

// Member is one member of an object.
type Member struct {
	// Key is the text between the quotes, with its escapes: it can be compared
	// to any name that needs none.
	Key []byte
	// Value is the raw value.
	Value []byte
	// Raw is the whole member: the quoted key, a colon and the value.
	Raw []byte
	// ValueStart is where Value begins in the object.
	ValueStart int
}

// Name returns the key without its escapes.
func (m Member) Name() string { return string(appendUnescaped(nil, m.Key)) }

// QuotedKey returns the key with its quotes and escapes.
func (m Member) QuotedKey() []byte { return m.Raw[: len(m.Key)+2 : len(m.Key)+2] }

// Cursor walks an object or an array of bytes that this package validated.
// On bytes that nobody validated it may stop early or return nonsense, but
// never panics.
type Cursor struct {
	b   []byte
	pos int
}

// Object returns a cursor before the first member of obj. Of anything but an
// object, Next finds nothing.
func Object(obj []byte) Cursor {
	if len(obj) < 2 || obj[0] != '{' {
		return Cursor{}
	}
	return Cursor{b: obj, pos: 1}
}

// Array returns a cursor before the first element of arr. Of anything but an
// array, NextElement finds nothing.
func Array(arr []byte) Cursor {
	if len(arr) < 2 || arr[0] != '[' {
		return Cursor{}
	}
	return Cursor{b: arr, pos: 1}
}

// Next returns the next member, and false after the last.
func (c *Cursor) Next() (Member, bool) {
	i := c.pos
	if i < len(c.b) && c.b[i] == ',' {
		i++
	}
	if i >= len(c.b) || c.b[i] != '"' {
		return Member{}, false
	}
	colon := skipString(c.b, i+1)
	if colon >= len(c.b) || c.b[colon] != ':' {
		return Member{}, false
	}
	end := skipValue(c.b, colon+1)
	c.pos = end
	return Member{Key: c.b[i+1 : colon-1], Value: c.b[colon+1 : end : end], Raw: c.b[i:end:end], ValueStart: colon + 1}, true
}

// NextElement returns the next element, and false after the last.
func (c *Cursor) NextElement() ([]byte, bool) {
	i := c.pos
	if i < len(c.b) && c.b[i] == ',' {
		i++
	}
	if i >= len(c.b) || c.b[i] == ']' {
		return nil, false
	}
	end := skipValue(c.b, i)
	c.pos = end
	return c.b[i:end:end], end > i
}

// Field returns the raw value of a member of obj, or nil. The name must be one
// that needs no escapes.
func Field(obj []byte, name string) []byte {
	c := Object(obj)
	for m, ok := c.Next(); ok; m, ok = c.Next() {
		if string(m.Key) == name {
			return m.Value
		}
	}
	return nil
}

// SetField returns a copy of a canonical object (nil is an empty one) with a
// member added or replaced. The value must be canonical.
func SetField(obj []byte, name string, value []byte) []byte {
	quoted := AppendString(nil, name)
	key := quoted[1 : len(quoted)-1 : len(quoted)-1]
	keyEscaped := bytes.IndexByte(key, '\\') >= 0
	added := append(append(slices.Clip(quoted), ':'), value...)
	out := append(make([]byte, 0, len(obj)+len(added)+2), '{')
	write := func(member []byte) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, member...)
	}
	c := Object(obj)
	for m, ok := c.Next(); ok; m, ok = c.Next() {
		order := compareKeys(m.Key, bytes.IndexByte(m.Key, '\\') >= 0, key, keyEscaped)
		if order >= 0 && added != nil {
			write(added)
			added = nil
		}
		if order != 0 {
			write(m.Raw)
		}
	}
	if added != nil {
		write(added)
	}
	return append(out, '}')
}

// skipString returns the position after the closing quote of the string whose
// first character is at i.
func skipString(b []byte, i int) int {
	for start := i; ; {
		n := bytes.IndexByte(b[min(i, len(b)):], '"')
		if n < 0 {
			return len(b)
		}
		i += n + 1
		// The quote ends the string unless an odd number of backslashes stands
		// before it.
		slash := i - 2
		for slash >= start && b[slash] == '\\' {
			slash--
		}
		if (i-slash)%2 == 0 {
			return i
		}
	}
}

// skipValue returns the position after the value that begins at i.
func skipValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = skipString(b, i+1)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i // the end of what holds a bare value
			}
			if depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(b)
}
