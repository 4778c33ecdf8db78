package signing

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"beffroi/matrix"
)

func TestRequest(t *testing.T) {
	t.Parallel()
	key := specKey(t)
	const uri = "/_matrix/federation/v1/send/1?x=%2F"
	body := []byte(`{"pdus":[{"b":1.50,"a":1e3}]}`)
	header, err := SignRequest(key, "PUT", uri, "there", body)
	if err != nil {
		t.Fatal(err)
	}
	x, err := ParseXMatrix(header)
	if err != nil || x.Origin != "domain" || x.Destination != "there" || x.Key != "ed25519:1" {
		t.Fatalf("%s is read as %+v (%v)", header, x, err)
	}
	// What is signed, put together by hand from the text of the specification.
	signed, err := DecodeBase64(x.Sig)
	message := `{"content":{"pdus":[{"a":1e3,"b":1.50}]},"destination":"there","method":"PUT","origin":"domain","uri":"` + uri + `"}`
	if err != nil || !ed25519.Verify(key.Public(), []byte(message), signed) {
		t.Error("something else was signed")
	}

	other := specKey(t).Public()
	other[0] ^= 1
	noDestination, wrongOrigin, wrongDestination := x, x, x
	noDestination.Destination = ""
	wrongOrigin.Origin = "elsewhere"
	wrongDestination.Destination = "elsewhere"
	tests := map[string]struct {
		x                        XMatrix
		method, uri, destination string
		body                     string
		public                   ed25519.PublicKey
		code                     string
	}{
		"as it was sent":           {x, "PUT", uri, "there", string(body), key.Public(), ""},
		"other white space":        {x, "PUT", uri, "there", `{ "pdus": [ {"a":1e3, "b":1.50} ] }`, key.Public(), ""},
		"no destination in header": {noDestination, "PUT", uri, "there", string(body), key.Public(), ""},
		"other method":             {x, "POST", uri, "there", string(body), key.Public(), "M_UNAUTHORIZED"},
		"other path":               {x, "PUT", uri + "x", "there", string(body), key.Public(), "M_UNAUTHORIZED"},
		"other body":               {x, "PUT", uri, "there", `{"pdus":[{"a":1e3,"b":1.5}]}`, key.Public(), "M_UNAUTHORIZED"},
		"no body":                  {x, "PUT", uri, "there", "", key.Public(), "M_UNAUTHORIZED"},
		"other destination":        {x, "PUT", uri, "elsewhere", string(body), key.Public(), "M_UNAUTHORIZED"},
		"destination in header":    {wrongDestination, "PUT", uri, "there", string(body), key.Public(), "M_UNAUTHORIZED"},
		"other origin":             {wrongOrigin, "PUT", uri, "there", string(body), key.Public(), "M_UNAUTHORIZED"},
		"other key":                {x, "PUT", uri, "there", string(body), other, "M_UNAUTHORIZED"},
		"body is not JSON":         {x, "PUT", uri, "there", "{", key.Public(), "M_NOT_JSON"},
		"duplicate key":            {x, "PUT", uri, "there", `{"pdus":[],"pdus":[]}`, key.Public(), "M_BAD_JSON"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := []byte(test.body)
			if test.body == "" {
				body = nil
			}
			err := VerifyRequest(test.x, test.method, test.uri, matrix.ServerName(test.destination), body, test.public)
			if test.code == "" && err != nil || test.code != "" && !matrix.IsCode(err, test.code) {
				t.Errorf("got %v, want %q", err, test.code)
			}
		})
	}
	if _, err := SignRequest(key, "PUT", uri, "there", []byte("{")); !matrix.IsCode(err, "M_NOT_JSON") {
		t.Errorf("a body that is not JSON: %v", err)
	}
	get, err := SignRequest(key, "GET", uri, "there", nil)
	if err != nil {
		t.Fatal(err)
	}
	if x, err = ParseXMatrix(get); err != nil || VerifyRequest(x, "GET", uri, "there", nil, key.Public()) != nil {
		t.Errorf("GET: %v", err)
	}
}

