package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"beffroi/federation/client"
	"beffroi/matrix"
)

// A case of discovery: what the network has, and how the request must arrive.
type discovery struct {
	name      matrix.ServerName
	records   map[string][]string
	wellKnown map[string]string // host to body, or "redirect <URL>"
	static    map[matrix.ServerName]string
	allow     []netip.Prefix
	listens   string // addresses, separated by spaces
	cert      string // names, separated by spaces

	dialled string // the last address, "" where nothing may arrive
	host    string
	sni     string
	never   string // an address that must not be dialled
}

// https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
var discoveries = map[string]discovery{
	"IP literal": {
		name: "9.1.1.1", listens: "9.1.1.1:8448", cert: "9.1.1.1", dialled: "9.1.1.1:8448", host: "9.1.1.1"},
	"IP literal and port": {
		name: "9.1.1.1:5678", listens: "9.1.1.1:5678", cert: "9.1.1.1", dialled: "9.1.1.1:5678", host: "9.1.1.1:5678"},
	"IPv6 literal and port": {
		name: "[2606:4700::9]:5678", listens: "[2606:4700::9]:5678", cert: "2606:4700::9",
		dialled: "[2606:4700::9]:5678", host: "[2606:4700::9]:5678"},
	"IPv6 literal": {
		name: "[2606:4700::9]", listens: "[2606:4700::9]:8448", cert: "2606:4700::9",
		dialled: "[2606:4700::9]:8448", host: "[2606:4700::9]"},
	"name and port": {
		name: "a.example:8888", records: dnsRecords("a.example. A", "9.1.1.1"), listens: "9.1.1.1:8888 9.1.1.1:443", cert: "a.example",
		wellKnown: map[string]string{"a.example": `{"m.server":"wrong.example"}`},
		dialled:   "9.1.1.1:8888", host: "a.example:8888", sni: "a.example"},
	"name and port 443": {
		name: "a.example:443", records: dnsRecords("a.example. A", "9.1.1.1"), listens: "9.1.1.1:443", cert: "a.example",
		dialled: "9.1.1.1:443", host: "a.example:443", sni: "a.example"},
	"IPv6 address of a name": {
		name: "a.example:8888", records: dnsRecords("a.example. AAAA", "2606:4700::9"), listens: "[2606:4700::9]:8888", cert: "a.example",
		dialled: "[2606:4700::9]:8888", host: "a.example:8888", sni: "a.example"},
	"delegated to an IP literal": {
		name: "a.example", records: dnsRecords("a.example. A", "9.1.1.1"), listens: "9.1.1.1:443 9.2.2.2:8448", cert: "a.example 9.2.2.2",
		wellKnown: map[string]string{"a.example": `{"m.server":"9.2.2.2"}`},
		dialled:   "9.2.2.2:8448", host: "9.2.2.2"},
	"delegated to an IP literal and port": {
		name: "a.example", records: dnsRecords("a.example. A", "9.1.1.1"), listens: "9.1.1.1:443 9.2.2.2:99", cert: "a.example 9.2.2.2",
		wellKnown: map[string]string{"a.example": `{"m.server":"9.2.2.2:99"}`},
		dialled:   "9.2.2.2:99", host: "9.2.2.2:99"},
	"delegated to a name and port": {
		name: "a.example", records: dnsRecords("a.example. A", "9.1.1.1", "b.example. A", "9.2.2.2"),
		listens: "9.1.1.1:443 9.2.2.2:99", cert: "a.example b.example",
		wellKnown: map[string]string{"a.example": `{"m.server":"b.example:99"}`},
		dialled:   "9.2.2.2:99", host: "b.example:99", sni: "b.example"},
	"delegated to a name with SRV": {
		name: "a.example", records: dnsRecords("a.example. A", "9.1.1.1", "_matrix-fed._tcp.b.example. SRV", "10 1 77 c.example.",
			"_matrix._tcp.b.example. SRV", "10 1 66 d.example.", "c.example. A", "9.3.3.3"),
		listens: "9.1.1.1:443 9.3.3.3:77", cert: "a.example b.example",
		wellKnown: map[string]string{"a.example": `{"m.server":"b.example"}`},
		dialled:   "9.3.3.3:77", host: "b.example", sni: "b.example"},
	"delegated to a name with the old SRV": {
		name: "a.example", records: dnsRecords("a.example. A", "9.1.1.1", "_matrix._tcp.b.example. SRV", "10 1 66 d.example.",
			"d.example. A", "9.4.4.4"),
		listens: "9.1.1.1:443 9.4.4.4:66", cert: "a.example b.example",
		wellKnown: map[string]string{"a.example": `{"m.server":"b.example"}`},
		dialled:   "9.4.4.4:66", host: "b.example", sni: "b.example"},
	"delegated to a name": {
		name: "a.example", records: dnsRecords("a.example. A", "9.1.1.1", "b.example. A", "9.2.2.2"),
		listens: "9.1.1.1:443 9.2.2.2:8448", cert: "a.example b.example",
		wellKnown: map[string]string{"a.example": `{"m.server":"b.example"}`},
		dialled:   "9.2.2.2:8448", host: "b.example", sni: "b.example"},
	"delegation is followed once": {
		name: "a.example", records: dnsRecords("a.example. A", "9.1.1.1", "b.example. A", "9.2.2.2"),
		listens: "9.1.1.1:443 9.2.2.2:443 9.2.2.2:8448", cert: "a.example b.example",
		wellKnown: map[string]string{"a.example": `{"m.server":"b.example"}`, "b.example": `{"m.server":"c.example"}`},
		dialled:   "9.2.2.2:8448", host: "b.example", sni: "b.example"},
	"SRV": {
		name: "a.example", records: dnsRecords("_matrix-fed._tcp.a.example. SRV", "10 1 77 c.example.", "c.example. A", "9.3.3.3"),
		listens: "9.3.3.3:77", cert: "a.example", dialled: "9.3.3.3:77", host: "a.example", sni: "a.example"},
	"old SRV": {
		name: "a.example", records: dnsRecords("_matrix._tcp.a.example. SRV", "10 1 77 c.example.", "c.example. A", "9.3.3.3"),
		listens: "9.3.3.3:77", cert: "a.example", dialled: "9.3.3.3:77", host: "a.example", sni: "a.example"},
	"SRV with a first target that is down": {
		name: "a.example", records: dnsRecords("_matrix-fed._tcp.a.example. SRV", "10 1 77 c.example.|20 1 78 d.example.",
			"c.example. A", "9.3.3.3", "d.example. A", "9.4.4.4"),
		listens: "9.4.4.4:78", cert: "a.example", dialled: "9.4.4.4:78", host: "a.example", sni: "a.example"},
	"SRV that says there is none": {
		name: "a.example", records: dnsRecords("_matrix-fed._tcp.a.example. SRV", "0 0 0 .", "a.example. A", "9.1.1.1"),
		listens: "9.1.1.1:8448", cert: "a.example", never: "9.1.1.1:8448"},
	"certificate of the SRV target": {
		name: "a.example", records: dnsRecords("_matrix-fed._tcp.a.example. SRV", "10 1 77 c.example.", "c.example. A", "9.3.3.3"),
		listens: "9.3.3.3:77", cert: "c.example"},
	"nothing but an address": {
		name: "a.example", records: dnsRecords("a.example. A", "9.1.1.1"), listens: "9.1.1.1:8448", cert: "a.example",
		dialled: "9.1.1.1:8448", host: "a.example", sni: "a.example"},
	"upper case": {
		name: "A.Example", records: dnsRecords("a.example. A", "9.1.1.1"), listens: "9.1.1.1:8448", cert: "a.example",
		dialled: "9.1.1.1:8448", host: "A.Example", sni: "a.example"},
	"well-known that is not JSON":         fallback(`<html>`),
	"well-known without m.server":         fallback(`{"M.Server":"b.example"}`),
	"well-known that is no string":        fallback(`{"m.server":["b.example"]}`),
	"well-known that is no name":          fallback(`{"m.server":"https://b.example"}`),
	"well-known that is too long":         fallback(`{"m.server":"b.example","x":"` + strings.Repeat("x", 51<<10) + `"}`),
	"well-known that redirects to http":   fallback("redirect http://b.example/.well-known/matrix/server"),
	"well-known that redirects in a ring": fallback("redirect https://a.example/.well-known/matrix/server"),
	"well-known that redirects to a private address": withNever(fallback(
		"redirect https://private.example/x"), "10.0.0.1:443"),
	"well-known that redirects to a loopback literal": withNever(fallback(
		"redirect https://127.0.0.1/x"), "127.0.0.1:443"),
	"well-known that redirects": {
		name: "a.example", records: dnsRecords("a.example. A", "9.1.1.1", "b.example. A", "9.2.2.2"),
		listens: "9.1.1.1:443 9.2.2.2:443 9.2.2.2:99", cert: "a.example b.example",
		wellKnown: map[string]string{"a.example": "redirect https://b.example/.well-known/matrix/server", "b.example": `{"m.server":"b.example:99"}`},
		dialled:   "9.2.2.2:99", host: "b.example:99", sni: "b.example"},
	"delegated to a private address": {
		name: "a.example", records: dnsRecords("a.example. A", "9.1.1.1"), listens: "9.1.1.1:443 10.0.0.1:8448", cert: "a.example 10.0.0.1",
		wellKnown: map[string]string{"a.example": `{"m.server":"10.0.0.1"}`}, never: "10.0.0.1:8448"},
	"private address": {
		name: "a.example:8448", records: dnsRecords("a.example. A", "192.168.1.1"), listens: "192.168.1.1:8448", cert: "a.example",
		never: "192.168.1.1:8448"},
	"private address of an SRV target": {
		name: "a.example", records: dnsRecords("_matrix-fed._tcp.a.example. SRV", "10 1 77 c.example.", "c.example. A", "127.0.0.1"),
		listens: "127.0.0.1:77", cert: "a.example", never: "127.0.0.1:77"},
	"a private and a public address": {
		name: "a.example:8448", records: dnsRecords("a.example. A", "192.168.1.1|9.1.1.1"), listens: "192.168.1.1:8448 9.1.1.1:8448",
		cert: "a.example", dialled: "9.1.1.1:8448", host: "a.example:8448", sni: "a.example", never: "192.168.1.1:8448"},
	"private address that is allowed": {
		name: "a.example:8448", records: dnsRecords("a.example. A", "192.168.1.1"), listens: "192.168.1.1:8448", cert: "a.example",
		allow: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}, dialled: "192.168.1.1:8448", host: "a.example:8448", sni: "a.example"},
	"resolver file": {
		name: "sante.example", static: map[matrix.ServerName]string{"sante.example": "10.1.2.3:9000"},
		listens: "10.1.2.3:9000", cert: "sante.example", dialled: "10.1.2.3:9000", host: "sante.example", sni: "sante.example"},
	"resolver file, name with port": {
		name: "sante.example:8448", static: map[matrix.ServerName]string{"sante.example:8448": "10.1.2.3:9000"},
		listens: "10.1.2.3:9000", cert: "sante.example", dialled: "10.1.2.3:9000", host: "sante.example:8448", sni: "sante.example"},
	"resolver file, wrong certificate": {
		name: "sante.example", static: map[matrix.ServerName]string{"sante.example": "10.1.2.3:9000"},
		listens: "10.1.2.3:9000", cert: "other.example"},
	"unknown name": {name: "nowhere.example"},
	"port 0":       {name: "a.example:0", records: dnsRecords("a.example. A", "9.1.1.1"), listens: "9.1.1.1:8448", cert: "a.example"},
}

