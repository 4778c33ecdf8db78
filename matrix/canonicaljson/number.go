package canonicaljson

import (
	"bytes"
	"math"
	"slices"
	"strconv"
)

// maxInteger is the greatest integer that every JSON library keeps exact.
const maxInteger = 1<<53 - 1

// maxIntegerDigits is how many digits maxInteger has.
const maxIntegerDigits = 16

type numberForm uint8

const (
	numberInvalid   numberForm = iota // not a JSON number
	numberInteger                     // plain and in range
	numberMinusZero                   // -0
	numberLarge                       // plain, but out of range
	numberFloat                       // with a fraction or an exponent
)

// scanNumber returns the length and the form of the number b starts with.
func scanNumber(b []byte) (int, numberForm) {
	i := 0
	if i < len(b) && b[i] == '-' {
		i++
	}
	digits := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	n := i - digits
	if n == 0 || n > 1 && b[digits] == '0' {
		return i, numberInvalid
	}
	if i < len(b) && (b[i] == '.' || b[i]|0x20 == 'e') {
		return scanFloat(b, i)
	}
	switch {
	case b[digits] == '0' && digits == 1:
		return i, numberMinusZero
	case n < maxIntegerDigits:
		return i, numberInteger
	case n > maxIntegerDigits:
		return i, numberLarge
	}
	var v int64
	for _, c := range b[digits:i] {
		v = v*10 + int64(c-'0')
	}
	if v > maxInteger {
		return i, numberLarge
	}
	return i, numberInteger
}

// scanFloat goes on after the integer part, which ends at i.
func scanFloat(b []byte, i int) (int, numberForm) {
	if b[i] == '.' {
		start := i + 1
		for i = start; i < len(b) && b[i]-'0' <= 9; i++ {
		}
		if i == start {
			return i, numberInvalid
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		start := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		if i == start {
			return i, numberInvalid
		}
	}
	return i, numberFloat
}

// appendInteger appends the integer that a number of the form numberFloat
// stands for, if it stands for one in range.
func appendInteger(dst, text []byte) ([]byte, bool) {
	start := len(dst)
	if text[0] == '-' {
		dst, text = append(dst, '-'), text[1:]
	}
	mantissa, exponent := text, 0
	if i := bytes.IndexAny(text, "eE"); i >= 0 {
		var err error
		mantissa = text[:i]
		// An exponent that overflows stays out of range: Atoi returns the limit.
		if exponent, err = strconv.Atoi(string(text[i+1:])); err != nil {
			exponent = max(min(exponent, math.MaxInt32), -math.MaxInt32)
		}
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	exponent -= len(fraction)
	digits := bytes.TrimLeft(slices.Concat(whole, fraction), "0")
	if len(digits) == 0 {
		return append(dst[:start], '0'), true
	}
	trimmed := bytes.TrimRight(digits, "0")
	exponent += len(digits) - len(trimmed)
	if exponent < 0 || exponent > maxIntegerDigits || len(trimmed)+exponent > maxIntegerDigits {
		return dst[:start], false
	}
	digits = append(trimmed, "0000000000000000"[:exponent]...)
	if v, err := strconv.ParseInt(string(digits), 10, 64); err != nil || v > maxInteger {
		return dst[:start], false
	}
	return append(dst, digits...), true
}
