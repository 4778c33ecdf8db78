package client_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"beffroi/federation/client"
	"beffroi/matrix"
	"beffroi/matrix/signing"
)

// examined is a server that can be wrong in one way.
type examined struct {
	keysOf  matrix.ServerName
	until   time.Duration // for how long the keys are valid
	spoil   bool          // the signature of the keys is wrong
	skew    time.Duration
	refuses int // the status of signed requests
	cert    string
	denied  bool

	fault string // "": none
}

func (x examined) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", time.Now().Add(x.skew).UTC().Format(http.TimeFormat))
	switch {
	case strings.HasPrefix(r.URL.Path, "/.well-known"):
		fmt.Fprint(w, `{"m.server":"b.example:99"}`)
	case r.URL.Path == "/_matrix/federation/v1/version":
		fmt.Fprint(w, `{"server":{"name":"Other","version":"7"}}`)
	case r.URL.Path == "/_matrix/key/v2/server":
		key, _ := signing.NewKey(x.keysOf, "k")
		raw := fmt.Sprintf(`{"server_name":%q,"verify_keys":{"ed25519:k":{"key":%q}},"old_verify_keys":{},"valid_until_ts":%d}`,
			x.keysOf, signing.EncodeBase64(key.Public()), time.Now().Add(x.until).UnixMilli())
		signed, _ := signing.Sign([]byte(raw), key)
		if x.spoil {
			signed = []byte(strings.Replace(string(signed), `"old_verify_keys":{}`, `"old_verify_keys":{},"x":1`, 1))
		}
		_, _ = w.Write(signed)
	case r.Header.Get("Authorization") == "" || x.refuses != 0:
		w.WriteHeader(max(x.refuses, http.StatusUnauthorized))
		fmt.Fprint(w, `{"errcode":"M_UNAUTHORIZED","error":"no"}`)
	default:
		fmt.Fprint(w, `{"chunk":[]}`)
	}
}

func TestExamine(t *testing.T) {
	t.Parallel()
	good := examined{keysOf: "a.example", until: time.Hour, cert: "a.example b.example"}
	with := func(change func(*examined)) examined {
		x := good
		change(&x)
		return x
	}
	for name, test := range map[string]examined{
		"good":              good,
		"keys of another":   with(func(x *examined) { x.keysOf, x.fault = "c.example", "keys of c.example" }),
		"keys are over":     with(func(x *examined) { x.until, x.fault = -time.Hour, "valid until" }),
		"keys are unsigned": with(func(x *examined) { x.spoil, x.fault = true, "has not signed" }),
		"clock":             with(func(x *examined) { x.skew, x.fault = 10*time.Minute, "clock" }),
		"does not know us":  with(func(x *examined) { x.refuses, x.fault = 401, "believe our signature" }),
		"wrong certificate": with(func(x *examined) { x.cert, x.fault = "a.example", "no address" }),
		"denied":            with(func(x *examined) { x.denied, x.fault = true, "policy" }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := &network{handler: test, names: strings.Fields(test.cert), records: dnsRecords("a.example. A", "9.1.1.1", "b.example. A", "9.2.2.2"),
				listens: map[string]bool{"9.1.1.1:443": true, "9.2.2.2:99": true}}
			n.start(t)
			c := n.client(t, func(o *client.Options) {
				if test.denied {
					o.Gate = gate{denied: []matrix.ServerName{"a.example"}}
				}
			})
			x := c.Examine(t.Context(), "a.example")
			if test.fault == "" && len(x.Faults) > 0 || test.fault != "" && !slices.ContainsFunc(x.Faults, func(f string) bool { return strings.Contains(f, test.fault) }) {
				t.Fatalf("faults %q, want %q", x.Faults, test.fault)
			}
			if test.denied {
				if len(n.asked) > 0 {
					t.Errorf("names were resolved: %v", n.asked)
				}
				return
			}
			if x.WellKnown != "b.example:99" || len(x.Addresses) != 1 || x.Addresses[0].Target != "b.example:99" {
				t.Errorf("delegated to %q at %+v", x.WellKnown, x.Addresses)
			}
			if test.fault == "" && (x.Software != "Other 7" || !x.KnowsUs || !x.Keys["ed25519:k"].Signed || x.Addresses[0].TLS != "TLS 1.3") {
				t.Errorf("%+v", x)
			}
			if _, err := json.Marshal(x); err != nil {
				t.Error(err)
			}
		})
	}
}
