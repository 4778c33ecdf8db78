package canonicaljson

import (
	"bytes"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// shortEscape returns the letter of the two-character escape of c, or 0.
func shortEscape(c byte) byte {
	switch c {
	case '\b':
		return 'b'
	case '\t':
		return 't'
	case '\n':
		return 'n'
	case '\f':
		return 'f'
	case '\r':
		return 'r'
	case '"', '\\':
		return c
	}
	return 0
}

// appendEscaped appends c, which is a control, a quote or a backslash.
func appendEscaped(dst []byte, c byte) []byte {
	if short := shortEscape(c); short != 0 {
		return append(dst, '\\', short)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

func needsEscape(c byte) bool { return c < 0x20 || c == '"' || c == '\\' }

// AppendString appends s to dst as a canonical JSON string with its quotes.
// Bytes that are not UTF-8 become U+FFFD.
//
// https://spec.matrix.org/v1.19/appendices/#canonical-json
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if needsEscape(c) {
				dst = append(dst, s[start:i]...)
				dst = appendEscaped(dst, c)
				start = i + 1
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, s[start:i]...)
			dst = utf8.AppendRune(dst, utf8.RuneError)
			start = i + 1
		}
		i += n
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// Unquote returns the text of a canonical JSON string, given with its quotes.
// ok is false when raw is no string. It is for bytes this package validated.
//
// https://spec.matrix.org/v1.19/appendices/#canonical-json
func Unquote(raw []byte) (s string, ok bool) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return "", false
	}
	return string(AppendUnquoted(nil, raw)), true
}

// AppendUnquoted appends the text of a canonical JSON string, given with its
// quotes, to dst. Of anything else it appends nothing.
//
// https://spec.matrix.org/v1.19/appendices/#canonical-json
func AppendUnquoted(dst, raw []byte) []byte {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return dst
	}
	return appendUnescaped(dst, raw[1:len(raw)-1])
}

// appendUnescaped undoes the escapes of a canonical string.
func appendUnescaped(dst, s []byte) []byte {
	for len(s) > 0 {
		if i := bytes.IndexByte(s, '\\'); i != 0 {
			if i < 0 {
				i = len(s)
			}
			dst, s = append(dst, s[:i]...), s[i:]
			continue
		}
		c, n := unescaped(s)
		dst, s = append(dst, c), s[n:]
	}
	return dst
}

// unescaped returns the first byte that a canonical string, which is not
// empty, stands for, and how many bytes say so. What canonical JSON escapes is
// ASCII, so one byte it is.
func unescaped(s []byte) (c byte, n int) {
	if s[0] != '\\' || len(s) < 2 {
		return s[0], 1
	}
	switch s[1] {
	case 'b':
		return '\b', 2
	case 't':
		return '\t', 2
	case 'n':
		return '\n', 2
	case 'f':
		return '\f', 2
	case 'r':
		return '\r', 2
	case 'u':
		if r, ok := hexRune(s[2:]); ok {
			return byte(r), 6
		}
	}
	return s[1], 2
}

// hexRune reads four hexadecimal digits.
func hexRune(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		d := hexDigit(c)
		if d < 0 {
			return 0, false
		}
		r = r<<4 | d
	}
	return r, true
}

// hexDigit returns the value of a hexadecimal digit, or -1.
func hexDigit(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}
