package event

import (
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/signing"
)

// TestAppendixMessage checks the second event of the specification's vectors.
// It lacks fields every real event has, so ParseUntrusted refuses it, but what
// is hashed and signed of it is as good a test.
//
// https://spec.matrix.org/v1.19/appendices/#event-signing
func TestAppendixMessage(t *testing.T) {
	t.Parallel()
	const fields = `{"content":{"body":"Here is the message content"},"event_id":"$0:domain",` +
		`"hashes":{"sha256":"onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"},"origin":"domain",` +
		`"origin_server_ts":1000000,"room_id":"!r:domain","sender":"@u:domain","signatures":{},` +
		`"type":"m.room.message","unsigned":{"age_ts":1000000}}`
	const want = "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA"
	key, err := signing.DecodeSeed("domain", "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []matrix.RoomVersion{"1", "2"} {
		rules, err := version.Rules()
		if err != nil {
			t.Fatal(err)
		}
		e := &Event{json: []byte(fields), rules: rules, spans: locate([]byte(fields))}
		e.readStrings()
		if fits, err := e.contentHashFits(new(scratch)); !fits || err != nil {
			t.Errorf("version %s: the content hash differs (%v)", version, err)
		}
		signed, err := e.AddSignature(key)
		if err != nil {
			t.Fatal(err)
		}
		if sig, _ := signing.Signature(signed.raw(fieldSignatures), "domain", key.ID); sig != want {
			t.Errorf("version %s: signature %s, want %s", version, sig, want)
		}
	}
}
