package canonicaljson

import (
	"bytes"
	"slices"
	"sync"
	"unicode/utf16"
	"unicode/utf8"

	"beffroi/matrix"
)

// member is one "key":value of an object, as positions in the output.
type member struct {
	start, keyEnd, end int
	escaped            bool
}

func (m member) key(out []byte) []byte { return out[m.start+1 : m.keyEnd-1] }

// rewriter parses any JSON and writes its canonical form as it goes. Members
// are written in the order they come and put in order when their object ends.
type rewriter struct {
	in      []byte
	pos     int
	out     []byte
	mode    Mode
	depth   int      // how much deeper we may go
	members []member // of all objects that are open, the innermost last
	scratch []byte   // an object while its members are put in order
}

var rewriters = sync.Pool{New: func() any { return new(rewriter) }}

// maxScratch is the most that a pooled rewriter keeps between uses.
const maxScratch = 1 << 16

// rewrite appends the canonical form of raw to dst.
func rewrite(dst, raw []byte, mode Mode, maxDepth int) ([]byte, error) {
	w := rewriters.Get().(*rewriter)
	defer w.release()
	w.in, w.pos, w.out, w.mode, w.depth = raw, 0, dst, mode, maxDepth
	w.space()
	if err := w.value(); err != nil {
		return nil, err
	}
	w.space()
	if w.pos != len(w.in) {
		return nil, w.syntax("end of the document")
	}
	return w.out, nil
}

func (w *rewriter) release() {
	w.in, w.out, w.members = nil, nil, w.members[:0]
	if cap(w.scratch) > maxScratch {
		w.scratch = nil
	}
	if cap(w.members) > maxScratch/64 {
		w.members = nil
	}
	rewriters.Put(w)
}

func (w *rewriter) syntax(want string) error {
	return matrix.NotJSON("not JSON: expected %s at byte %d", want, w.pos)
}

