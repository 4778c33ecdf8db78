package signing

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"beffroi/matrix"
)

// specSeed is the key of the specification's test vectors.
//
// https://spec.matrix.org/v1.19/appendices/#cryptographic-test-vectors
const specSeed = "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"

func specKey(t testing.TB) Key {
	t.Helper()
	key, err := DecodeSeed("domain", specSeed)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

const (
	emptySig = "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"
	dataSig  = "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"
)

func TestSign(t *testing.T) {
	t.Parallel()
	key := specKey(t)
	if got := EncodeBase64(key.Public()); got != "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI" {
		t.Errorf("public key %s", got)
	}
	tests := map[string]struct{ in, want string }{
		"spec, empty": {`{}`, `{"signatures":{"domain":{"ed25519:1":"` + emptySig + `"}}}`},
		"spec, data": {`{"one": 1, "two": "Two"}`,
			`{"one":1,"signatures":{"domain":{"ed25519:1":"` + dataSig + `"}},"two":"Two"}`},
		"unsigned stays, and is not signed": {`{"unsigned":{"age":1},"two":"Two","one":1}`,
			`{"one":1,"signatures":{"domain":{"ed25519:1":"` + dataSig + `"}},"two":"Two","unsigned":{"age":1}}`},
		"other signatures stay": {`{"signatures":{"z":{"ed25519:1":"Z"},"a":{"ed25519:1":"A"},"domain":{"ed25519:2":"D","ed25519:0":"E"}}}`,
			`{"signatures":{"a":{"ed25519:1":"A"},"domain":{"ed25519:0":"E","ed25519:1":"` + emptySig + `","ed25519:2":"D"},"z":{"ed25519:1":"Z"}}}`},
		"our own is replaced": {`{"signatures":{"domain":{"ed25519:1":"old"}}}`,
			`{"signatures":{"domain":{"ed25519:1":"` + emptySig + `"}}}`},
		"disguised integers": {`{"one":1.0,"two":"Two"}`,
			`{"one":1,"signatures":{"domain":{"ed25519:1":"` + dataSig + `"}},"two":"Two"}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Sign([]byte(test.in), key)
			if err != nil || string(got) != test.want {
				t.Fatalf("got %s (%v), want %s", got, err, test.want)
			}
			if err := Verify(got, "domain", key.ID, key.Public()); err != nil {
				t.Error(err)
			}
		})
	}
	for in, code := range map[string]string{
		`{`: "M_NOT_JSON", `[]`: "M_BAD_JSON", `"a"`: "M_BAD_JSON", `{"a":1.5}`: "M_BAD_JSON", `{"signatures":[]}`: "M_BAD_JSON", `{"signatures":1}`: "M_BAD_JSON",
	} {
		if got, err := Sign([]byte(in), key); !matrix.IsCode(err, code) {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, code)
		}
		if err := Verify([]byte(in), "domain", key.ID, key.Public()); !matrix.IsCode(err, code) {
			t.Errorf("%s: verify gives %v, want %s", in, err, code)
		}
		if ids := SignatureIDs([]byte(in), "domain"); ids != nil {
			t.Errorf("%s is signed with %v", in, ids)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	key := specKey(t)
	signed := func(sig string) string { return `{"signatures":{"domain":{"ed25519:1":` + sig + `}}}` }
	flipped := "L" + emptySig[1:]
	tests := map[string]struct {
		obj, entity string
		id          matrix.KeyID
		public      ed25519.PublicKey
	}{
		"no signatures":  {`{}`, "domain", "ed25519:1", key.Public()},
		"other entity":   {signed(`"` + emptySig + `"`), "other", "ed25519:1", key.Public()},
		"other key ID":   {signed(`"` + emptySig + `"`), "domain", "ed25519:2", key.Public()},
		"other data":     {strings.Replace(signed(`"`+emptySig+`"`), "{", `{"a":1,`, 1), "domain", "ed25519:1", key.Public()},
		"bad signature":  {signed(`"` + flipped + `"`), "domain", "ed25519:1", key.Public()},
		"not base64":     {signed(`"!!!!"`), "domain", "ed25519:1", key.Public()},
		"too short":      {signed(`"AAAA"`), "domain", "ed25519:1", key.Public()},
		"too long":       {signed(`"` + emptySig + `AAAA"`), "domain", "ed25519:1", key.Public()},
		"not a string":   {signed(`1`), "domain", "ed25519:1", key.Public()},
		"entity, string": {`{"signatures":{"domain":"x"}}`, "domain", "ed25519:1", key.Public()},
		"no public key":  {signed(`"` + emptySig + `"`), "domain", "ed25519:1", nil},
		"short key":      {signed(`"` + emptySig + `"`), "domain", "ed25519:1", key.Public()[:31]},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := Verify([]byte(test.obj), test.entity, test.id, test.public); !matrix.IsCode(err, "M_UNAUTHORIZED") {
				t.Errorf("got %v", err)
			}
		})
	}
	for name, sig := range map[string]string{"padded": emptySig + "==", "URL-safe": strings.NewReplacer("+", "-", "/", "_").Replace(emptySig)} {
		if err := Verify([]byte(signed(`"`+sig+`"`)), "domain", key.ID, key.Public()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignatureIDs(t *testing.T) {
	t.Parallel()
	obj := []byte(`{"signatures":{"we \"quote\"":{"ed25519:q":"x"},"a":{"ed25519:b":"x","ed25519:a_1":"x","rsa:1":"x","ed25519:":"x","ed25519":"x","ed25519:b-d":"x","curve25519:x":""}}}`)
	if got := SignatureIDs(obj, "a"); len(got) != 2 || got[0] != "ed25519:a_1" || got[1] != "ed25519:b" {
		t.Errorf("got %v", got)
	}
	if got := SignatureIDs(obj, `we "quote"`); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	if got := SignatureIDs(obj, "b"); got != nil {
		t.Errorf("got %v", got)
	}
}

func TestSeed(t *testing.T) {
	t.Parallel()
	key, err := NewKey("example.org", "a1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeSeed("example.org", " "+EncodeSeed(key)+"\n")
	if err != nil || again.ID != "ed25519:a1" || again.Server != "example.org" || !again.Private.Equal(key.Private) {
		t.Errorf("got %s of %s, %v", again.ID, again.Server, err)
	}
	for _, version := range []string{"", "a b", "a-b", "a:b"} {
		if _, err := NewKey("example.org", version); err == nil {
			t.Errorf("version %q was taken", version)
		}
	}
	const secret = "c2VjcmV0"
	for _, line := range []string{
		"", "ed25519", "ed25519 1", "rsa 1 " + secret, "ed25519 a-1 " + secret, "ed25519 1 " + secret, "ed25519 1 !!" + secret, specSeed + " " + secret,
	} {
		if _, err := DecodeSeed("example.org", line); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestBase64(t *testing.T) {
	t.Parallel()
	// https://spec.matrix.org/v1.19/appendices/#unpadded-base64
	for plain, text := range map[string]string{"": "", "f": "Zg", "fo": "Zm8", "foo": "Zm9v", "foob": "Zm9vYg", "fooba": "Zm9vYmE", "foobar": "Zm9vYmFy"} {
		if got := EncodeBase64([]byte(plain)); got != text {
			t.Errorf("%q: got %s, want %s", plain, got, text)
		}
	}
	if got := EncodeBase64URL([]byte{0xfb, 0xff}); got != "-_8" {
		t.Errorf("got %s", got)
	}
	for text, want := range map[string]string{
		"Zm8": "fo", "Zm8=": "fo", "Zg==": "f", "Zg=": "f", "Zh": "f", "Zm9": "fo", "+/8": "\xfb\xff", "-_8": "\xfb\xff", "": "",
	} {
		if got, err := DecodeBase64(text); err != nil || string(got) != want {
			t.Errorf("%q: got %q (%v), want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"Z", "Zg===", "Z g", "Zm9v\n", "Zm\n9v", "Z!", "+_", "Zg==Zg"} {
		if got, err := DecodeBase64(text); err == nil {
			t.Errorf("%q: got %q", text, got)
		}
	}
}
