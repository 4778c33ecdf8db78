package canonicaljson

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"
)

// benchCanonical is a message event of about 1 KiB in canonical form, and
// benchPretty is the same event as a peer might send it: with spaces, escapes
// and its keys in another order.
var (
	benchCanonical = []byte(`{"auth_events":["$fR0nzJ3z9q5zD1nPq2hC3o6Jx0yV4b7sW8cT5uKx1aE","$Qm1pX9sT4vB7wL2kN8yR5eZ0uH3jG6fD1cA4oI7xE2M","$z8Kq3WvN5tB1yR7uJ0hG4fD9sA2lP6oI3eX8cM5nT1Q"],` +
		`"content":{"body":"` + strings.Repeat("Le beffroi sonne à midi. ", 10) + `","format":"org.matrix.custom.html","formatted_body":"<p>` + strings.Repeat("bell ", 10) +
		`</p>","m.mentions":{"user_ids":["@alice:example.org"]},"msgtype":"m.text"},"depth":4711,"hashes":{"sha256":"5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"},` +
		`"origin_server_ts":1750000000000,"prev_events":["$T4vB7wL2kN8yR5eZ0uH3jG6fD1cA4oI7xE2MQm1pX9s"],"room_id":"!8Kq3WvN5tB1yR7uJ0hG4fD9sA2lP6oI3eX8cM5nT1Qz","sender":"@bob:example.org",` +
		`"signatures":{"example.org":{"ed25519:a1":"KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"}},"type":"m.room.message"}`)
	benchPretty = pretty(benchCanonical)
)

func pretty(raw []byte) []byte {
	var v map[string]json.RawMessage
	if err := json.Unmarshal(raw, &v); err != nil {
		panic(err)
	}
	out := "{"
	for _, key := range []string{"type", "sender", "room_id", "content", "depth", "prev_events", "auth_events", "origin_server_ts", "hashes", "signatures"} {
		if out != "{" {
			out += ", "
		}
		out += `"` + key + `": ` + strings.ReplaceAll(string(v[key]), "à", `\u00e0`)
	}
	return []byte(out + "}")
}

func BenchmarkCanonicalise(b *testing.B) {
	b.SetBytes(int64(len(benchPretty)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Canonicalise(benchPretty, Strict); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonicaliseCanonical(b *testing.B) {
	b.SetBytes(int64(len(benchCanonical)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Canonicalise(benchCanonical, Strict); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFloorEncodingJSON is what a round trip through maps costs.
func BenchmarkFloorEncodingJSON(b *testing.B) {
	b.SetBytes(int64(len(benchPretty)))
	b.ReportAllocs()
	for b.Loop() {
		var v any
		if err := json.Unmarshal(benchPretty, &v); err != nil {
			b.Fatal(err)
		}
		if _, err := json.Marshal(v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMembers(b *testing.B) {
	b.SetBytes(int64(len(benchCanonical)))
	b.ReportAllocs()
	for b.Loop() {
		if Field(benchCanonical, "type") == nil {
			b.Fatal("no type")
		}
	}
}

// BenchmarkFloorEd25519Verify is what one signature costs, to compare with.
func BenchmarkFloorEd25519Verify(b *testing.B) {
	private := ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", ed25519.SeedSize)))
	sig, public := ed25519.Sign(private, benchCanonical), private.Public().(ed25519.PublicKey)
	for b.Loop() {
		if !ed25519.Verify(public, benchCanonical, sig) {
			b.Fatal("bad signature")
		}
	}
}
