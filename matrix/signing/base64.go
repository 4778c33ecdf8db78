package signing

import (
	"encoding/base64"
	"strings"

	"beffroi/matrix"
)

// EncodeBase64 returns b in unpadded standard base64, the form of keys,
// hashes and signatures.
//
// https://spec.matrix.org/v1.19/appendices/#unpadded-base64
func EncodeBase64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// EncodeBase64URL returns b in unpadded URL-safe base64, the form of event IDs.
//
// https://spec.matrix.org/v1.19/appendices/#url-safe-unpadded-base64
func EncodeBase64URL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// DecodeBase64 reads what other servers call base64: with or without padding,
// in either alphabet, with any trailing bits. It refuses all else, line breaks
// too, with M_INVALID_PARAM.
//
// https://spec.matrix.org/v1.19/appendices/#unpadded-base64
func DecodeBase64(s string) ([]byte, error) {
	text := strings.TrimRight(s, "=")
	if len(s)-len(text) > 2 || strings.ContainsAny(text, "\r\n") {
		return nil, matrix.InvalidParam("malformed base64")
	}
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.RawURLEncoding
	}
	b, err := encoding.DecodeString(text)
	if err != nil {
		return nil, matrix.InvalidParam("malformed base64")
	}
	return b, nil
}