// fallback is a server whose well-known says nothing valid.
func fallback(wellKnown string) discovery {
	return discovery{
		name: "a.example", records: dnsRecords("a.example. A", "9.1.1.1", "b.example. A", "9.2.2.2", "private.example. A", "10.0.0.1"),
		listens: "9.1.1.1:443 9.1.1.1:8448 9.2.2.2:8448 9.2.2.2:443", cert: "a.example b.example private.example",
		wellKnown: map[string]string{"a.example": wellKnown, "private.example": `{"m.server":"b.example"}`},
		dialled:   "9.1.1.1:8448", host: "a.example", sni: "a.example",
	}
}

func withNever(d discovery, addr string) discovery {
	d.never = addr
	d.listens += " " + addr
	return d
}

func dnsRecords(pairs ...string) map[string][]string {
	out := make(map[string][]string)
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = strings.Split(pairs[i+1], "|")
	}
	return out
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	for name, d := range discoveries {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var host, sni string
			n := &network{records: d.records, listens: map[string]bool{}, names: strings.Fields(d.cert)}
			for _, addr := range strings.Fields(d.listens) {
				n.listens[addr] = true
			}
			n.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/_matrix/federation/v1/version" {
					serveWellKnown(w, r, d.wellKnown[r.Host])
					return
				}
				host, sni = r.Host, r.TLS.ServerName
				_, _ = fmt.Fprint(w, `{"server":{"name":"x","version":"1"}}`)
			})
			n.start(t)
			c := n.client(t, func(o *client.Options) { o.Resolver, o.AllowRanges = d.static, d.allow })
			_, err := c.Version(t.Context(), d.name)
			if d.never != "" && slices.Contains(n.dialled, d.never) {
				t.Errorf("%s was dialled", d.never)
			}
			if d.dialled == "" {
				if _, ok := errors.AsType[*client.UnreachableError](err); !ok {
					t.Errorf("error is %v, want an UnreachableError", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v; dialled %v, asked DNS %v", err, n.dialled, n.asked)
			}
			if got := n.dialled[len(n.dialled)-1]; got != d.dialled || host != d.host || sni != d.sni {
				t.Errorf("dialled %s, Host %s, SNI %s; want %s, %s, %s", got, host, sni, d.dialled, d.host, d.sni)
			}
		})
	}
}

