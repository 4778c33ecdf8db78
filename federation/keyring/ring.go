// Package keyring knows the signing keys of this server and of others: it
// publishes the first, and fetches, verifies and keeps the second.
package keyring

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/peers"
)

const (
	// fetchTimeout bounds the wait for one answer. Somebody waits for it with
	// a request or a join, and there may be many servers that are gone.
	fetchTimeout = 10 * time.Second
	// minInterval is between two questions to one server: a key that it does
	// not have can be named in any number of requests.
	minInterval = 5 * time.Second
	// maxInterval is short, because a server that comes back speaks first, and
	// until its key is known it is refused.
	maxInterval = 2 * time.Minute
	// clockSkew is how far ahead of our clock a signature is served.
	clockSkew = 5 * time.Minute
	// maxServers bounds the memory of the cache; the database has the rest.
	maxServers = 20000
)

// Fetcher asks other servers. federation/client is one.
type Fetcher interface {
	// ServerKeys returns the answer of a server about its own keys.
	ServerKeys(ctx context.Context, server matrix.ServerName) (json.RawMessage, error)
	// NotaryKeys returns the answers of other servers as a notary has them.
	NotaryKeys(ctx context.Context, notary matrix.ServerName, wanted map[matrix.ServerName]map[matrix.KeyID]int64) ([]json.RawMessage, error)
}

// Options are what a ring needs.
type Options struct {
	Own    Own
	DB     *storage.DB
	Client Fetcher
	// Notaries are asked for keys that a server does not give itself, in this
	// order. Their own keys come from themselves.
	Notaries []matrix.ServerName
	// Pinned returns the keys that the policy document has for a server. Where
	// it has some, no others are taken and none are fetched. nil means that
	// there are none.
	Pinned func(server matrix.ServerName) map[matrix.KeyID]ed25519.PublicKey
	// Now is the clock; nil means that of the system.
	Now func() time.Time
}

// Ring knows keys. It is safe for concurrent use.
type Ring struct {
	own      Own
	db       *storage.DB
	client   Fetcher
	notaries []matrix.ServerName
	pinned   func(matrix.ServerName) map[matrix.KeyID]ed25519.PublicKey
	now      func() time.Time
	flight   singleflight.Group

	mu        sync.Mutex
	servers   map[matrix.ServerName]*known // guarded by mu; the values do not change
	ownAnswer answer                       // guarded by mu
}

// known is what is known of a server.
type known struct {
	keys     map[matrix.KeyID]peers.Key
	answer   peers.KeyAnswer
	next     time.Time // the server is not asked before
	failures int       // in a row
	err      error     // of the last one
}

