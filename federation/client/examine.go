package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/signing"
)

// maxSkew is how far the clock of a server may be from ours before it is a
// fault: keys and signatures have times.
const maxSkew = time.Minute

// Examination is what can be seen of another server from here.
type Examination struct {
	Server matrix.ServerName `json:"server"`
	// WellKnown is where its .well-known delegates to.
	WellKnown matrix.ServerName `json:"well_known,omitempty"`
	// Host is the Host header, and whose certificate it must be.
	Host      string    `json:"host,omitempty"`
	Addresses []Address `json:"addresses"`
	Software  string    `json:"software,omitempty"`
	// SkewMS is by how much its clock is before ours.
	SkewMS int64                        `json:"clock_skew_ms"`
	Keys   map[matrix.KeyID]ExaminedKey `json:"keys"`
	// KeysValidUntil is in milliseconds.
	KeysValidUntil int64 `json:"keys_valid_until_ts,omitempty"`
	// KnowsUs says that it took a request with our signature.
	KnowsUs bool `json:"knows_us"`
	// Faults are what keeps the servers apart, or soon will.
	Faults []string `json:"faults"`
	// Notes are worth knowing and no fault.
	Notes []string `json:"notes"`
}

// Address is where a server may be, and what is there.
type Address struct {
	Target      string    `json:"target"`
	Remote      string    `json:"remote,omitempty"`
	TLS         string    `json:"tls,omitempty"`
	Certificate string    `json:"certificate,omitempty"`
	Issuer      string    `json:"issuer,omitempty"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	Error       string    `json:"error,omitempty"`
}

// ExaminedKey is a key that a server publishes.
type ExaminedKey struct {
	Key    string `json:"key"`
	Signed bool   `json:"signed"` // the answer with it
}

func (x *Examination) fault(format string, args ...any) {
	x.Faults = append(x.Faults, fmt.Sprintf(format, args...))
}

func (x *Examination) note(format string, args ...any) {
	x.Notes = append(x.Notes, fmt.Sprintf(format, args...))
}

// Examine looks at a server as a request to it would, step by step. What is
// cached is not believed. The policy is asked first, and nothing is resolved
// where it refuses.
func (c *Client) Examine(ctx context.Context, server matrix.ServerName) *Examination {
	x := &Examination{Server: server, Addresses: []Address{}, Keys: map[matrix.KeyID]ExaminedKey{}, Faults: []string{}, Notes: []string{}}
	if err := c.Check(ctx, server); err != nil {
		x.fault("the policy of this server does not let it speak with %s: %v", server, err)
		return x
	}
	if server.Normalise() == c.name.Normalise() {
		x.fault("%s is this server: ask another about it", server)
		return x
	}
	c.examineName(ctx, x)
	c.examineAddresses(ctx, x)
	if !slices.ContainsFunc(x.Addresses, func(a Address) bool { return a.Error == "" }) {
		x.fault("no address of %s can be spoken with", server)
		return x
	}
	c.examineVersion(ctx, x)
	c.examineKeys(ctx, x)
	c.examineTrust(ctx, x)
	return x
}

// examineName follows the delegation.
func (c *Client) examineName(ctx context.Context, x *Examination) {
	if _, static := c.dialer.static[dialAddr(x.Server)]; static {
		x.note("the resolver file says where it is")
	} else if !x.Server.IsIP() && x.Server.Port() == "" {
		host := string(x.Server.Normalise())
		to, age, err := c.wellKnown.fetch(ctx, host)
		if err != nil {
			x.note("no delegation at https://%s/.well-known/matrix/server: %v", host, err)
		} else {
			x.WellKnown = to
			x.note("the delegation may be kept for %s", age)
		}
	}
	x.Host = string(x.Server)
	if x.WellKnown != "" {
		x.Host = string(x.WellKnown)
	}
}

// examineAddresses opens a connection to everything that DNS names.
func (c *Client) examineAddresses(ctx context.Context, x *Examination) {
	addr := dialAddr(matrix.ServerName(x.Host))
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		x.fault("%s is no address: %v", addr, err)
		return
	}
	targets, trusted := []string{addr}, false
	if static, ok := c.dialer.static[addr]; ok {
		targets, trusted = []string{static}, true
	} else if port == discoverPort {
		if targets, err = c.dialer.targets(ctx, host); err != nil {
			x.note("the SRV records cannot be read: %v", err)
		}
	}
	for _, target := range targets {
		x.Addresses = append(x.Addresses, c.examineAddress(ctx, x, host, target, trusted))
	}
}

func (c *Client) examineAddress(ctx context.Context, x *Examination, host, target string, trusted bool) Address {
	a := Address{Target: target}
	conn, err := c.dialer.dialOne(ctx, host, target, trusted)
	if err != nil {
		a.Error = err.Error()
		return a
	}
	defer func() { _ = conn.Close() }()
	a.Remote = conn.RemoteAddr().String()
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return a
	}
	state := secure.ConnectionState()
	a.TLS = tls.VersionName(state.Version)
	if len(state.PeerCertificates) > 0 {
		leaf := state.PeerCertificates[0]
		a.Certificate, a.Issuer, a.NotAfter = leaf.Subject.String(), leaf.Issuer.String(), leaf.NotAfter
		if left := time.Until(leaf.NotAfter); left < 14*24*time.Hour {
			x.note("the certificate at %s ends on %s", target, leaf.NotAfter.Format(time.DateOnly))
		}
	}
	return a
}

// examineVersion asks which software there is, and what time it has.
func (c *Client) examineVersion(ctx context.Context, x *Examination) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := c.request(ctx, call{destination: x.Server, method: http.MethodGet, path: federationV1 + "/version", unsigned: true})
	if err != nil {
		x.fault("%v", err)
		return
	}
	res, err := c.http.Do(req)
	if err != nil {
		x.fault("it does not answer: %v", err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		skew := time.Until(date)
		if x.SkewMS = skew.Milliseconds(); skew.Abs() > maxSkew {
			x.fault("its clock is %s before ours", skew.Round(time.Second))
		}
	}
	var answer struct {
		Server struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"server"`
	}
	if res.StatusCode != http.StatusOK {
		x.fault("it answers %s when it is asked for its version", res.Status)
		return
	}
	if err := into(&answer)(&limitedReader{r: res.Body, left: maxWellKnownBytes}); err != nil {
		x.fault("what it says of its version cannot be read: %v", err)
		return
	}
	x.Software = answer.Server.Name + " " + answer.Server.Version
}

