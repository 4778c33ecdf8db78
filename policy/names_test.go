package policy

import (
	"strings"
	"testing"

	"beffroi/matrix"
)

func TestNormaliseDomain(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"gouv.fr":                         "gouv.fr",
		"GOUV.Fr":                         "gouv.fr",
		"gouv.fr.":                        "gouv.fr",
		"gouv.fr..":                       "",
		"":                                "",
		".":                               "",
		".fr":                             "",
		"a..fr":                           "",
		"ministère.fr":                    "xn--ministre-60a.fr",
		"Ministère.fr":                    "xn--ministre-60a.fr",
		"xn--ministre-60a.fr":             "xn--ministre-60a.fr",
		"XN--MINISTRE-60A.fr":             "xn--ministre-60a.fr",
		"xn--.fr":                         "",
		"xn--zzzz99999999.fr":             "",
		"gоuv.fr":                         "xn--guv-sed.fr", // a Cyrillic o is another name
		"ｇｏｕｖ.fr":                         "",               // full width would have to be mapped
		"gouv。fr":                         "",               // so would an ideographic full stop
		"\u212aiosk.fr":                   "",               // and a Kelvin sign
		"go\u00aduv.fr":                   "",               // and a soft hyphen
		"gouv.fr\x00":                     "",
		"gouv .fr":                        "",
		"gouv_x.fr":                       "",
		"-gouv.fr":                        "",
		"gouv-.fr":                        "",
		"127.0.0.1":                       "",
		"[::1]":                           "",
		"gouv.fr:443":                     "",
		"a@gouv.fr":                       "",
		"*.gouv.fr":                       "",
		strings.Repeat("a", 64) + ".fr":   "",
		strings.Repeat("a", 63) + ".fr":   strings.Repeat("a", 63) + ".fr",
		strings.Repeat("a.", 126) + "fr":  "", // 254 bytes
		strings.Repeat("a.", 125) + "fr":  strings.Repeat("a.", 125) + "fr",
		strings.Repeat(".", 65536):        "",
		strings.Repeat("é", 65536) + ".f": "",
		"\xff\xfe.fr":                     "",
	} {
		if got, err := NormaliseDomain(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%.40q: got %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestParseEmail(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a@gouv.fr":                            "gouv.fr",
		"Prenom.Nom@GOUV.fr":                   "gouv.fr",
		"a+tag@gouv.fr":                        "gouv.fr",
		"o'neil@gouv.fr":                       "gouv.fr",
		"a@ministère.fr":                       "xn--ministre-60a.fr",
		"a@gоuv.fr":                            "xn--guv-sed.fr",
		"a@evil@gouv.fr":                       "",
		"a@evil.fr@gouv.fr":                    "",
		`"a@evil"@gouv.fr`:                     "",
		`"a"@gouv.fr`:                          "",
		`a\@evil@gouv.fr`:                      "",
		"a@gouv.fr.":                           "",
		"a.@gouv.fr":                           "",
		".a@gouv.fr":                           "",
		"a..b@gouv.fr":                         "",
		"a@[127.0.0.1]":                        "",
		"a@127.0.0.1":                          "",
		"a@gouv.fr:25":                         "",
		"A <a@gouv.fr>":                        "",
		"<a@gouv.fr>":                          "",
		"a@gouv.fr(comment)":                   "",
		"a(comment)@gouv.fr":                   "",
		" a@gouv.fr":                           "",
		"a@gouv.fr ":                           "",
		"a@gouv.fr\r\nBcc: b@evil":             "",
		"a@gouv.fr,b@evil.fr":                  "",
		"@gouv.fr":                             "",
		"a@":                                   "",
		"a":                                    "",
		"":                                     "",
		"é@gouv.fr":                            "",
		"a%evil.fr@gouv.fr":                    "gouv.fr", // a plain local part today
		strings.Repeat("a", 65) + "@gouv.fr":   "",
		"a@" + strings.Repeat(".", 64<<10):     "",
		"a@" + strings.Repeat("a.", 126) + "f": "", // over 254 bytes
	} {
		got, err := ParseEmail(in)
		if got.Domain != want || (err == nil) != (want != "") {
			t.Errorf("%.40q: got %+v, %v; want %q", in, got, err, want)
		}
		if err == nil && !strings.HasPrefix(in, got.Local+"@") {
			t.Errorf("%q: local part %q", in, got.Local)
		}
	}
}

func TestServerKey(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"gouv.fr":                   "gouv.fr",
		"GOUV.FR.":                  "gouv.fr",
		"gouv.fr:8448":              "gouv.fr:8448",
		"gouv.fr.:08448":            "gouv.fr:8448",
		"gouv.fr:":                  "",
		"gouv.fr:0":                 "",
		"gouv.fr:65536":             "",
		"gouv.fr:84a":               "",
		"gouv.fr:1:2":               "",
		"127.0.0.1:80":              "127.0.0.1:80",
		"[::1]":                     "[::1]",
		"[0:0:0:0:0:0:0:1]:443":     "[::1]:443",
		"[2001:DB8::A]":             "[2001:db8::a]",
		"[::1":                      "",
		"[::1]x":                    "",
		"[::1%eth0]":                "",
		"[127.0.0.1]":               "",
		"":                          "",
		"gоuv.fr":                   "",
		"a/b.fr":                    "",
		"a@gouv.fr":                 "",
		strings.Repeat(".", 64<<10): "",
		strings.Repeat("a", 254):    "",
		strings.Repeat("a", 253):    strings.Repeat("a", 253),
	} {
		var buf nameBuffer
		got, _, ok := serverKey(&buf, in)
		if string(got) != want && ok || ok != (want != "") {
			t.Errorf("%.40q: got %q, %v; want %q", in, got, ok, want)
		}
	}
}