func TestParseXMatrix(t *testing.T) {
	t.Parallel()
	full := XMatrix{"a.example:8448", "b.example", "ed25519:k_1", "ab+/c"}
	tests := map[string]struct {
		header string
		want   XMatrix
	}{
		"as we write it":      {full.String(), full},
		"as the spec says":    {`X-Matrix origin="a.example:8448",destination="b.example",key="ed25519:k_1",sig="ab+/c"`, full},
		"no quotes":           {`X-Matrix origin=a.example:8448,destination=b.example,key=ed25519:k_1,sig=ab+/c`, full},
		"padding, no quotes":  {`X-Matrix origin=a.example:8448,destination=b.example,key=ed25519:k_1,sig=ab==`, XMatrix{full.Origin, full.Destination, full.Key, "ab=="}},
		"spaces and tabs":     {"X-Matrix   sig=\"ab+/c\" \t,\t origin=\"a.example:8448\" , key=\"ed25519:k_1\",destination=b.example ", full},
		"other case":          {`x-mAtRiX ORIGIN="a.example:8448",Destination="b.example",KEY="ed25519:k_1",Sig="ab+/c"`, full},
		"backslashes":         {`X-Matrix origin="\a.exampl\e:8448",destination="b.example",key="ed25519:k_1",sig="ab+\/c"`, full},
		"unknown parameters":  {`X-Matrix x="\",\"",origin="a.example:8448",destination="b.example",y=1,key="ed25519:k_1",sig="ab+/c"`, full},
		"signature for sig":   {`X-Matrix origin="a.example:8448",destination="b.example",key="ed25519:k_1",signature="ab+/c"`, full},
		"empty elements":      {`X-Matrix ,origin="a.example:8448",,destination="b.example",key="ed25519:k_1",sig="ab+/c",`, full},
		"no destination":      {`X-Matrix origin="a.example:8448",key="ed25519:k_1",sig="ab+/c"`, XMatrix{full.Origin, "", full.Key, full.Sig}},
		"IPv6":                {`X-Matrix origin="[::1]:80",key="ed25519:k_1",sig="ab+/c"`, XMatrix{"[::1]:80", "", full.Key, full.Sig}},
		"spaces around equal": {`X-Matrix origin = "a.example:8448", key = "ed25519:k_1", sig = "ab+/c"`, XMatrix{full.Origin, "", full.Key, full.Sig}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := ParseXMatrix(test.header); err != nil || got != test.want {
				t.Errorf("got %+v (%v), want %+v", got, err, test.want)
			}
		})
	}
}

func TestParseXMatrixRefuses(t *testing.T) {
	t.Parallel()
	const rest = `,key="ed25519:1",sig="a"`
	for name, header := range map[string]string{
		"nothing":            ``,
		"scheme alone":       `X-Matrix`,
		"no parameters":      `X-Matrix `,
		"other scheme":       `Bearer origin="a"` + rest,
		"no origin":          `X-Matrix key="ed25519:1",sig="a"`,
		"empty origin":       `X-Matrix origin=""` + rest,
		"bad origin":         `X-Matrix origin="a b"` + rest,
		"bad destination":    `X-Matrix origin="a",destination="/"` + rest,
		"empty destination":  `X-Matrix origin="a",destination=""` + rest,
		"no key":             `X-Matrix origin="a",sig="a"`,
		"bad key":            `X-Matrix origin="a",key="1",sig="a"`,
		"other algorithm":    `X-Matrix origin="a",key="rsa:1",sig="a"`,
		"no signature":       `X-Matrix origin="a",key="ed25519:1"`,
		"empty signature":    `X-Matrix origin="a",key="ed25519:1",sig=""`,
		"origin twice":       `X-Matrix origin="a",ORIGIN="b"` + rest,
		"open quote":         `X-Matrix origin="a` + rest[:4],
		"open escape":        `X-Matrix origin="a\`,
		"no comma":           `X-Matrix origin="a" key="ed25519:1",sig="a"`,
		"text after quote":   `X-Matrix origin="a"b` + rest,
		"quote inside token": `X-Matrix origin=a"b"` + rest,
		"no value":           `X-Matrix origin=` + rest,
		"no name":            `X-Matrix ="a"` + rest,
		"name with a space":  `X-Matrix or igin="a"` + rest,
		"no equal sign":      `X-Matrix origin`,
		"too long":           `X-Matrix origin="a",x="` + strings.Repeat("x", maxHeaderBytes) + `"` + rest,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := ParseXMatrix(header); !matrix.IsCode(err, "M_UNAUTHORIZED") {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	if got := (XMatrix{"a", "", "ed25519:1", `x"\y`}).String(); got != `X-Matrix origin="a",key="ed25519:1",sig="x\"\\y"` {
		t.Errorf("got %s", got)
	}
}

// FuzzParseXMatrix checks that what was read is read again from what we write.
func FuzzParseXMatrix(f *testing.F) {
	for _, seed := range []string{
		`X-Matrix origin="a.example",destination="b.example",key="ed25519:1",sig="abc"`,
		`x-matrix ORIGIN=a.example:8448 , key=ed25519:1,sig=abc==,x="\"\\"`,
		`X-Matrix origin="[::1]:80",key="ed25519:1",signature="a"`, `X-Matrix origin="a`, `X-Matrix ,,=`, `Bearer x`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		x, err := ParseXMatrix(header)
		if err != nil {
			if !matrix.IsCode(err, "M_UNAUTHORIZED") {
				t.Fatalf("%q: %v", header, err)
			}
			return
		}
		if again, err := ParseXMatrix(x.String()); err != nil || again != x {
			t.Fatalf("%q is %+v, whose header %s is %+v (%v)", header, x, x, again, err)
		}
	})
}
