package keyring_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"beffroi/federation/keyring"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/signing"
)

func TestVerifyRequest(t *testing.T) {
	t.Parallel()
	const path = "/_matrix/federation/v1/send/a%2Fb?x=%20y"
	c, n := newClock(), newNetwork(t)
	p, gone := n.peer(t, "peer.example"), n.peer(t, "gone.example")
	key, old, unknown := newKey(t, p.name, "1"), newKey(t, p.name, "0"), newKey(t, p.name, "9")
	p.set(keys{
		Server: p.name, Verify: map[matrix.KeyID]keyJSON{key.ID: public(key)},
		Old: map[matrix.KeyID]keyJSON{old.ID: expired(old, c.Now().Add(time.Hour))}, ValidUntil: c.Now().Add(time.Hour).UnixMilli(),
	}.sign(t, key))
	r := n.ring(t, testkit.OpenDB(t, "sqlite"), keyring.Own{Current: newKey(t, "self.example", "1")}, c, nil)
	type signed struct {
		key         signing.Key
		method, uri string
		destination matrix.ServerName
		body        string
	}
	good := signed{key, "PUT", path, "self.example", `{"a": 1}`}
	with := func(change func(*signed)) signed {
		s := good
		change(&s)
		return s
	}
	tests := map[string]struct {
		signed []signed
		sent   string
		ok     bool
	}{
		"good":                 {[]signed{good}, `{"a":1}`, true},
		"name in upper case":   {[]signed{with(func(s *signed) { s.destination = "SELF.example" })}, `{"a":1}`, true},
		"two keys, one known":  {[]signed{with(func(s *signed) { s.key = unknown }), good}, `{"a":1}`, true},
		"other body":           {[]signed{good}, `{"a":2}`, false},
		"no body":              {[]signed{good}, ``, false},
		"other method":         {[]signed{with(func(s *signed) { s.method = "POST" })}, `{"a":1}`, false},
		"other path":           {[]signed{with(func(s *signed) { s.uri += "z" })}, `{"a":1}`, false},
		"path unescaped":       {[]signed{with(func(s *signed) { s.uri = "/_matrix/federation/v1/send/a/b?x=%20y" })}, `{"a":1}`, false},
		"for another server":   {[]signed{with(func(s *signed) { s.destination = "other.example" })}, `{"a":1}`, false},
		"by an old key":        {[]signed{with(func(s *signed) { s.key = old })}, `{"a":1}`, false},
		"by an unknown key":    {[]signed{with(func(s *signed) { s.key = unknown })}, `{"a":1}`, false},
		"keys out of reach":    {[]signed{with(func(s *signed) { s.key = newKey(t, gone.name, "1") })}, `{"a":1}`, false},
		"in another's name":    {[]signed{with(func(s *signed) { s.key.Private = unknown.Private })}, `{"a":1}`, false},
		"body that is no JSON": {[]signed{good}, `{"a":1`, false},
	}
	for name, test := range tests {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPut, path, strings.NewReader(test.sent))
		for _, s := range test.signed {
			header, err := signing.SignRequest(s.key, s.method, s.uri, s.destination, []byte(s.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Add("Authorization", header)
		}
		credentials, err := keyring.ParseCredentials(req)
		if err != nil || credentials.Origin != test.signed[0].key.Server {
			t.Errorf("%s: origin %s, %v", name, credentials.Origin, err)
		}
		err = r.VerifyRequest(t.Context(), credentials, req, []byte(test.sent))
		if (err == nil) != test.ok {
			t.Errorf("%s: %v, want ok %v", name, err, test.ok)
		}
		if want := "M_UNAUTHORIZED"; err != nil && name != "body that is no JSON" && !matrix.IsCode(err, want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	c.add(2 * time.Hour)
	p.set(nil)
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/x", nil)
	header, err := signing.SignRequest(key, "GET", "/x", "self.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", header)
	credentials, err := keyring.ParseCredentials(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.VerifyRequest(t.Context(), credentials, req, nil); !matrix.IsCode(err, "M_UNAUTHORIZED") {
		t.Errorf("with a key that has expired: %v", err)
	}
}

func TestParseCredentials(t *testing.T) {
	t.Parallel()
	const good = `X-Matrix origin="a.example",destination="b.example",key="ed25519:1",sig="AAAA"`
	tests := map[string]struct {
		headers []string
		ok      bool
	}{
		"none":        {nil, false},
		"one":         {[]string{good}, true},
		"two":         {[]string{good, good}, true},
		"too many":    {[]string{good, good, good, good, good}, false},
		"bearer":      {[]string{"Bearer x"}, false},
		"two origins": {[]string{good, strings.Replace(good, "a.example", "c.example", 1)}, false},
		"too long":    {[]string{good + `,x="` + strings.Repeat("x", 5000) + `"`}, false},
	}
	for name, test := range tests {
		c, err := keyring.ParseCredentials(&http.Request{Header: http.Header{"Authorization": test.headers}})
		if (err == nil) != test.ok || test.ok && c.Origin != "a.example" || err != nil && !matrix.IsCode(err, "M_UNAUTHORIZED") {
			t.Errorf("%s: %s, %v", name, c.Origin, err)
		}
	}
}
