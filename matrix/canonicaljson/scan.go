package canonicaljson

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// scanner is the fast path: it runs over bytes that are most likely canonical
// and stops at the first that is not. Which mistake it was, or whether it was
// one at all, is for the rewriter to say.
type scanner struct {
	b     []byte
	mode  Mode
	depth int // how much deeper we may go
}

// isCanonical reports whether raw is valid and canonical in mode.
func isCanonical(raw []byte, mode Mode, maxDepth int) bool {
	s := scanner{b: raw, mode: mode, depth: maxDepth}
	return s.value(0) == len(raw)
}

// bad is the position after a value that is not canonical.
const bad = -1

// value returns the position after the value that begins at i, or bad.
func (s *scanner) value(i int) int {
	if i >= len(s.b) {
		return bad
	}
	switch c := s.b[i]; c {
	case '"':
		end, _ := scanString(s.b, i+1)
		return end
	case '{':
		return s.object(i + 1)
	case '[':
		return s.array(i + 1)
	case 't':
		return s.literal(i, "true")
	case 'f':
		return s.literal(i, "false")
	case 'n':
		return s.literal(i, "null")
	default:
		n, form := scanNumber(s.b[i:])
		if form == numberInteger || s.mode == Lenient && form != numberInvalid && form != numberMinusZero {
			return i + n
		}
		return bad
	}
}

func (s *scanner) literal(i int, word string) int {
	if end := i + len(word); end <= len(s.b) && string(s.b[i:end]) == word {
		return end
	}
	return bad
}

func (s *scanner) array(i int) int {
	if s.depth--; s.depth < 0 || i >= len(s.b) {
		return bad
	}
	if s.b[i] == ']' {
		s.depth++
		return i + 1
	}
	for {
		if i = s.value(i); i == bad || i >= len(s.b) {
			return bad
		}
		switch s.b[i] {
		case ',':
			i++
		case ']':
			s.depth++
			return i + 1
		default:
			return bad
		}
	}
}

func (s *scanner) object(i int) int {
	if s.depth--; s.depth < 0 || i >= len(s.b) {
		return bad
	}
	if s.b[i] == '}' {
		s.depth++
		return i + 1
	}
	var last []byte
	lastEscaped := false
	for first := true; ; first = false {
		if i >= len(s.b) || s.b[i] != '"' {
			return bad
		}
		end, escaped := scanString(s.b, i+1)
		if end == bad || end >= len(s.b) || s.b[end] != ':' {
			return bad
		}
		key := s.b[i+1 : end-1]
		if !first && compareKeys(last, lastEscaped, key, escaped) >= 0 {
			return bad
		}
		last, lastEscaped = key, escaped
		if i = s.value(end + 1); i == bad || i >= len(s.b) {
			return bad
		}
		switch s.b[i] {
		case ',':
			i++
		case '}':
			s.depth++
			return i + 1
		default:
			return bad
		}
	}
}

// compareKeys orders two canonical keys by code point, as they are escaped. Of
// UTF-8 that is the order of the bytes.
func compareKeys(a []byte, aEscaped bool, b []byte, bEscaped bool) int {
	if !aEscaped && !bEscaped {
		return bytes.Compare(a, b)
	}
	for len(a) > 0 && len(b) > 0 {
		x, n := unescaped(a)
		y, m := unescaped(b)
		if x != y {
			return cmp.Compare(x, y)
		}
		a, b = a[n:], b[m:]
	}
	return cmp.Compare(len(a), len(b))
}

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// special marks the bytes of w that a string cannot just run over: controls,
// quote, backslash and everything beyond ASCII. Marks above the lowest may be
// wrong; the lowest never is.
func special(w uint64) uint64 {
	quote := w ^ ('"' * lowBits)
	slash := w ^ ('\\' * lowBits)
	return (w | (w - 0x20*lowBits) | (quote - lowBits) | (slash - lowBits)) & highBits
}

// plain returns the position of the first byte from i on that a string cannot
// just run over, or the end.
func plain(b []byte, i int) int {
	for i+8 <= len(b) {
		if marks := special(binary.LittleEndian.Uint64(b[i:])); marks != 0 {
			return i + bits.TrailingZeros64(marks)/8
		}
		i += 8
	}
	for i < len(b) && b[i] < utf8.RuneSelf && !needsEscape(b[i]) {
		i++
	}
	return i
}

// runeLen returns the length of the character at the start of b, which is not
// ASCII, or 0 if that is not UTF-8.
func runeLen(b []byte) int {
	if len(b) >= 2 && b[0] >= 0xc2 && b[0] <= 0xdf && b[1]&0xc0 == 0x80 {
		return 2
	}
	r, n := utf8.DecodeRune(b)
	if r == utf8.RuneError && n <= 1 {
		return 0
	}
	return n
}

// scanString returns the position after the closing quote of the canonical
// string whose first character is at i, and whether it has escapes.
func scanString(b []byte, i int) (end int, escaped bool) {
	for {
		if i = plain(b, i); i >= len(b) {
			return bad, false
		}
		n := 0
		switch c := b[i]; {
		case c == '"':
			return i + 1, escaped
		case c == '\\':
			n = canonicalEscape(b[i:])
			escaped = true
		case c >= utf8.RuneSelf:
			n = runeLen(b[i:])
		}
		if n == 0 {
			return bad, false
		}
		i += n
	}
}

// canonicalEscape returns the length of the escape at the start of b if it is
// the one canonical JSON uses for that character, else 0.
func canonicalEscape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 || b[2] != '0' || b[3] != '0' || b[4] != '0' && b[4] != '1' {
			return 0
		}
		low := hexDigit(b[5])
		if low < 0 || b[5] >= 'A' && b[5] <= 'F' {
			return 0
		}
		c := (b[4]-'0')<<4 | byte(low)
		if shortEscape(c) != 0 {
			return 0
		}
		return 6
	}
	return 0
}
