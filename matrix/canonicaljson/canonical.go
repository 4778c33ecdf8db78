// Package canonicaljson writes JSON in the one form that all servers hash and
// sign: no white space, sorted keys, shortest strings, integers only.
//
// It works on bytes and never goes through maps. [Canonicalise] validates
// everything an untrusted peer could send; [Object] then walks the members of
// what it returned without checking again.
package canonicaljson

import (
	"encoding/json"
	"fmt"
)

// Mode says how numbers are treated.
//
// https://spec.matrix.org/v1.19/appendices/#canonical-json
type Mode uint8

const (
	// Strict refuses every number that is not an integer within
	// ±(2^53−1) written plainly: no fraction, exponent or -0 (room versions 6
	// and later).
	Strict Mode = iota
	// Lenient keeps the text of every JSON number, because that text is what
	// other servers hashed (room versions 1 to 5). Only -0 becomes 0.
	Lenient
	// Normal rewrites numbers that are integers in disguise (-0, 1e10, 2.0) and
	// refuses the others. It is for signed JSON that is not an event.
	Normal
)

const (
	// MaxDepth is how many arrays and objects may be nested. Far beyond what
	// anybody writes, far below what hurts the stack.
	//
	// Divergence: the specification names no depth. An event that is nested
	// more deeply is refused.
	MaxDepth = 100
	// EnvelopeDepth is the limit for JSON that carries events, so that an
	// event at its own limit can still be sent on inside a transaction.
	EnvelopeDepth = MaxDepth + 16
)

// Canonicalise returns raw in canonical form. It returns raw itself when that
// is canonical already, so the result must not be modified.
//
// It refuses with M_NOT_JSON what is not JSON, and with M_BAD_JSON what has no
// canonical form: duplicate keys, invalid UTF-8, lone surrogates, numbers the
// mode does not allow, and nesting deeper than [MaxDepth].
//
// https://spec.matrix.org/v1.19/appendices/#canonical-json
func Canonicalise(raw []byte, mode Mode) ([]byte, error) {
	if isCanonical(raw, mode, MaxDepth) {
		return raw, nil
	}
	return rewrite(make([]byte, 0, len(raw)), raw, mode, MaxDepth)
}

// CanonicaliseEnvelope is [Canonicalise] for JSON that carries events, such as
// the body of a federation request: it may be [EnvelopeDepth] deep.
//
// https://spec.matrix.org/v1.19/appendices/#canonical-json
func CanonicaliseEnvelope(raw []byte, mode Mode) ([]byte, error) {
	if isCanonical(raw, mode, EnvelopeDepth) {
		return raw, nil
	}
	return rewrite(make([]byte, 0, len(raw)), raw, mode, EnvelopeDepth)
}

// Append appends the canonical form of raw to dst, under the rules and with
// the errors of [Canonicalise]. The result never shares memory with raw.
//
// https://spec.matrix.org/v1.19/appendices/#canonical-json
func Append(dst, raw []byte, mode Mode) ([]byte, error) {
	if isCanonical(raw, mode, MaxDepth) {
		return append(dst, raw...), nil
	}
	return rewrite(dst, raw, mode, MaxDepth)
}

// Marshal returns v as strictly canonical JSON, by way of encoding/json: it is
// for the cold edges. Floats that are not integers are refused.
//
// https://spec.matrix.org/v1.19/appendices/#canonical-json
func Marshal(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("marshal for canonical JSON: %w", err)
	}
	return Canonicalise(raw, Strict)
}
