package keyring_test

import (
	"crypto/ed25519"
	"fmt"
	"sync"
	"testing"
	"time"

	"beffroi/federation/keyring"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/storage"
)

const week = 7 * 24 * time.Hour

func TestKeyIsFetchedOnceAndKept(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		c, n := newClock(), newNetwork(t)
		p := n.peer(t, "peer.example")
		key := newKey(t, p.name, "1")
		until := c.Now().Add(time.Hour)
		p.set(answer(t, key, until))
		own := keyring.Own{Current: newKey(t, "self.example", "1")}
		r := n.ring(t, db, own, c, nil)
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() { wantKey(t, r, key, c.Now(), until) })
		}
		group.Wait()
		wantKey(t, n.ring(t, db, own, c, nil), key, c.Now(), until) // as after a restart
		wantKey(t, r, signing.Key{Server: "PEER.example", ID: key.ID, Private: key.Private}, c.Now(), until)
		if p.count() != 1 {
			t.Errorf("the server was asked %d times, want once", p.count())
		}
	})
}

func TestExpiredKeyIsFetchedAgain(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		c, n := newClock(), newNetwork(t)
		p := n.peer(t, "peer.example")
		key := newKey(t, p.name, "1")
		p.set(answer(t, key, c.Now().Add(1000*week)))
		r := n.ring(t, db, keyring.Own{Current: newKey(t, "self.example", "1")}, c, nil)
		first := c.Now().Add(week) // not in twenty years, whatever the server says
		wantKey(t, r, key, c.Now(), first)
		c.add(6 * 24 * time.Hour)
		wantKey(t, r, key, c.Now(), first)
		c.add(2 * 24 * time.Hour)
		wantKey(t, r, key, c.Now().Add(-3*24*time.Hour), first) // an event from when it was valid
		if p.count() != 1 {
			t.Errorf("the server was asked %d times, want once", p.count())
		}
		second := c.Now().Add(week)
		wantKey(t, r, key, c.Now(), second)
		c.add(8 * 24 * time.Hour)
		p.set(nil) // it is gone: the caller learns until when the key was good
		wantKey(t, r, key, c.Now(), second)
		if p.count() != 3 {
			t.Errorf("the server was asked %d times, want three times", p.count())
		}
	})
}

func TestRotation(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		c, n := newClock(), newNetwork(t)
		p := n.peer(t, "peer.example")
		before, after := newKey(t, p.name, "1"), newKey(t, p.name, "2")
		until := c.Now().Add(2 * time.Hour)
		p.set(answer(t, before, until))
		r := n.ring(t, db, keyring.Own{Current: newKey(t, "self.example", "1")}, c, nil)
		wantKey(t, r, before, c.Now(), until)
		c.add(time.Hour)
		rotated := c.Now().Add(-time.Minute)
		p.set(keys{
			Server: p.name, Verify: map[matrix.KeyID]keyJSON{after.ID: public(after)},
			Old: map[matrix.KeyID]keyJSON{before.ID: expired(before, rotated)}, ValidUntil: until.UnixMilli(),
		}.sign(t, after))
		wantKey(t, r, after, c.Now(), until)
		wantKey(t, r, before, c.Now().Add(-time.Hour), time.UnixMilli(rotated.UnixMilli()).UTC())
		if p.count() != 2 {
			t.Errorf("the server was asked %d times, want twice", p.count())
		}
		// A key that is no longer published at all still verifies old events.
		p.set(answer(t, after, until.Add(5*time.Hour)))
		c.add(2 * time.Hour)
		wantKey(t, r, after, c.Now(), until.Add(5*time.Hour))
		wantKey(t, n.ring(t, db, keyring.Own{Current: newKey(t, "self.example", "1")}, c, nil),
			before, c.Now(), time.UnixMilli(rotated.UnixMilli()).UTC())
	})
}

