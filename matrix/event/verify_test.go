package event_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
	"beffroi/matrix/signing"
)

// keyring is a KeySource that knows some keys and counts how often it is asked.
type keyring struct {
	keys       map[matrix.ServerName]signing.Key
	validUntil int64
	err        error // of every unknown key
	asked      atomic.Int64
	most       atomic.Int64
	mu         sync.Mutex
	now        int64 // guarded by mu
}

func (k *keyring) PublicKey(_ context.Context, server matrix.ServerName, id matrix.KeyID, _ int64) (ed25519.PublicKey, int64, error) {
	k.asked.Add(1)
	k.mu.Lock()
	k.now++
	k.most.Store(max(k.most.Load(), k.now))
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.now--
		k.mu.Unlock()
	}()
	key, ok := k.keys[server]
	if !ok || key.ID != id {
		if k.err != nil {
			return nil, 0, k.err
		}
		return nil, 0, matrix.Unauthorized("no such key")
	}
	return key.Public(), k.validUntil, nil
}

const someTime = 1750000000000 // when baseProto was made

func newKeyring(keys ...signing.Key) *keyring {
	k := &keyring{keys: map[matrix.ServerName]signing.Key{}, validUntil: someTime}
	for _, key := range keys {
		k.keys[key.Server] = key
	}
	return k
}