func (w *rewriter) space() {
	for w.pos < len(w.in) {
		switch w.in[w.pos] {
		case ' ', '\t', '\n', '\r':
			w.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, or 0 at the end.
func (w *rewriter) peek() byte {
	if w.pos < len(w.in) {
		return w.in[w.pos]
	}
	return 0
}

func (w *rewriter) value() error {
	switch w.peek() {
	case '"':
		_, err := w.string()
		return err
	case '{':
		return w.object()
	case '[':
		return w.array()
	case 't':
		return w.literal("true")
	case 'f':
		return w.literal("false")
	case 'n':
		return w.literal("null")
	}
	return w.number()
}

// enter goes one level down; whoever does so comes up again by itself.
func (w *rewriter) enter() error {
	if w.depth--; w.depth < 0 {
		return matrix.BadJSON("JSON is nested too deeply")
	}
	w.pos++
	return nil
}

func (w *rewriter) literal(word string) error {
	if !bytes.HasPrefix(w.in[w.pos:], []byte(word)) {
		return w.syntax("a value")
	}
	w.out = append(w.out, word...)
	w.pos += len(word)
	return nil
}

func (w *rewriter) number() error {
	n, form := scanNumber(w.in[w.pos:])
	text := w.in[w.pos : w.pos+n]
	switch {
	case form == numberInvalid:
		return w.syntax("a value")
	case form == numberInteger || form != numberMinusZero && w.mode == Lenient:
		w.out = append(w.out, text...)
	case form == numberMinusZero && w.mode != Strict:
		w.out = append(w.out, '0')
	case form == numberFloat && w.mode == Normal:
		var ok bool
		if w.out, ok = appendInteger(w.out, text); !ok {
			return w.badNumber()
		}
	default:
		return w.badNumber()
	}
	w.pos += n
	return nil
}

func (w *rewriter) badNumber() error {
	return matrix.BadJSON("the number at byte %d is not an integer within ±(2^53-1)", w.pos)
}

func (w *rewriter) array() error {
	if err := w.enter(); err != nil {
		return err
	}
	w.out = append(w.out, '[')
	w.space()
	if w.peek() == ']' {
		w.pos++
		w.depth++
		w.out = append(w.out, ']')
		return nil
	}
	for {
		if err := w.value(); err != nil {
			return err
		}
		w.space()
		c := w.peek()
		if c != ',' && c != ']' {
			return w.syntax("',' or ']'")
		}
		w.pos++
		w.out = append(w.out, c)
		if c == ']' {
			w.depth++
			return nil
		}
		w.space()
	}
}

func (w *rewriter) object() error {
	if err := w.enter(); err != nil {
		return err
	}
	start, base, sorted := len(w.out), len(w.members), true
	w.out = append(w.out, '{')
	w.space()
	if w.peek() == '}' {
		w.pos++
		w.depth++
		w.out = append(w.out, '}')
		return nil
	}
	for {
		m, err := w.member()
		if err != nil {
			return err
		}
		if len(w.members) > base {
			order := w.compare(w.members[len(w.members)-1], m)
			if order == 0 {
				return w.duplicate(m)
			}
			sorted = sorted && order < 0
		}
		w.members = append(w.members, m)
		w.space()
		c := w.peek()
		if c != ',' && c != '}' {
			return w.syntax("',' or '}'")
		}
		w.pos++
		w.out = append(w.out, c)
		if c == '}' {
			break
		}
		w.space()
	}
	if !sorted {
		if err := w.sort(start, w.members[base:]); err != nil {
			return err
		}
	}
	w.members = w.members[:base]
	w.depth++
	return nil
}

func (w *rewriter) member() (m member, err error) {
	if w.peek() != '"' {
		return m, w.syntax("a key")
	}
	m.start = len(w.out)
	if m.escaped, err = w.string(); err != nil {
		return m, err
	}
	m.keyEnd = len(w.out)
	w.space()
	if w.peek() != ':' {
		return m, w.syntax("':'")
	}
	w.pos++
	w.out = append(w.out, ':')
	w.space()
	err = w.value()
	m.end = len(w.out)
	return m, err
}

func (w *rewriter) compare(a, b member) int {
	return compareKeys(a.key(w.out), a.escaped, b.key(w.out), b.escaped)
}

func (w *rewriter) duplicate(m member) error {
	key := m.key(w.out)
	return matrix.BadJSON("the key %q comes twice", key[:min(len(key), 64)])
}

// sort puts the members of the object that begins at start in order.
func (w *rewriter) sort(start int, members []member) error {
	slices.SortFunc(members, w.compare)
	for i := 1; i < len(members); i++ {
		if w.compare(members[i-1], members[i]) == 0 {
			return w.duplicate(members[i])
		}
	}
	w.scratch = append(w.scratch[:0], w.out[start:]...)
	w.out = append(w.out[:start], '{')
	for i, m := range members {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out = append(w.out, w.scratch[m.start-start:m.end-start]...)
	}
	w.out = append(w.out, '}')
	return nil
}

// string copies a string in canonical form and says whether that has escapes.
func (w *rewriter) string() (escaped bool, err error) {
	w.pos++
	w.out = append(w.out, '"')
	for {
		start := w.pos
		w.pos = plain(w.in, w.pos)
		w.out = append(w.out, w.in[start:w.pos]...)
		if w.pos >= len(w.in) {
			return false, w.syntax("the end of a string")
		}
		switch c := w.in[w.pos]; {
		case c == '"':
			w.pos++
			w.out = append(w.out, '"')
			return escaped, nil
		case c == '\\':
			r, err := w.escape()
			if err != nil {
				return false, err
			}
			if r < utf8.RuneSelf && needsEscape(byte(r)) {
				escaped = true
				w.out = appendEscaped(w.out, byte(r))
			} else {
				w.out = utf8.AppendRune(w.out, r)
			}
		case c < 0x20:
			return false, w.syntax("no control character")
		default:
			n := runeLen(w.in[w.pos:])
			if n == 0 {
				return false, matrix.BadJSON("invalid UTF-8 at byte %d", w.pos)
			}
			w.out = append(w.out, w.in[w.pos:w.pos+n]...)
			w.pos += n
		}
	}
}

// escape reads one escape, or the two of a surrogate pair.
func (w *rewriter) escape() (rune, error) {
	rest := w.in[w.pos:]
	if len(rest) < 2 {
		return 0, w.syntax("an escape")
	}
	if i := bytes.IndexByte([]byte(`"\/bfnrt`), rest[1]); i >= 0 {
		w.pos += 2
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	r, ok := hexRune(rest[2:])
	if rest[1] != 'u' || !ok {
		return 0, w.syntax("an escape")
	}
	n := 6
	if utf16.IsSurrogate(r) {
		low, ok := rune(0), len(rest) >= 12 && rest[6] == '\\' && rest[7] == 'u'
		if ok {
			low, ok = hexRune(rest[8:])
		}
		r = utf16.DecodeRune(r, low)
		if !ok || r == utf8.RuneError {
			return 0, matrix.BadJSON("lone surrogate at byte %d", w.pos)
		}
		n = 12
	}
	w.pos += n
	return r, nil
}