// New returns a ring.
func New(o Options) *Ring {
	r := &Ring{
		own: o.Own, db: o.DB, client: o.Client, pinned: o.Pinned, now: o.Now,
		servers: make(map[matrix.ServerName]*known),
	}
	for _, notary := range o.Notaries {
		r.notaries = append(r.notaries, notary.Normalise())
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.pinned == nil {
		r.pinned = func(matrix.ServerName) map[matrix.KeyID]ed25519.PublicKey { return nil }
	}
	return r
}

// errNotFetched says that it is not known whether there is such a key.
var errNotFetched = errors.New("keys could not be fetched")

// PublicKey returns a key of a server and until when it was valid, both in
// milliseconds; atTS is when a signature claims to have been made. A key that
// is not known, or no longer valid at that time, makes the ring ask the server
// once. That there is no such key is an M_UNAUTHORIZED; that it could not be
// found out is another error.
//
// https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
func (r *Ring) PublicKey(ctx context.Context, server matrix.ServerName, id matrix.KeyID, atTS int64) (key ed25519.PublicKey, validUntilTS int64, err error) {
	k, err := r.find(ctx, server, id, atTS)
	return k.Public, k.ValidUntil, err
}

func (r *Ring) find(ctx context.Context, server matrix.ServerName, id matrix.KeyID, atTS int64) (peers.Key, error) {
	server = server.Normalise()
	now := r.now()
	if server == r.own.Current.Server.Normalise() {
		return r.findOwn(id)
	}
	if pinned := r.pinned(server); len(pinned) > 0 {
		if public, ok := pinned[id]; ok {
			return peers.Key{ID: id, Public: public, ValidUntil: now.Add(maxValidity).UnixMilli()}, nil
		}
		return peers.Key{}, matrix.Unauthorized("the key %s of %s is not one that the policy document has", id, server)
	}
	atTS = min(atTS, now.Add(clockSkew).UnixMilli())
	have, err := r.known(ctx, server)
	if err != nil {
		return peers.Key{}, err
	}
	if k, ok := have.keys[id]; !ok || !k.Expired && k.ValidUntil < atTS {
		wanted := id
		if slices.Contains(r.notaries, server) {
			wanted = ""
		}
		if have, err = r.ask(ctx, server, wanted); err != nil {
			return peers.Key{}, err
		}
	}
	switch k, ok := have.keys[id]; {
	case ok:
		return k, nil // the caller judges how long it was valid
	case have.err != nil && !matrix.IsCode(have.err, "M_UNAUTHORIZED"):
		return peers.Key{}, fmt.Errorf("%w from %s: %v", errNotFetched, server, have.err) // not wrapped: it says nothing of the key
	}
	return peers.Key{}, matrix.Unauthorized("the key %s of %s is not known", id, server)
}

func (r *Ring) findOwn(id matrix.KeyID) (peers.Key, error) {
	own, err := r.ownKeys()
	if err != nil {
		return peers.Key{}, err
	}
	for _, k := range own.keys {
		if k.ID == id {
			return k, nil
		}
	}
	return peers.Key{}, matrix.Unauthorized("this server has no key %s", id)
}

// known returns what memory or else the database has of a server.
func (r *Ring) known(ctx context.Context, server matrix.ServerName) (*known, error) {
	r.mu.Lock()
	have := r.servers[server]
	r.mu.Unlock()
	if have != nil {
		return have, nil
	}
	have, err := r.load(ctx, server)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.servers[server]; other != nil {
		return other, nil
	}
	r.put(server, have)
	return have, nil
}

func (r *Ring) load(ctx context.Context, server matrix.ServerName) (*known, error) {
	have := &known{keys: make(map[matrix.KeyID]peers.Key)}
	err := r.db.View(ctx, func(reader *storage.Reader) error {
		keys, err := peers.Keys(ctx, reader, server)
		if err != nil {
			return err
		}
		for _, k := range keys {
			have.keys[k.ID] = k
		}
		have.answer, err = peers.ServerKeyAnswer(ctx, reader, server)
		return err
	})
	return have, err
}

// put keeps an entry, in the place of any other when there are too many.
func (r *Ring) put(server matrix.ServerName, have *known) {
	for name := range r.servers {
		if len(r.servers) < maxServers {
			break
		}
		delete(r.servers, name)
	}
	r.servers[server] = have
}

// ask fetches the keys of a server, unless that was tried a moment ago. All
// who want keys of it share one question; id is what the first of them wants,
// or "" to ask nobody but the server itself. The latter is a question of its
// own, lest two servers that are each other's notaries wait for one another.
func (r *Ring) ask(ctx context.Context, server matrix.ServerName, id matrix.KeyID) (*known, error) {
	question := string(server)
	if id == "" {
		question += " itself"
	}
	done := r.flight.DoChan(question, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*fetchTimeout) // others wait for it too
		defer cancel()
		have, err := r.known(ctx, server)
		if err != nil || r.now().Before(have.next) {
			return have, err
		}
		return r.refresh(ctx, server, id, have)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case result := <-done:
		have, _ := result.Val.(*known)
		return have, result.Err
	}
}

// refresh asks the server, then the notaries, and keeps what it learns.
func (r *Ring) refresh(ctx context.Context, server matrix.ServerName, id matrix.KeyID, old *known) (*known, error) {
	fresh := &known{keys: maps.Clone(old.keys), answer: old.answer}
	var changed []peers.Key
	direct, err := r.fetch(ctx, server)
	if err == nil {
		fresh.answer = direct.KeyAnswer
		for _, k := range direct.keys {
			fresh.keys[k.ID] = k
		}
		changed = direct.keys
	}
	if _, ok := fresh.keys[id]; id != "" && (err != nil || !ok) {
		changed = append(changed, r.askNotaries(ctx, server, id, fresh)...)
	}
	fresh.next = r.now().Add(minInterval)
	if fresh.err = err; err != nil {
		fresh.failures = old.failures + 1
		if !matrix.IsCode(err, "M_FORBIDDEN") { // the policy may change at any moment
			fresh.next = r.now().Add(min(minInterval<<min(old.failures, 16), maxInterval))
		}
	}
	if len(changed) > 0 {
		if _, err := r.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
			return peers.SaveKeys(ctx, tx, server, fresh.answer, changed)
		}); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(server, fresh)
	return fresh, nil
}

func (r *Ring) fetch(ctx context.Context, server matrix.ServerName) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	raw, err := r.client.ServerKeys(ctx, server)
	if err != nil {
		return answer{}, err
	}
	return parseAnswer(raw, server, r.now())
}
