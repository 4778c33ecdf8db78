package keyring_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"beffroi/federation/keyring"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/storage"
)

func TestNotaryKnowsAServerThatIsGone(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		c, n := newClock(), newNetwork(t)
		notary, p := n.peer(t, "notary.example"), n.peer(t, "peer.example")
		notaryOwn := keyring.Own{Current: newKey(t, notary.name, "1")}
		notary.ring = n.ring(t, testkit.OpenDB(t, "sqlite"), notaryOwn, c, nil)
		key := newKey(t, p.name, "1")
		until := c.Now().Add(2 * time.Hour)
		p.set(answer(t, key, until))
		wantKey(t, notary.ring, key, c.Now(), until)

		p.set(nil)
		own, err := notary.ring.OwnAnswer()
		if err != nil {
			t.Fatal(err)
		}
		notary.set(own)
		r := n.ring(t, db, keyring.Own{Current: newKey(t, "self.example", "1")}, c, func(o *keyring.Options) {
			o.Notaries = []matrix.ServerName{"Notary.Example"}
		})
		wantKey(t, r, key, c.Now(), until)
		if _, _, err := r.PublicKey(t.Context(), p.name, "ed25519:none", 0); err == nil {
			t.Error("a key that nobody has was found")
		}

		// A notary that signs with a key it does not publish is not believed.
		impostor := answer(t, newKey(t, notary.name, "1"), until)
		notary.set(impostor)
		r = n.ring(t, testkit.OpenDB(t, "sqlite"), keyring.Own{Current: newKey(t, "self.example", "1")}, c, func(o *keyring.Options) {
			o.Notaries = []matrix.ServerName{notary.name}
		})
		if _, _, err := r.PublicKey(t.Context(), p.name, key.ID, c.Now().UnixMilli()); err == nil {
			t.Error("a notary with a bad signature was believed")
		}
	})
}

func TestNotaryAnswers(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		c, n := newClock(), newNetwork(t)
		p, gone := n.peer(t, "peer.example"), n.peer(t, "gone.example")
		key := newKey(t, p.name, "1")
		p.set(answer(t, key, c.Now().Add(10*time.Hour)))
		own := keyring.Own{Current: newKey(t, "self.example", "1")}
		r := n.ring(t, db, own, c, nil)
		ask := func(wanted keyring.Wanted) map[string]json.RawMessage {
			t.Helper()
			answers, err := r.Query(t.Context(), wanted)
			if err != nil {
				t.Fatal(err)
			}
			byServer := make(map[string]json.RawMessage)
			for _, raw := range answers {
				var who struct {
					Server string `json:"server_name"`
				}
				if err := json.Unmarshal(raw, &who); err != nil {
					t.Fatal(err)
				}
				byServer[who.Server] = raw
				if err := signing.Verify(raw, "self.example", own.Current.ID, own.Current.Public()); err != nil {
					t.Errorf("answer of %s: %v", who.Server, err)
				}
			}
			return byServer
		}
		got := ask(keyring.Wanted{p.name: nil, gone.name: nil, "self.example": nil})
		if len(got) != 2 || got["self.example"] == nil {
			t.Fatalf("answers are %s", got)
		}
		if err := signing.Verify(got["peer.example"], "peer.example", key.ID, key.Public()); err != nil {
			t.Errorf("signature of the server itself: %v", err)
		}
		steps := []struct {
			after  time.Duration
			until  time.Duration // wanted, from now; 0: not said
			id     matrix.KeyID
			asked  int // in all
			broken bool
		}{
			{asked: 1},
			{after: 4 * time.Hour, asked: 1},
			{after: 2 * time.Hour, asked: 2}, // in the second half of its life
			{after: time.Minute, until: 100 * time.Hour, id: key.ID, asked: 3},
			{after: time.Minute, id: "ed25519:other", asked: 4},
			{after: 20 * time.Hour, broken: true, asked: 5}, // expired, but better than nothing
		}
		for i, step := range steps {
			c.add(step.after)
			if step.broken {
				p.set(nil)
			}
			wanted := keyring.Wanted{p.name: {}}
			if step.id != "" {
				wanted[p.name][step.id] = c.Now().Add(step.until).UnixMilli()
			}
			if got := ask(wanted); got["peer.example"] == nil {
				t.Errorf("step %d: no answer", i)
			}
			if p.count() != step.asked {
				t.Errorf("step %d: the server was asked %d times, want %d", i, p.count(), step.asked)
			}
			if i == 2 {
				p.set(answer(t, key, c.Now().Add(10*time.Hour)))
			}
		}
	})
}

func TestParseQuery(t *testing.T) {
	t.Parallel()
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf(`"s%d.example":{}`, i)
	}
	tests := map[string]struct {
		body string
		want int // servers
		code string
	}{
		"empty":         {`{"server_keys":{}}`, 0, ""},
		"two":           {`{"server_keys":{"a.example":{},"b.example":{"ed25519:1":{"minimum_valid_until_ts":7}}}}`, 2, ""},
		"not an object": {`{"server_keys":[]}`, 0, "M_BAD_JSON"},
		"float":         {`{"server_keys":{"b.example":{"ed25519:1":{"minimum_valid_until_ts":7.5}}}}`, 0, "M_BAD_JSON"},
		"no name":       {`{"server_keys":{"https://a":{}}}`, 0, "M_INVALID_PARAM"},
		"too many":      {`{"server_keys":{` + strings.Join(many, ",") + `}}`, 0, "M_TOO_LARGE"},
	}
	for name, test := range tests {
		got, err := keyring.ParseQuery([]byte(test.body))
		if (err == nil) != (test.code == "") || err != nil && !matrix.IsCode(err, test.code) || len(got) != test.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