// nameCorpus is what evil minds and honest slips have produced.
var nameCorpus = []string{
	"gouv.fr", "evilgouv.fr", "x.gouv.fr", "GOUV.FR", "gouv.fr.", "gouv.fr..", "a@evil@gouv.fr", `"a@b"@gouv.fr`, "gоuv.fr", "ｇｏｕｖ.fr",
	"gouv。fr", "xn--guv-sed.fr", "gouv.fr:8448", "gouv.fr:08448", "127.0.0.1", "[::1]:1", "*.gouv.fr", "*.*.fr", "*", "*.",
	"a@gouv.fr", "a@gouv.fr ", "a.b+c@x.gouv.fr", strings.Repeat(".", 64<<10), strings.Repeat("a.", 200), "faß.de", "\u200dgouv.fr", "xn--", "ſ.fr",
}

func FuzzNames(f *testing.F) {
	for _, s := range nameCorpus {
		f.Add(s, "gouv.fr")
	}
	f.Fuzz(func(t *testing.T, s, other string) {
		checkDomain(t, s, other)
		checkServer(t, s, other)
		if e, err := ParseEmail(s); err == nil {
			if strings.Count(s, "@") != 1 || !strings.HasPrefix(s, e.Local+"@") || len(s) > maxEmailBytes {
				t.Fatalf("%q was read as %+v", s, e)
			}
			if again, err := ParseEmail(e.Local + "@" + e.Domain); err != nil || again != e {
				t.Fatalf("%q is read as %+v and then as %+v, %v", s, e, again, err)
			}
		}
	})
}

// checkDomain holds that a normalised name is plain, is its own normal form,
// and is found under itself and the names above it only.
func checkDomain(t *testing.T, s, other string) {
	name, err := NormaliseDomain(s)
	if err != nil {
		return
	}
	if again, err := NormaliseDomain(name); err != nil || again != name {
		t.Fatalf("%q: %q is not stable: %q, %v", s, name, again, err)
	}
	if isASCII(s) && strings.TrimSuffix(lowerASCII(s), ".") != name || !isASCII(s) && !strings.Contains(name, "xn--") {
		t.Fatalf("%q was mapped to %q", s, name)
	}
	x := newIndex[bool](0)
	p, err := parsePattern(other)
	if err != nil {
		return
	}
	x.of(p)[p.name] = true
	_, found := x.find([]byte(name), len(name))
	want := name == p.name
	if p.below {
		want = strings.HasSuffix(name, "."+p.name)
	}
	if found != want {
		t.Fatalf("%q matches %q: %v", name, p, found)
	}
}

func checkServer(t *testing.T, s, other string) {
	var buf, second nameBuffer
	key, host, ok := serverKey(&buf, s)
	if !ok {
		return
	}
	again, hostAgain, ok := serverKey(&second, string(key))
	if !ok || string(again) != string(key) || hostAgain != host {
		t.Fatalf("%q: %q is not stable: %q, %v", s, key, again, ok)
	}
	p, err := parseServerPattern(other)
	if err != nil {
		return
	}
	x := newIndex[bool](0)
	x.of(p)[p.name] = true
	_, found := x.find(key, host)
	want := string(key) == p.name || string(key[:host]) == p.name
	if p.below {
		want = strings.HasSuffix(string(key[:host]), "."+p.name) && host > len(p.name)+1 && !isAddress(key[:host])
	}
	if found != want {
		t.Fatalf("%q matches %q: %v", key, p, found)
	}
}

func TestServerPatterns(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"x.example": "x.example", "X.Example:8448": "x.example:8448", "*.x.example": "*.x.example", "ministère.fr:1": "xn--ministre-60a.fr:1",
		"10.0.0.1:8448": "10.0.0.1:8448", "[::1]:8448": "[::1]:8448", "localhost:8448": "localhost:8448", "localhost": "localhost",
		"*.x.example:1": "", "*": "", "*.": "", "x.*.example": "", "*x.example": "", "x.example:": "", "": "", "a b": "", "*.10.0.0.1": "",
	} {
		p, err := parseServerPattern(in)
		if err == nil && p.String() != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", in, p, err, want)
		}
	}
}

func TestWildcardNeverMatchesAddresses(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, `{version: 1, organisations: [{id: a, class: government, homeservers: [{name: a.example}, {name: "*.b.example"}]}]}`, "a.example")
	for name, want := range map[matrix.ServerName]Reason{
		"x.b.example": "", "x.y.b.example:443": "", "b.example": ReasonUnknownServer, ".b.example": ReasonUnknownServer,
		"xb.example": ReasonUnknownServer, "10.0.0.1": ReasonUnknownServer,
	} {
		if d := s.Decide(&Request{Action: ActionFederateIn, Server: name, Now: noon}); d.Reason != want {
			t.Errorf("%s: %q, want %q", name, d.Reason, want)
		}
	}
}
