package signing

import (
	"crypto/ed25519"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

// Sign returns obj with a signature by key added, in canonical form. Other
// signatures and unsigned stay. It refuses what is not an object or has no
// canonical form (M_BAD_JSON, M_NOT_JSON). For events see package event.
//
// https://spec.matrix.org/v1.19/appendices/#signing-details
func Sign(obj []byte, key Key) ([]byte, error) {
	canonical, signatures, err := canonicalObject(obj)
	if err != nil {
		return nil, err
	}
	sig := ed25519.Sign(key.Private, appendSigned(nil, canonical))
	signatures = AddSignature(signatures, key.Server, key.ID, EncodeBase64(sig))

	return canonicaljson.SetField(canonical, "signatures", signatures), nil
}

// Verify checks the signature of entity by one key over obj. What is wrong is
// an M_UNAUTHORIZED, or M_BAD_JSON and M_NOT_JSON for obj itself.
//
// https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature
func Verify(obj []byte, entity string, id matrix.KeyID, pub ed25519.PublicKey) error {
	canonical, signatures, err := canonicalObject(obj)
	if err != nil {
		return err
	}
	sig, ok := Signature(signatures, entity, id)
	if !ok {
		return matrix.Unauthorized("no signature of %s by %s", entity, id)
	}
	return VerifyBytes(appendSigned(nil, canonical), sig, entity, id, pub)
}

// VerifyBytes checks a signature over the bytes that were signed. The error is
// an M_UNAUTHORIZED.
//
// https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature
func VerifyBytes(message []byte, sig, entity string, id matrix.KeyID, pub ed25519.PublicKey) error {
	b, err := DecodeBase64(sig)
	if err != nil || len(b) != ed25519.SignatureSize {
		return matrix.Unauthorized("malformed signature of %s by %s", entity, id)
	}
	if len(pub) != ed25519.PublicKeySize || !ed25519.Verify(pub, message, b) {
		return matrix.Unauthorized("bad signature of %s by %s", entity, id)
	}
	return nil
}

// SignatureIDs returns the well-formed key IDs, of algorithms we know, under
// which entity has signed obj, in their order.
//
// https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature
func SignatureIDs(obj []byte, entity string) []matrix.KeyID {
	_, signatures, err := canonicalObject(obj)
	if err != nil {
		return nil
	}
	return KeyIDs(signatures, entity)
}

// KeyIDs is SignatureIDs for a canonical signatures object.
//
// https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature
func KeyIDs(signatures []byte, entity string) []matrix.KeyID {
	var ids []matrix.KeyID
	c := canonicaljson.Object(entityField(signatures, entity))
	for m, ok := c.Next(); ok; m, ok = c.Next() {
		id, err := matrix.ParseKeyID(string(m.Key))
		if err == nil && id.Algorithm() == Algorithm {
			ids = append(ids, id)
		}
	}
	return ids
}

// Signature returns the base64 text of a signature in a canonical signatures
// object.
//
// https://spec.matrix.org/v1.19/appendices/#checking-for-a-signature
func Signature(signatures []byte, entity string, id matrix.KeyID) (sig string, ok bool) {
	return canonicaljson.Unquote(canonicaljson.Field(entityField(signatures, entity), string(id)))
}

// AddSignature returns a canonical signatures object (nil is an empty one)
// with one signature added or replaced.
//
// https://spec.matrix.org/v1.19/appendices/#signing-details
func AddSignature(signatures []byte, entity matrix.ServerName, id matrix.KeyID, sig string) []byte {
	value := canonicaljson.AppendString(nil, sig)
	inner := canonicaljson.SetField(entityField(signatures, string(entity)), string(id), value)
	return canonicaljson.SetField(signatures, string(entity), inner)
}

// entityField returns what entity has in a canonical signatures object.
func entityField(signatures []byte, entity string) []byte {
	quoted := canonicaljson.AppendString(nil, entity)
	return canonicaljson.Field(signatures, string(quoted[1:len(quoted)-1]))
}

// canonicalObject returns obj in canonical form, and its signatures.
func canonicalObject(obj []byte) (canonical, signatures []byte, err error) {
	canonical, err = canonicaljson.Canonicalise(obj, canonicaljson.Normal)
	if err != nil {
		return nil, nil, err
	}
	if canonical[0] != '{' {
		return nil, nil, matrix.BadJSON("what is signed is an object")
	}
	signatures = canonicaljson.Field(canonical, "signatures")
	if signatures != nil && signatures[0] != '{' {
		return nil, nil, matrix.BadJSON("signatures is not an object")
	}
	return canonical, signatures, nil
}

// appendSigned appends what is signed of a canonical object: all of it but
// signatures and unsigned.
func appendSigned(dst, canonical []byte) []byte {
	dst = append(dst, '{')
	first := true
	c := canonicaljson.Object(canonical)
	for m, ok := c.Next(); ok; m, ok = c.Next() {
		if string(m.Key) == "signatures" || string(m.Key) == "unsigned" {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, m.Raw...)
	}
	return append(dst, '}')
}