// sign signs e in the name of key's server under another key ID.
func sign(t *testing.T, e *event.Event, key signing.Key, id matrix.KeyID) *event.Event {
	t.Helper()
	key.ID = id
	signed, err := e.AddSignature(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// withSig puts any text in as a signature.
func withSig(t *testing.T, e *event.Event, server matrix.ServerName, id matrix.KeyID, sig string) *event.Event {
	t.Helper()
	signatures := signing.AddSignature(canonicaljson.Field(e.JSON(), "signatures"), server, id, sig)
	out, err := event.ParseStored(canonicaljson.SetField(e.JSON(), "signatures", signatures), e.ID(), e.Rules())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestVerifySignatures(t *testing.T) {
	t.Parallel()
	key := specKey(t)
	fault := errors.New("database is gone")
	base := func(version matrix.RoomVersion) *event.Event {
		p := baseProto()
		return p.build(t, version)
	}
	unsigned := func(e *event.Event) *event.Event {
		out, err := event.ParseStored(canonicaljson.SetField(e.JSON(), "signatures", []byte("{}")), e.ID(), e.Rules())
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	many := base("12")
	for _, c := range "abcdefghij" {
		many = sign(t, many, key, matrix.KeyID("ed25519:"+string(c)))
	}
	tests := map[string]struct {
		e       *event.Event
		expired bool
		fault   error
		code    string // "" for good, "fault" for fault
	}{
		"good":                               {e: base("12")},
		"not signed":                         {e: unsigned(base("12")), code: "M_UNAUTHORIZED"},
		"signed by somebody else":            {e: sign(t, unsigned(base("12")), otherKey(t, "other"), "ed25519:1"), code: "M_UNAUTHORIZED"},
		"also signed by somebody else":       {e: withSig(t, base("12"), "other", "ed25519:1", "x")},
		"only an unknown key":                {e: sign(t, unsigned(base("12")), key, "ed25519:2"), code: "M_UNAUTHORIZED"},
		"unknown key beside a good one":      {e: withSig(t, base("12"), "domain", "ed25519:0", "x")},
		"wrong signature":                    {e: withSig(t, base("12"), "domain", "ed25519:1", minimalSig), code: "M_UNAUTHORIZED"},
		"not base64":                         {e: withSig(t, base("12"), "domain", "ed25519:1", "!"), code: "M_UNAUTHORIZED"},
		"signed with another key":            {e: sign(t, base("12"), otherKey(t, "domain"), "ed25519:1"), code: "M_UNAUTHORIZED"},
		"malformed key ID":                   {e: sign(t, unsigned(base("12")), key, "ed25519:a-b"), code: "M_UNAUTHORIZED"},
		"unknown algorithm":                  {e: sign(t, unsigned(base("12")), key, "rsa:1"), code: "M_UNAUTHORIZED"},
		"policy server alone":                {e: sign(t, unsigned(base("12")), key, signing.PolicyServerKeyID), code: "M_UNAUTHORIZED"},
		"bad signature of the policy server": {e: withSig(t, base("12"), "domain", signing.PolicyServerKeyID, "x")},
		"too many signatures":                {e: many, code: "M_UNAUTHORIZED"},
		"expired key, v4":                    {e: base("4"), expired: true},
		"expired key, v5":                    {e: base("5"), expired: true, code: "M_UNAUTHORIZED"},
		"expired key, v12":                   {e: base("12"), expired: true, code: "M_UNAUTHORIZED"},
		"key source at fault":                {e: sign(t, unsigned(base("12")), key, "ed25519:2"), fault: fault, code: "fault"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys := newKeyring(key)
			keys.err = test.fault
			if test.expired {
				keys.validUntil--
			}
			err := event.VerifySignatures(t.Context(), keys, []*event.Event{test.e})[0]
			switch test.code {
			case "":
				if err != nil {
					t.Error(err)
				}
			case "fault":
				if !errors.Is(err, fault) {
					t.Errorf("got %v", err)
				}
			default:
				if !matrix.IsCode(err, test.code) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
}

func TestVerifySignaturesOfMany(t *testing.T) {
	t.Parallel()
	p := baseProto()
	good := p.build(t, "12")
	bad := withSig(t, good, "domain", "ed25519:1", minimalSig)
	events := make([]*event.Event, 300)
	for i := range events {
		events[i] = good
		if i%7 == 0 {
			events[i] = bad
		}
	}
	keys := newKeyring(specKey(t))
	for i, err := range event.VerifySignatures(t.Context(), keys, events) {
		if (err != nil) != (i%7 == 0) {
			t.Errorf("event %d: %v", i, err)
		}
	}
	if n := keys.asked.Load(); n != 1 {
		t.Errorf("one key was asked for %d times", n)
	}
	if errs := event.VerifySignatures(t.Context(), keys, nil); len(errs) != 0 {
		t.Errorf("of nothing: %v", errs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if errs := event.VerifySignatures(ctx, keys, events[:1]); !errors.Is(errs[0], context.Canceled) {
		// An event that is bad by itself may say so instead.
		t.Errorf("cancelled: %v", errs[0])
	}
}

func TestKeyLookupsAreBounded(t *testing.T) {
	t.Parallel()
	p := baseProto()
	base := p.build(t, "12")
	var events []*event.Event
	for i := range 100 {
		server := matrix.ServerName("s" + string(rune('a'+i%26)) + string(rune('a'+i/26)))
		p.Sender = matrix.UserID("@a:" + string(server))
		e, err := p.Build(base.Rules(), otherKey(t, server))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	keys := newKeyring()
	event.VerifySignatures(t.Context(), keys, events)
	if keys.asked.Load() != 100 || keys.most.Load() > 16 {
		t.Errorf("%d lookups, %d at once", keys.asked.Load(), keys.most.Load())
	}
}

func TestRequiredSigners(t *testing.T) {
	t.Parallel()
	member := func(content string) func(*proto) {
		return func(p *proto) {
			p.Type, p.StateKey, p.Content = "m.room.member", new("@t:target"), json.RawMessage(content)
		}
	}
	message := func(*proto) {}
	tests := map[string]struct {
		version matrix.RoomVersion
		change  func(*proto)
		want    []matrix.ServerName
	}{
		"message":                         {"12", message, []matrix.ServerName{"sender"}},
		"message, v2":                     {"2", message, []matrix.ServerName{"sender", "domain"}},
		"same server twice, v1":           {"1", func(p *proto) { p.Sender = "@a:domain" }, []matrix.ServerName{"domain"}},
		"invite":                          {"12", member(`{"membership":"invite"}`), []matrix.ServerName{"sender"}},
		"third party invite":              {"12", member(`{"membership":"invite","third_party_invite":{}}`), []matrix.ServerName{}},
		"third party invite, v1":          {"1", member(`{"membership":"invite","third_party_invite":{}}`), []matrix.ServerName{"domain"}},
		"third party invite on a join":    {"12", member(`{"membership":"join","third_party_invite":{}}`), []matrix.ServerName{"sender"}},
		"restricted join, v7":             {"7", member(`{"membership":"join","join_authorised_via_users_server":"@b:auth"}`), []matrix.ServerName{"sender"}},
		"restricted join, v8":             {"8", member(`{"membership":"join","join_authorised_via_users_server":"@b:auth"}`), []matrix.ServerName{"sender", "auth"}},
		"restricted join, same server":    {"12", member(`{"membership":"join","join_authorised_via_users_server":"@b:sender"}`), []matrix.ServerName{"sender"}},
		"restricted join, no user":        {"12", member(`{"membership":"join","join_authorised_via_users_server":1}`), []matrix.ServerName{"sender", ""}},
		"message that names an authority": {"12", func(p *proto) { p.Content = json.RawMessage(`{"join_authorised_via_users_server":"@b:auth"}`) }, []matrix.ServerName{"sender"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := baseProto()
			p.Sender = "@a:sender"
			test.change(&p)
			if got := p.build(t, test.version).RequiredSigners(); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	p := baseProto()
	e := p.build(t, "12")
	other := otherKey(t, "other")
	signed, err := e.AddSignature(other)
	if err != nil {
		t.Fatal(err)
	}
	if ids := e.SignatureKeyIDs("other"); ids != nil {
		t.Errorf("the original was changed: %v", ids)
	}
	if ids := signed.SignatureKeyIDs("other"); len(ids) != 1 || ids[0] != "ed25519:k" || signed.ID() != e.ID() {
		t.Errorf("got %v", ids)
	}
	if err := signed.VerifySignature("other", "ed25519:k", other.Public()); err != nil {
		t.Error(err)
	}
	if err := signed.VerifySignature("other", "ed25519:x", other.Public()); !matrix.IsCode(err, "M_UNAUTHORIZED") {
		t.Errorf("got %v", err)
	}
	merged, err := e.WithSignaturesOf(signed, "other")
	if err != nil || string(merged.JSON()) != string(signed.JSON()) {
		t.Errorf("got %s (%v)", merged.JSON(), err)
	}
	if _, err := e.WithSignaturesOf(e, "other"); !matrix.IsCode(err, "M_BAD_JSON") {
		t.Errorf("not signed: %v", err)
	}
	p.Depth++
	if _, err := p.build(t, "12").WithSignaturesOf(signed, "other"); !matrix.IsCode(err, "M_BAD_JSON") {
		t.Errorf("another event: %v", err)
	}
}
