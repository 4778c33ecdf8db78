package pushrules_test

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	"beffroi/matrix/pushrules"
)

// One event for the thousand users of a room, as push works it.
func BenchmarkEvaluate(b *testing.B) {
	const users = 1000
	var c pushrules.Changes
	for i := range 10 {
		rule := pushrules.NewRule{Actions: raws(`"notify"`), Pattern: fmt.Sprintf("keyword%d", i)}
		if err := c.Put(pushrules.Content, fmt.Sprint(i), rule, "", ""); err != nil {
			b.Fatal(err)
		}
	}
	for name, rules := range map[string]pushrules.Ruleset{"default": pushrules.Default(me), "ten keywords": c.Ruleset(me)} {
		b.Run(name, func(b *testing.B) {
			compiled := pushrules.Compile(me, &rules)
			e := parse(b, `{"content":{"msgtype":"m.text","body":"Bonjour à tous, la réunion commence dans dix minutes."}}`)
			b.ReportAllocs()
			for b.Loop() {
				in := pushrules.NewInput(e, users, always)
				for range users {
					if out := compiled.Evaluate(in, "Moi"); !out.Notify {
						b.Fatal("silent")
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/users, "ns/user")
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	rules := pushrules.Default(me)
	for b.Loop() {
		pushrules.Compile(me, &rules)
	}
}

// BenchmarkFloorEd25519Verify is what one signature costs, to compare with.
func BenchmarkFloorEd25519Verify(b *testing.B) {
	private := ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", ed25519.SeedSize)))
	text := []byte(strings.Repeat("x", 600))
	sig, public := ed25519.Sign(private, text), private.Public().(ed25519.PublicKey)
	for b.Loop() {
		if !ed25519.Verify(public, text, sig) {
			b.Fatal("bad signature")
		}
	}
}
