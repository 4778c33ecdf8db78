package canonicaljson

import (
	"math/big"
	"strconv"
)

// maxInteger is the greatest integer that every JSON library keeps exact.
const maxInteger = 1<<53 - 1

// maxExponent bounds what a number is expanded to: no integer in range has
// more than 16 digits, and more zeros than a document holds are an attack.
const maxExponent = 400

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
	case n < 16:
		return i, numberInteger
	case n > 16:
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

// appendInteger appends the integer that a float literal stands for, if it
// stands for one in range.
func appendInteger(dst, text []byte) ([]byte, bool) {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || f > maxInteger || f < -maxInteger || len(text) > maxExponent {
		return dst, false
	}
	r, ok := new(big.Rat).SetString(string(text))
	if !ok || !r.IsInt() || !r.Num().IsInt64() {
		return dst, false
	}
	v := r.Num().Int64()
	if v > maxInteger || v < -maxInteger {
		return dst, false
	}
	return strconv.AppendInt(dst, v, 10), true
}
