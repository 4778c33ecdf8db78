package event_test

import (
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
	"beffroi/matrix/signing"
)

// specSeed is the key of the specification's test vectors. Its last character
// has trailing bits that are not zero.
//
// https://spec.matrix.org/v1.19/appendices/#cryptographic-test-vectors
const specSeed = "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"

func specKey(t testing.TB) signing.Key {
	t.Helper()
	key, err := signing.DecodeSeed("domain", specSeed)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rulesOf(t testing.TB, version matrix.RoomVersion) *matrix.VersionRules {
	t.Helper()
	rules, err := version.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// withHash puts a hash and no signatures into an event, so that it can be parsed.
func withHash(fields, hash string) []byte {
	out := canonicaljson.SetField([]byte(fields), "hashes", []byte(`{"sha256":"`+hash+`"}`))
	return canonicaljson.SetField(out, "signatures", []byte("{}"))
}

const (
	minimalEvent = `{"auth_events":[],"content":{},"depth":3,"origin":"domain","origin_server_ts":1000000,"prev_events":[],"room_id":"!x:domain","sender":"@a:domain","type":"X"}`
	createV12    = `{"auth_events":[],"content":{"additional_creators":["@b:domain"],"room_version":"12"},"depth":1,"origin_server_ts":1000000,"prev_events":[],"sender":"@a:domain","state_key":"","type":"m.room.create"}`
	createV11    = `{"auth_events":[],"content":{"room_version":"11"},"depth":1,"origin_server_ts":1000000,"prev_events":[],"room_id":"!r:domain","sender":"@a:domain","state_key":"","type":"m.room.create"}`

	minimalHash    = "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"
	minimalSig     = "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"
	minimalSigV11  = "Jxp+1glFcZM+nnHpY0EkedRR7u0VmKsJYGnQqIvqus3UvL5X/p1y6wSkLhGoTBel6MZ9lrMIzUqrjqFquWJKBw"
	minimalID      = "$8yif6p8EqgoSten2BLje9ntKm720NyFLWQv9tn8memc"
	minimalIDV11   = "$70O_oKlXzFbkfu0KE88USi98DjSWrOELrPj-8tisl8I"
	createV12Room  = "!_9Pa6R02JAYz85odb3UWKcB2gwMxfhmW4wXAohO3miY"
	createV12Event = "$_9Pa6R02JAYz85odb3UWKcB2gwMxfhmW4wXAohO3miY"
)

// TestVectors checks hashing, signing and event IDs against the values of the
// specification, and against those derived from them for later versions.
func TestVectors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		version             matrix.RoomVersion
		fields              string
		hash, sig, id, room string
	}{
		"minimal, v3":  {"3", minimalEvent, minimalHash, minimalSig, minimalID, "!x:domain"},
		"minimal, v4":  {"4", minimalEvent, minimalHash, minimalSig, minimalID, "!x:domain"},
		"minimal, v5":  {"5", minimalEvent, minimalHash, minimalSig, minimalID, "!x:domain"},
		"minimal, v6":  {"6", minimalEvent, minimalHash, minimalSig, minimalID, "!x:domain"},
		"minimal, v7":  {"7", minimalEvent, minimalHash, minimalSig, minimalID, "!x:domain"},
		"minimal, v8":  {"8", minimalEvent, minimalHash, minimalSig, minimalID, "!x:domain"},
		"minimal, v9":  {"9", minimalEvent, minimalHash, minimalSig, minimalID, "!x:domain"},
		"minimal, v10": {"10", minimalEvent, minimalHash, minimalSig, minimalID, "!x:domain"},
		"minimal, v11": {"11", minimalEvent, minimalHash, minimalSigV11, minimalIDV11, "!x:domain"},
		"minimal, v12": {"12", minimalEvent, minimalHash, minimalSigV11, minimalIDV11, "!x:domain"},
		"create, v11":  {"11", createV11, "Ps8hj2OnOSibP5U0izvS/z5UPtQOT8z73SfvK0W6pVs", "", "$_WsicK13CXN4QWf5RJ6rPliYN2yXg-86tTo-KGVWkhk", "!r:domain"},
		"create, v12":  {"12", createV12, "HJuZnsuAhZ3Siic8odoCdiFhJWvC5d1yx68TKMRipRg", "JYfm4DjoEITQSKJG3MgKgmcLuLJiRpUgJMqDU5Rf1kkK1XyD2GSrUK3o6tUNIm6hGz4CLEnuEmkLtKlk32nsBg", createV12Event, createV12Room},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := event.ParseUntrusted(withHash(test.fields, test.hash), rulesOf(t, test.version))
			if err != nil {
				t.Fatal(err)
			}
			if e.HashMismatch() {
				t.Error("the content hash differs")
			}
			if e.ID() != matrix.EventID(test.id) || e.RoomID() != matrix.RoomID(test.room) {
				t.Errorf("event %s in %s, want %s in %s", e.ID(), e.RoomID(), test.id, test.room)
			}
			key := specKey(t)
			signed, err := e.AddSignature(key)
			if err != nil {
				t.Fatal(err)
			}
			sig, _ := signing.Signature(canonicaljson.Field(signed.JSON(), "signatures"), "domain", key.ID)
			if test.sig != "" && sig != test.sig {
				t.Errorf("signature %s, want %s", sig, test.sig)
			}
			if err := signed.VerifySignature("domain", key.ID, key.Public()); err != nil {
				t.Error(err)
			}
		})
	}
}

// otherKey is the key of a server other than that of the vectors.
func otherKey(t testing.TB, server matrix.ServerName) signing.Key {
	t.Helper()
	key, err := signing.NewKey(server, "k")
	if err != nil {
		t.Fatal(err)
	}
	return key
}