func serveWellKnown(w http.ResponseWriter, r *http.Request, body string) {
	switch to, redirect := strings.CutPrefix(body, "redirect "); {
	case redirect:
		http.Redirect(w, r, to, http.StatusFound)
	case body == "":
		http.NotFound(w, r)
	default:
		_, _ = fmt.Fprint(w, body)
	}
}

func TestDeniedServerIsNotEvenLookedUp(t *testing.T) {
	t.Parallel()
	n := &network{}
	n.start(t)
	c := n.client(t, func(o *client.Options) { o.Gate = gate{denied: []matrix.ServerName{"a.example"}} })
	_, err := c.Version(t.Context(), "a.example")
	if !client.Denied(err) || !matrix.IsCode(err, "M_FORBIDDEN") {
		t.Errorf("error is %v, want a denial", err)
	}
	if len(n.asked)+len(n.dialled) > 0 {
		t.Errorf("asked for %v, dialled %v", n.asked, n.dialled)
	}
}

func TestWellKnownIsCached(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"valid": `{"m.server":"b.example:99"}`, "missing": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			n := &network{
				records: dnsRecords("a.example. A", "9.1.1.1", "b.example. A", "9.2.2.2"),
				listens: map[string]bool{"9.1.1.1:443": true, "9.1.1.1:8448": true, "9.2.2.2:99": true},
				names:   []string{"a.example", "b.example"},
			}
			n.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/.well-known/matrix/server" {
					asked++
					w.Header().Set("Cache-Control", "no-store")
					serveWellKnown(w, r, answer)
					return
				}
				_, _ = fmt.Fprint(w, `{}`)
			})
			n.start(t)
			c := n.client(t, nil)
			for range 3 {
				if _, err := c.Version(t.Context(), "a.example"); err != nil {
					t.Fatal(err)
				}
			}
			if asked != 1 {
				t.Errorf("asked %d times, want once", asked)
			}
		})
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	g := client.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("fd00:9::/32")}}
	tests := map[string]bool{ // address: may be dialled
		"9.9.9.9": true, "2606:4700::1": true, "::ffff:9.9.9.9": true, "64:ff9b::909:909": true,
		"10.9.1.1": true, "::ffff:10.9.1.1": true, "fd00:9::1": true,
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.0.1": false, "127.0.0.1": false,
		"127.255.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "169.254.169.254": false, "100.64.0.1": false,
		"224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false, "198.18.0.1": false, "192.0.2.1": false,
		"::": false, "::1": false, "::127.0.0.1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false,
		"fc00::1": false, "fd12::1": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "ff02::1": false,
		"64:ff9b::7f00:1": false, "64:ff9b::a00:1": false, "64:ff9b:1::1": false, "2002:7f00:1::": false,
		"2001::1": false, "2001:db8::1": false, "2606:4700::1%eth0": false,
	}
	for text, want := range tests {
		if err := g.Check(netip.MustParseAddr(text)); (err == nil) != want {
			t.Errorf("%s: %v, want allowed %v", text, err, want)
		}
	}
}
