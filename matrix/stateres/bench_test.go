package stateres_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"maps"
	"strings"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/stateres"
)

// crowd is a room of 10,000 state events and two states of it that differ in
// 50: power levels, join rules, topics, bans and profile changes.
func crowd(b *testing.B, version string) (*story, []stateres.StateSet) {
	b.Helper()
	s, base := founded(b, version)
	auth := []matrix.EventID{"$power", "$rules"}
	for i := range 30 { // years of levels
		next := s.add(id("$power%d", i), power(alice, s.users(fmt.Sprintf("%q:50,%q:%d", bob, charlie, i)), auth[0], "$alice"))
		auth[0] = next
	}
	base = s.with(base, auth[0])
	for i := range 10_000 - len(base) {
		user := fmt.Sprintf("@user%d:s%d.example", i, i%50)
		joined := s.add(id("$u%d", i), member(user, user, "join", auth...))
		if i%3 == 0 { // has changed the name
			joined = s.add(id("$v%d", i), member(user, user, "join", append(auth, joined)...))
		}
		base[s.events[joined].StateTuple()] = joined
	}
	one, two := maps.Clone(base), maps.Clone(base)
	put := func(set stateres.StateSet, name matrix.EventID, x e) {
		set[s.events[s.add(name, x)].StateTuple()] = name
	}
	put(one, "$lower", power(alice, s.users(fmt.Sprintf("%q:40", bob)), auth[0], "$alice"))
	put(two, "$raise", power(bob, s.users(fmt.Sprintf("%q:50,%q:29", bob, charlie)), auth[0], "$bob"))
	put(one, "$closed", joinRule(alice, "invite", auth[0], "$alice"))
	for i := range 48 {
		user := fmt.Sprintf("@user%d:s%d.example", i, i%50)
		last := id("$u%d", i)
		if i%3 == 0 {
			last = id("$v%d", i)
		}
		put(one, id("$w%d", i), member(user, user, "join", append(auth, last)...))
		if i%4 == 0 {
			put(two, id("$ban%d", i), member(bob, user, "ban", auth[0], "$bob", last))
		}
	}
	return s, []stateres.StateSet{one, two}
}

func benchmarkResolve(b *testing.B, version string, store func(*story) stateres.Store) {
	b.Helper()
	s, sets := crowd(b, version)
	b.ReportAllocs()
	for b.Loop() {
		out, err := stateres.Resolve(b.Context(), s.rules, sets, store(s), stateres.Budget{})
		if err != nil || len(out) != len(sets[0]) {
			b.Fatal(len(out), err)
		}
	}
}

func plain(s *story) stateres.Store { return s }

func BenchmarkResolveV2(b *testing.B)  { benchmarkResolve(b, "11", plain) }
func BenchmarkResolveV21(b *testing.B) { benchmarkResolve(b, "12", plain) }
func BenchmarkResolveV1(b *testing.B)  { benchmarkResolve(b, "1", plain) }

// BenchmarkResolveV21Indexed has a store that knows the auth chains.
func BenchmarkResolveV21Indexed(b *testing.B) {
	benchmarkResolve(b, "12", func(s *story) stateres.Store { return unreached{s} })
}

// unreached is an index by which nothing disputed is in the auth chains of
// what is not, as it is in this room.
type unreached struct{ *story }

func (unreached) Reached(_ context.Context, _, _ []matrix.EventID) ([]matrix.EventID, error) {
	return nil, nil
}

func BenchmarkEqualStates(b *testing.B) {
	s, sets := crowd(b, "12")
	same := []stateres.StateSet{sets[0], maps.Clone(sets[0])}
	for b.Loop() {
		if _, err := stateres.Resolve(b.Context(), s.rules, same, s, stateres.Budget{}); err != nil {
			b.Fatal(err)
		}
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
