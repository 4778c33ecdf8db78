package eventauth_test

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
)

// benchmarkCheck judges one event again and again. cached says that the
// state keeps its levels parsed, as the room server's does.
func benchmarkCheck(b *testing.B, cached bool, judge func(room roomState) *event.Event) {
	b.Helper()
	room := newRoom(b, "11")
	// Of the size of a real room's: 60 users with a level.
	var users []string
	for i := range 60 {
		users = append(users, fmt.Sprintf(`"@user%02d:b.example":50`, i))
	}
	room.put(b, "11", state("m.room.power_levels", "", alice, `{"users":{`+strings.Join(users, ",")+`,"`+alice+`":100}}`))
	room.put(b, "11", joinRule("public")[0])
	var s eventauth.State = room
	if cached {
		levels, err := eventauth.EffectivePowerLevels(room.create(), room.Event("m.room.power_levels", ""))
		if err != nil {
			b.Fatal(err)
		}
		s = &leveled{roomState: room, levels: levels}
	}
	e, create := judge(room), room.create()
	b.ReportAllocs()
	for b.Loop() {
		if err := eventauth.Check(e, s, create); err != nil {
			b.Fatal(err)
		}
	}
}

func message(b *testing.B) func(roomState) *event.Event {
	return func(roomState) *event.Event {
		return build(b, "11", ev{typ: "m.room.message", sender: bob, content: `{"body":"hello","msgtype":"m.text"}`})
	}
}

func BenchmarkMessage(b *testing.B)         { benchmarkCheck(b, true, message(b)) }
func BenchmarkMessageUncached(b *testing.B) { benchmarkCheck(b, false, message(b)) }

func BenchmarkJoin(b *testing.B) {
	benchmarkCheck(b, true, func(roomState) *event.Event { return build(b, "11", member(eve, eve, "join")) })
}

func BenchmarkRestrictedJoin(b *testing.B) {
	benchmarkCheck(b, true, func(room roomState) *event.Event {
		room.put(b, "11", joinRule("restricted")[0])
		return build(b, "11", authorised(eve, mod))
	})
}

func BenchmarkNeededFor(b *testing.B) {
	e := build(b, "11", member(mod, eve, "invite"))
	b.ReportAllocs()
	for b.Loop() {
		eventauth.NeededFor(eventauth.SubjectOf(e), e.Rules())
	}
}

// BenchmarkFloorEd25519Verify is what one signature costs, to compare with.
func BenchmarkFloorEd25519Verify(b *testing.B) {
	private := identityServer(0, "ed25519:0").Private
	text := []byte(strings.Repeat("x", 600))
	sig, public := ed25519.Sign(private, text), private.Public().(ed25519.PublicKey)
	for b.Loop() {
		if !ed25519.Verify(public, text, sig) {
			b.Fatal("bad signature")
		}
	}
}