func TestAnswersThatAreNotBelieved(t *testing.T) {
	t.Parallel()
	c := newClock()
	const name = "peer.example"
	key, other := newKey(t, name, "1"), newKey(t, name, "2")
	good := func() keys {
		return keys{
			Server: name, Verify: map[matrix.KeyID]keyJSON{key.ID: public(key)},
			Old: map[matrix.KeyID]keyJSON{}, ValidUntil: c.Now().Add(time.Hour).UnixMilli(),
		}
	}
	another := good()
	another.Server = "else.example"
	stranger := newKey(t, "else.example", "1")
	stranger.Private = key.Private
	spoilt := good()
	spoilt.Verify[other.ID] = public(other)
	flood := good()
	for i := range 100 {
		flood.Verify[matrix.KeyID(fmt.Sprintf("ed25519:x%d", i))] = public(other)
	}
	short := good()
	short.Verify[key.ID] = keyJSON{Key: "AAAA"}
	forged := signing.Key{Server: name, ID: other.ID, Private: key.Private}
	tests := map[string][]byte{
		"no signature":            good().sign(t),
		"signed by another key":   good().sign(t, other),
		"wrong signature":         spoilt.sign(t, key, forged),
		"of another server":       another.sign(t, key),
		"signed by another name":  good().sign(t, stranger),
		"too many keys":           flood.sign(t, key),
		"key of the wrong length": short.sign(t, key),
		"not JSON":                []byte(`<html>`),
		"not an object":           []byte(`[]`),
		"wrong types":             []byte(`{"server_name":1}`),
		"too long":                []byte(`{"x":"` + string(make([]byte, 300<<10)) + `"}`),
	}
	for what, raw := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			db, n := testkit.OpenDB(t, "sqlite"), newNetwork(t)
			p := n.peer(t, name)
			p.set(raw)
			r := n.ring(t, db, keyring.Own{Current: newKey(t, "self.example", "1")}, c, nil)
			if _, _, err := r.PublicKey(t.Context(), name, key.ID, c.Now().UnixMilli()); err == nil {
				t.Error("the key was believed")
			}
			if answers, err := r.Query(t.Context(), keyring.Wanted{name: nil}); err != nil || len(answers) > 0 {
				t.Errorf("the answer is passed on: %s, %v", answers, err)
			}
		})
	}
}

func TestServerIsNotAskedAllTheTime(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		c, n := newClock(), newNetwork(t)
		p, gone := n.peer(t, "peer.example"), n.peer(t, "gone.example")
		key := newKey(t, p.name, "1")
		p.set(answer(t, key, c.Now().Add(time.Hour)))
		r := n.ring(t, db, keyring.Own{Current: newKey(t, "self.example", "1")}, c, nil)
		for i := range 50 {
			_, _, err := r.PublicKey(t.Context(), p.name, matrix.KeyID(fmt.Sprintf("ed25519:x%d", i)), c.Now().UnixMilli())
			if !matrix.IsCode(err, "M_UNAUTHORIZED") {
				t.Errorf("error is %v, want M_UNAUTHORIZED", err)
			}
			_, _, err = r.PublicKey(t.Context(), gone.name, "ed25519:1", c.Now().UnixMilli())
			if err == nil || matrix.IsCode(err, "M_UNAUTHORIZED") {
				t.Errorf("error is %v, which must not say that there is no such key", err)
			}
		}
		if p.count() != 1 || gone.count() != 1 {
			t.Errorf("asked %d and %d times, want once each", p.count(), gone.count())
		}
		for range 60 { // ten minutes
			c.add(10 * time.Second)
			_, _, _ = r.PublicKey(t.Context(), gone.name, "ed25519:1", c.Now().UnixMilli())
		}
		if n := gone.count(); n < 6 || n > 12 {
			t.Errorf("asked %d times in ten minutes", n)
		}
		back := newKey(t, gone.name, "1")
		gone.set(answer(t, back, c.Now().Add(time.Hour)))
		c.add(2 * time.Minute)
		wantKey(t, r, back, c.Now(), c.Now().Add(time.Hour-2*time.Minute))
	})
}

func TestPinnedKeys(t *testing.T) {
	t.Parallel()
	c, n := newClock(), newNetwork(t)
	p := n.peer(t, "peer.example")
	pinned, published := newKey(t, p.name, "1"), newKey(t, p.name, "2")
	p.set(answer(t, published, c.Now().Add(time.Hour)))
	r := n.ring(t, testkit.OpenDB(t, "sqlite"), keyring.Own{Current: newKey(t, "self.example", "1")}, c, func(o *keyring.Options) {
		o.Pinned = func(server matrix.ServerName) map[matrix.KeyID]ed25519.PublicKey {
			if server != p.name {
				return nil
			}
			return map[matrix.KeyID]ed25519.PublicKey{pinned.ID: pinned.Public()}
		}
	})
	wantKey(t, r, pinned, c.Now(), c.Now().Add(week))
	if _, _, err := r.PublicKey(t.Context(), p.name, published.ID, 0); !matrix.IsCode(err, "M_UNAUTHORIZED") {
		t.Errorf("error is %v, want M_UNAUTHORIZED", err)
	}
	if p.count() != 0 {
		t.Errorf("the server was asked %d times", p.count())
	}
}
