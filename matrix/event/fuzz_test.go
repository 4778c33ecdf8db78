package event_test

import (
	"bytes"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
)

func fuzzSeeds(f *testing.F) {
	versions := matrix.RoomVersions()
	for i, version := range versions {
		p := baseProto()
		p.StateKey = new("k")
		f.Add(p.build(f, version).JSON(), uint8(i))
		p.Type, p.Redacts = "m.room.redaction", "$x"
		f.Add(p.build(f, version).JSON(), uint8(i))
		p.Type, p.Content = "m.room.member", []byte(`{"membership":"invite","third_party_invite":{"signed":{}},"join_authorised_via_users_server":"@a:b"}`)
		f.Add(p.build(f, version).JSON(), uint8(i))
		f.Add(withHash(createV12, "x"), uint8(i))
	}
}

// FuzzParseUntrusted checks that whatever is accepted is canonical, can be
// sent on, and reads the same from the store.
func FuzzParseUntrusted(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, raw []byte, v uint8) {
		versions := matrix.RoomVersions()
		rules := rulesOf(t, versions[int(v)%len(versions)])
		e, err := event.ParseUntrusted(raw, rules)
		if err != nil {
			if !matrix.IsCode(err, "M_BAD_JSON") && !matrix.IsCode(err, "M_NOT_JSON") && !matrix.IsCode(err, "M_TOO_LARGE") {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		canonical, err := canonicaljson.Canonicalise(e.JSON(), canonicaljson.Lenient)
		if err != nil || !bytes.Equal(canonical, e.JSON()) {
			t.Fatalf("%q is not canonical (%v)", e.JSON(), err)
		}
		again, err := event.ParseUntrusted(e.JSON(), rules)
		if err != nil || !bytes.Equal(again.JSON(), e.JSON()) || again.ID() != e.ID() {
			t.Fatalf("%q parsed again: %v", e.JSON(), err)
		}
		stored, err := event.ParseStored(e.JSON(), e.ID(), rules)
		if err != nil {
			t.Fatal(err)
		}
		key1, ok1 := e.StateKey()
		key2, ok2 := stored.StateKey()
		if stored.RoomID() != e.RoomID() || stored.Sender() != e.Sender() || stored.Type() != e.Type() || key1 != key2 || ok1 != ok2 ||
			stored.Depth() != e.Depth() || stored.Redacts() != e.Redacts() || stored.Membership() != e.Membership() {
			t.Fatalf("%q reads otherwise from the store", e.JSON())
		}
		if len(e.PrevEvents()) > event.MaxPrevEvents || len(e.AuthEvents()) > event.MaxAuthEvents {
			t.Fatal("too many references")
		}
		_ = e.RequiredSigners()
		for _, form := range []event.ClientForm{{}, {StrippedState: true}, {Unsigned: []byte(`{}`)}} {
			if _, err := canonicaljson.CanonicaliseEnvelope(e.AppendClient(nil, form), canonicaljson.Lenient); err != nil {
				t.Fatalf("what clients get of %q: %v", e.JSON(), err)
			}
		}
	})
}

// FuzzRedact checks that redaction is final and leaves the identity alone.
func FuzzRedact(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, raw []byte, v uint8) {
		versions := matrix.RoomVersions()
		rules := rulesOf(t, versions[int(v)%len(versions)])
		e, err := event.ParseUntrusted(raw, rules)
		if err != nil {
			return
		}
		redacted, err := e.Redact()
		if err != nil {
			t.Fatal(err)
		}
		twice, err := redacted.Redact()
		if err != nil || !bytes.Equal(twice.JSON(), redacted.JSON()) {
			t.Fatalf("%q redacted again is %q (%v)", redacted.JSON(), twice.JSON(), err)
		}
		if redacted.ReferenceHash() != e.ReferenceHash() || len(redacted.JSON()) > len(e.JSON()) {
			t.Fatalf("%q redacted is %q", e.JSON(), redacted.JSON())
		}
		parsed, err := event.ParseUntrusted(redacted.JSON(), rules)
		if err != nil || parsed.ID() != e.ID() || !bytes.Equal(parsed.JSON(), redacted.JSON()) {
			t.Fatalf("%q does not parse: %v", redacted.JSON(), err)
		}
	})
}
