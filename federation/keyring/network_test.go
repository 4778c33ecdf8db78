package keyring_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"beffroi/federation/client"
	"beffroi/federation/keyring"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/policy"
	"beffroi/storage"
)

type openGate struct{}

func (openGate) Check(context.Context, *policy.Request) error { return nil }

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time // guarded by mu
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// peer is an HTTPS server with an answer about its keys, which tests change.
type peer struct {
	name matrix.ServerName
	addr string

	mu     sync.Mutex
	answer []byte // guarded by mu; nil: it fails
	asked  int    // guarded by mu
	ring   *keyring.Ring
}

func (p *peer) set(answer []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *peer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/_matrix/key/v2/query" {
		p.serveQuery(w, r)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.answer == nil {
		http.Error(w, "{}", http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(p.answer)
}

func (p *peer) serveQuery(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	wanted, err := keyring.ParseQuery(body)
	if err != nil {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	answers, err := p.ring.Query(r.Context(), wanted)
	if err != nil {
		http.Error(w, "{}", http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"server_keys": answers})
}

// network is a certificate authority and the servers that have its trust.
type network struct {
	ca    *testkit.CA
	hosts map[matrix.ServerName]string
}

func newNetwork(t *testing.T) *network {
	return &network{ca: testkit.NewCA(t), hosts: make(map[matrix.ServerName]string)}
}

func (n *network) peer(t *testing.T, name matrix.ServerName) *peer {
	t.Helper()
	p := &peer{name: name}
	p.addr = n.ca.Serve(t, p, string(name)).Listener.Addr().String()
	n.hosts[name] = p.addr
	return p
}

// ring returns the ring of a server, after all peers were made.
func (n *network) ring(t *testing.T, db *storage.DB, own keyring.Own, c *clock, change func(*keyring.Options)) *keyring.Ring {
	t.Helper()
	fetcher := client.New(client.Options{
		Name: own.Current.Server, Key: own.Current, Gate: openGate{}, RootCAs: n.ca.Pool(), Resolver: n.hosts,
	})
	t.Cleanup(fetcher.Close)
	o := keyring.Options{Own: own, DB: db, Client: fetcher, Now: c.Now}
	if change != nil {
		change(&o)
	}
	return keyring.New(o)
}

func newKey(t *testing.T, server matrix.ServerName, version string) signing.Key {
	t.Helper()
	key, err := signing.NewKey(server, version)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keys is what a server says about its keys, for tests to change.
type keys struct {
	Server     matrix.ServerName         `json:"server_name"`
	Verify     map[matrix.KeyID]keyJSON  `json:"verify_keys"`
	Old        map[matrix.KeyID]keyJSON  `json:"old_verify_keys"`
	ValidUntil int64                     `json:"valid_until_ts"`
	Extra      map[string]map[string]int `json:"extra,omitempty"`
}

type keyJSON struct {
	Key       string `json:"key"`
	ExpiredTS int64  `json:"expired_ts,omitempty"`
}

func public(key signing.Key) keyJSON { return keyJSON{Key: signing.EncodeBase64(key.Public())} }

func expired(key signing.Key, at time.Time) keyJSON {
	return keyJSON{signing.EncodeBase64(key.Public()), at.UnixMilli()}
}

// sign returns the answer, signed with the keys.
func (k keys) sign(t *testing.T, with ...signing.Key) []byte {
	t.Helper()
	raw, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range with {
		if raw, err = signing.Sign(raw, key); err != nil {
			t.Fatal(err)
		}
	}
	return raw
}

// answer is the answer of a server with one key.
func answer(t *testing.T, key signing.Key, validUntil time.Time) []byte {
	t.Helper()
	return keys{
		Server: key.Server, Verify: map[matrix.KeyID]keyJSON{key.ID: public(key)},
		Old: map[matrix.KeyID]keyJSON{}, ValidUntil: validUntil.UnixMilli(),
	}.sign(t, key)
}

func wantKey(t *testing.T, r *keyring.Ring, key signing.Key, at time.Time, wantUntil time.Time) {
	t.Helper()
	got, until, err := r.PublicKey(t.Context(), key.Server, key.ID, at.UnixMilli())
	if err != nil || !got.Equal(ed25519.PublicKey(key.Public())) {
		t.Errorf("key %s of %s: %v", key.ID, key.Server, err)
	}
	if until != wantUntil.UnixMilli() {
		t.Errorf("key %s is valid until %v, want %v", key.ID, time.UnixMilli(until).UTC(), wantUntil)
	}
}
