package event_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/signing"
)

// benchEvent is a message of about 1 KiB.
func benchEvent(b *testing.B) (*event.Event, signing.Key) {
	b.Helper()
	key := specKey(b)
	p := event.Proto{
		RoomID: "!8Kq3WvN5tB1yR7uJ0hG4fD9sA2lP6oI3eX8cM5nT1Q", Sender: "@bob:domain", Type: "m.room.message",
		Content: json.RawMessage(`{"body":"` + strings.Repeat("Le beffroi sonne à midi. ", 12) +
			`","format":"org.matrix.custom.html","formatted_body":"<p>` + strings.Repeat("bell ", 12) + `</p>","msgtype":"m.text"}`),
		PrevEvents: []matrix.EventID{"$T4vB7wL2kN8yR5eZ0uH3jG6fD1cA4oI7xE2MQm1pX9s"},
		AuthEvents: []matrix.EventID{
			"$fR0nzJ3z9q5zD1nPq2hC3o6Jx0yV4b7sW8cT5uKx1aE",
			"$Qm1pX9sT4vB7wL2kN8yR5eZ0uH3jG6fD1cA4oI7xE2M",
			"$z8Kq3WvN5tB1yR7uJ0hG4fD9sA2lP6oI3eX8cM5nT1Q",
		},
		Depth: 4711, OriginServerTS: 1750000000000,
	}
	e, err := p.Build(rulesOf(b, "12"), key)
	if err != nil {
		b.Fatal(err)
	}
	return e, key
}

func BenchmarkParseUntrusted(b *testing.B) {
	e, _ := benchEvent(b)
	raw, rules := e.JSON(), e.Rules()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.ParseUntrusted(raw, rules); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseUntrustedSpaced has unsigned and white space, as from a server
// in Python.
func BenchmarkParseUntrustedSpaced(b *testing.B) {
	e, _ := benchEvent(b)
	raw := []byte(strings.Replace(string(e.JSON()), `{"auth_events":`, `{"unsigned": {"age": 12}, "auth_events": `, 1))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.ParseUntrusted(raw, e.Rules()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseStored(b *testing.B) {
	e, _ := benchEvent(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.ParseStored(e.JSON(), e.ID(), e.Rules()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadSixFields reads what every event is asked for. The large event
// shows that its content is skipped and not parsed.
func BenchmarkReadSixFields(b *testing.B) {
	small, key := benchEvent(b)
	p := event.Proto{
		RoomID: small.RoomID(), Sender: small.Sender(), Type: small.Type(),
		Content: json.RawMessage(`{"body":"` + strings.Repeat("Le beffroi sonne à midi. ", 2300) + `"}`),
	}
	large, err := p.Build(small.Rules(), key)
	if err != nil {
		b.Fatal(err)
	}
	for name, e := range map[string]*event.Event{"1KiB": small, "60KiB": large} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(e.JSON())))
			b.ReportAllocs()
			for b.Loop() {
				read, err := event.ParseStored(e.JSON(), e.ID(), e.Rules())
				if err != nil {
					b.Fatal(err)
				}
				_, isState := read.StateKey()
				if isState || read.RoomID() != e.RoomID() || read.Sender() != e.Sender() || read.Type() != e.Type() ||
					read.Depth() != e.Depth() || read.OriginServerTS() != e.OriginServerTS() {
					b.Fatal("another event")
				}
			}
		})
	}
}

func BenchmarkAppendClient100(b *testing.B) {
	e, _ := benchEvent(b)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = dst[:0]
		for range 100 {
			dst = e.AppendClient(dst, event.ClientForm{OmitRoomID: true, Unsigned: json.RawMessage(`{"age":12}`)})
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	_, key := benchEvent(b)
	rules := rulesOf(b, "12")
	p := event.Proto{RoomID: "!r:domain", Sender: "@bob:domain", Type: "m.room.message", Content: json.RawMessage(`{"body":"hello","msgtype":"m.text"}`), PrevEvents: []matrix.EventID{"$a"}, AuthEvents: []matrix.EventID{"$b"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Build(rules, key); err != nil {
			b.Fatal(err)
		}
	}
}

// oneKey is a server that everybody trusts.
type oneKey struct{ public ed25519.PublicKey }

func (k oneKey) PublicKey(context.Context, matrix.ServerName, matrix.KeyID, int64) (ed25519.PublicKey, int64, error) {
	return k.public, 1 << 60, nil
}

func BenchmarkVerifySignatures1000(b *testing.B) {
	e, key := benchEvent(b)
	events := make([]*event.Event, 1000)
	for i := range events {
		events[i] = e
	}
	keys := oneKey{key.Public()}
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range event.VerifySignatures(b.Context(), keys, events) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkFloorEd25519Verify is the cost nobody can avoid.
func BenchmarkFloorEd25519Verify(b *testing.B) {
	e, key := benchEvent(b)
	sig := ed25519.Sign(key.Private, e.JSON())
	for b.Loop() {
		if !ed25519.Verify(key.Public(), e.JSON(), sig) {
			b.Fatal("bad signature")
		}
	}
}

// BenchmarkFloorEd25519Sign is the same for building.
func BenchmarkFloorEd25519Sign(b *testing.B) {
	e, key := benchEvent(b)
	for b.Loop() {
		ed25519.Sign(key.Private, e.JSON())
	}
}

// BenchmarkFloorEncodingJSON100 encodes 100 events whose content is JSON
// already.
func BenchmarkFloorEncodingJSON100(b *testing.B) {
	e, _ := benchEvent(b)
	type clientEvent struct {
		Content  json.RawMessage `json:"content"`
		ID       matrix.EventID  `json:"event_id"`
		TS       int64           `json:"origin_server_ts"`
		Sender   matrix.UserID   `json:"sender"`
		Type     string          `json:"type"`
		Unsigned json.RawMessage `json:"unsigned"`
	}
	events := make([]clientEvent, 100)
	for i := range events {
		events[i] = clientEvent{e.Content(), e.ID(), e.OriginServerTS(), e.Sender(), e.Type(), json.RawMessage(`{"age":12}`)}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := json.Marshal(events); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFloorEncodingJSON only decodes the event, into a struct.
func BenchmarkFloorEncodingJSON(b *testing.B) {
	e, _ := benchEvent(b)
	b.ReportAllocs()
	for b.Loop() {
		var v struct {
			Type, Sender string
			RoomID       string `json:"room_id"`
			Depth        int64
			Content      json.RawMessage
			Prev         []string          `json:"prev_events"`
			Auth         []string          `json:"auth_events"`
			Hashes       map[string]string `json:"hashes"`
		}
		if err := json.Unmarshal(e.JSON(), &v); err != nil {
			b.Fatal(err)
		}
	}
}
