package event

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/signing"
)

// hashTextBytes is the length of a SHA-256 hash in unpadded base64.
const hashTextBytes = 43

// contentHash computes the hash over everything in e but hashes and signatures.
//
// https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event
func (e *Event) contentHash(s *scratch) [sha256.Size]byte {
	s.b = e.without(s.b[:0], fieldHashes, fieldSignatures, fieldUnsigned)
	return sha256.Sum256(s.b)
}

// contentHashFits compares the content hash to the one in hashes.
func (e *Event) contentHashFits(s *scratch) (bool, error) {
	claimed := canonicaljson.Field(e.raw(fieldHashes), "sha256")
	if len(claimed) < 2 || claimed[0] != '"' {
		return false, matrix.BadJSON("the event has no sha256 hash")
	}
	sum := e.contentHash(s)
	var text [hashTextBytes]byte
	base64.RawStdEncoding.Encode(text[:], sum[:])
	if string(claimed[1:len(claimed)-1]) == string(text[:]) {
		return true, nil
	}
	decoded, err := signing.DecodeBase64(string(claimed[1 : len(claimed)-1]))
	if err != nil {
		return false, matrix.BadJSON("the sha256 hash is not base64")
	}
	return subtle.ConstantTimeCompare(decoded, sum[:]) == 1, nil
}

// referenceHash computes the hash that identifies e, redacted or not.
//
// https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event
func (e *Event) referenceHash(s *scratch) [sha256.Size]byte {
	s.b = e.appendRedacted(s.b[:0], false)
	return sha256.Sum256(s.b)
}

// ReferenceHash returns the reference hash in unpadded standard base64, as
// events of versions 1 and 2 give it beside the ID of an event they refer to.
//
// https://spec.matrix.org/v1.19/server-server-api/#calculating-the-reference-hash-for-an-event
func (e *Event) ReferenceHash() string {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	sum := e.referenceHash(s)
	return signing.EncodeBase64(sum[:])
}

// setID sets the event ID, unless the event carries it, and the room ID that
// may follow from it.
//
// https://spec.matrix.org/v1.19/rooms/v4/#event-ids
func (e *Event) setID(s *scratch) {
	if e.rules.EventFormat == matrix.EventFormatID {
		return
	}
	sum := e.referenceHash(s)
	encoding := base64.RawURLEncoding
	if e.rules.EventFormat == matrix.EventFormatHash {
		encoding = base64.RawStdEncoding
	}
	var text [1 + hashTextBytes]byte
	text[0] = '$'
	encoding.Encode(text[1:], sum[:])
	e.id = matrix.EventID(text[:])
	if e.isCreateOfHashedRoom() {
		e.roomID = "!" + string(e.id[1:])
	}
}