// examineKeys asks for the keys and verifies that they signed the answer.
func (c *Client) examineKeys(ctx context.Context, x *Examination) {
	raw, err := c.ServerKeys(ctx, x.Server)
	if err != nil {
		x.fault("it does not tell its keys: %v", err)
		return
	}
	canonical, err := canonicaljson.Canonicalise(raw, canonicaljson.Normal)
	var answer struct {
		ServerName matrix.ServerName `json:"server_name"`
		VerifyKeys map[matrix.KeyID]struct {
			Key string `json:"key"`
		} `json:"verify_keys"`
		ValidUntilTS int64 `json:"valid_until_ts"`
	}
	if err == nil {
		err = json.Unmarshal(canonical, &answer)
	}
	if err != nil {
		x.fault("what it says of its keys cannot be read: %v", err)
		return
	}
	if answer.ServerName.Normalise() != x.Server.Normalise() {
		x.fault("it tells the keys of %s", answer.ServerName)
	}
	if x.KeysValidUntil = answer.ValidUntilTS; answer.ValidUntilTS < time.Now().UnixMilli() {
		x.fault("its keys are told to be valid until %s", time.UnixMilli(answer.ValidUntilTS).UTC().Format(time.RFC3339))
	}
	for _, id := range slices.Sorted(maps.Keys(answer.VerifyKeys)) {
		text := answer.VerifyKeys[id].Key
		public, err := signing.DecodeBase64(text)
		if err == nil {
			err = signing.Verify(canonical, string(answer.ServerName), id, public)
		}
		x.Keys[id] = ExaminedKey{Key: text, Signed: err == nil}
		if err != nil {
			x.fault("its key %s has not signed the answer: %v", id, err)
		}
	}
	if len(x.Keys) == 0 {
		x.fault("it publishes no key")
	}
}

// examineTrust sends a signed request: to check it the server must reach us,
// or have before, and its policy must admit us.
func (c *Client) examineTrust(ctx context.Context, x *Examination) {
	err := c.Do(ctx, x.Server, http.MethodGet, federationV1+"/publicRooms?limit=1", nil, nil)
	var unreachable *UnreachableError
	status := matrix.Answer(err).Status
	switch {
	case err == nil:
		x.KnowsUs = true
	case errors.As(err, &unreachable):
		x.fault("it does not answer a signed request: %v", err)
	case status == http.StatusUnauthorized || matrix.IsCode(err, "M_UNAUTHORIZED"):
		x.fault("it does not believe our signature; can it reach this server? %v", err)
	case status == http.StatusForbidden:
		x.KnowsUs = true
		x.note("it refuses to list its rooms, or to speak with this server at all: %v", err)
	default:
		x.note("it answers a signed request with an error: %v", err)
	}
}
