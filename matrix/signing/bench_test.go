package signing

import (
	"crypto/ed25519"
	"strings"
	"testing"
)

var benchBody = []byte(`{"origin":"domain","origin_server_ts":1750000000000,"pdus":[` + strings.Repeat(`{"content":{"body":"hello"},"type":"m.room.message"},`, 20) + `{}]}`)

func BenchmarkSign(b *testing.B) {
	key := specKey(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Sign(benchBody, key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyRequest(b *testing.B) {
	key := specKey(b)
	header, err := SignRequest(key, "PUT", "/_matrix/federation/v1/send/1", "there", benchBody)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		x, err := ParseXMatrix(header)
		if err != nil {
			b.Fatal(err)
		}
		if err := VerifyRequest(x, "PUT", "/_matrix/federation/v1/send/1", "there", benchBody, key.Public()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFloorEd25519Verify is the cost nobody can avoid.
func BenchmarkFloorEd25519Verify(b *testing.B) {
	key := specKey(b)
	sig := ed25519.Sign(key.Private, benchBody)
	for b.Loop() {
		if !ed25519.Verify(key.Public(), benchBody, sig) {
			b.Fatal("bad signature")
		}
	}
}
