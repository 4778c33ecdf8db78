package stateres_test

import (
	"maps"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/stateres"
)

const (
	typeMember = "m.room.member"
	typePower  = "m.room.power_levels"
	typeRules  = "m.room.join_rules"
	typeTopic  = "m.room.topic"
)

func TestBanAgainstPowerLevels(t *testing.T) {
	t.Parallel()
	eachV2(t, func(t *testing.T, version string) {
		s, base := founded(t, version)
		// Alice bans bob while bob makes charlie a moderator. The ban comes first
		// because alice has more power, although it was later.
		promote := s.add("$promote", power(bob, s.users(`"`+bob+`":50,"`+charlie+`":50`), "$power", "$bob"))
		ban := s.add("$ban", member(alice, bob, "ban", "$power", "$alice", "$bob"))
		got := s.resolve(s.with(base, promote), s.with(base, ban))
		s.want(got, typeMember, bob, ban)
		s.want(got, typePower, "", "$power")
	})
}

func TestBanOfAModeratorByAnother(t *testing.T) {
	t.Parallel()
	eachV2(t, func(t *testing.T, version string) {
		s, base := founded(t, version)
		both := s.add("$both", power(alice, s.users(`"`+bob+`":50,"`+charlie+`":60`), "$power", "$alice"))
		base = s.with(base, both)
		// Bob sets a topic while charlie kicks him: it does not count.
		kick := s.add("$kick", member(charlie, bob, "leave", both, "$charlie", "$bob"))
		byBob := s.add("$topic", topic(bob, both, "$bob"))
		got := s.resolve(s.with(base, kick), s.with(base, byBob))
		s.want(got, typeMember, bob, kick)
		s.want(got, typeTopic, "", "")
	})
}

func TestJoinRulesAgainstJoin(t *testing.T) {
	t.Parallel()
	eachV2(t, func(t *testing.T, version string) {
		s, base := founded(t, version)
		closed := s.add("$closed", joinRule(alice, "invite", "$power", "$alice"))
		join := s.add("$join", member(eve, eve, "join", "$power", "$rules").at(1))
		got := s.resolve(s.with(base, closed), s.with(base, join))
		s.want(got, typeRules, "", closed)
		s.want(got, typeMember, eve, "")
		// Where the rule was changed to one that lets her in, she is.
		open := s.add("$open", joinRule(alice, "public", "$power", "$alice"))
		got = s.resolve(s.with(base, open), s.with(base, join))
		s.want(got, typeMember, eve, join)
	})
}

func TestConflictingTopics(t *testing.T) {
	t.Parallel()
	eachV2(t, func(t *testing.T, version string) {
		s, base := founded(t, version)
		early := s.add("$early", topic(alice, "$power", "$alice").at(100))
		late := s.add("$late", topic(bob, "$power", "$bob").at(200))
		same := s.add("$same", topic(bob, "$power", "$bob").at(100))
		no := s.add("$no", topic(charlie, "$power", "$charlie").at(300))
		s.want(s.resolve(s.with(base, early), s.with(base, late)), typeTopic, "", late)
		s.want(s.resolve(s.with(base, early), s.with(base, same)), typeTopic, "", same) // the greater ID comes last
		s.want(s.resolve(s.with(base, early), s.with(base, no)), typeTopic, "", early)
		s.want(s.resolve(s.with(base, late), base), typeTopic, "", late)
		s.want(s.resolve(s.with(base, no), base), typeTopic, "", "")
	})
}

func TestMainline(t *testing.T) {
	t.Parallel()
	eachV2(t, func(t *testing.T, version string) {
		s, base := founded(t, version)
		second := s.add("$power2", power(alice, s.users(`"`+bob+`":50,"`+charlie+`":1`), "$power", "$alice"))
		third := s.add("$power3", power(alice, s.users(`"`+bob+`":50,"`+charlie+`":2`), second, "$alice"))
		// The newer levels win over the clock; between the same levels the clock decides.
		old := s.add("$old", topic(bob, "$power", "$bob").at(900))
		mid := s.add("$mid", topic(bob, second, "$bob").at(500))
		tie := s.add("$tie", topic(bob, second, "$bob").at(600))
		fresh := s.add("$fresh", topic(bob, third, "$bob").at(100))
		none := s.add("$none", topic(alice, "$alice").at(999))
		now := s.with(base, third)
		if version != "12" { // algorithm 2 knows the levels all agree in
			s.want(s.resolve(s.with(now, old), s.with(now, mid)), typeTopic, "", mid)
			s.want(s.resolve(s.with(now, none), s.with(now, old)), typeTopic, "", old)
		}
		s.want(s.resolve(s.with(now, mid), s.with(now, tie)), typeTopic, "", tie)
		// The levels are disputed as well.
		s.want(s.resolve(s.with(base, old), s.with(now, fresh)), typeTopic, "", fresh)
		s.want(s.resolve(s.with(base, old), s.with(now, mid), s.with(now, fresh)), typeTopic, "", fresh)
		s.want(s.resolve(s.with(base, none), s.with(now, old)), typeTopic, "", old)
		s.want(s.resolve(s.with(base, old), s.with(s.with(base, second), mid), s.with(now, tie)), typeTopic, "", tie)
	})
}

func TestPowerLevelsOfTheMorePowerfulComeFirst(t *testing.T) {
	t.Parallel()
	eachV2(t, func(t *testing.T, version string) {
		s, base := founded(t, version)
		demote := s.add("$demote", power(alice, s.users(`"`+bob+`":0`), "$power", "$alice").at(900))
		promote := s.add("$promote", power(bob, s.users(`"`+bob+`":50,"`+charlie+`":50`), "$power", "$bob").at(100))
		s.want(s.resolve(s.with(base, demote), s.with(base, promote)), typePower, "", demote)
		// Where alice leaves bob his level, his change is made on top of hers
		// unless it takes away what is above him.
		keep := s.add("$keep", power(alice, "", "$power", "$alice").with(
			`{"redact":50,"users":{`+s.users(`"`+bob+`":50`)+`}}`).at(900))
		above := s.add("$above", power(alice, "", "$power", "$alice").with(
			`{"redact":60,"users":{`+s.users(`"`+bob+`":50`)+`}}`).at(900))
		s.want(s.resolve(s.with(base, keep), s.with(base, promote)), typePower, "", promote)
		s.want(s.resolve(s.with(base, above), s.with(base, promote)), typePower, "", above)
	})
}

// TestProblemA is the room that loses its join rules in algorithm 2: one
// state has outdated ones, all agree that who set them has left.
//
// https://github.com/matrix-org/matrix-spec-proposals/blob/main/proposals/4297-state-resolution-v2_1.md
func TestProblemA(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]matrix.EventID{"2": "", "11": "", "12": "$rules2"} {
		s, base := founded(t, version)
		s.add("$dan", member("@dan:d.example", "@dan:d.example", "join", "$power", "$rules"))
		s.add("$danpower", power(alice, s.users(`"`+bob+`":50,"@dan:d.example":100`), "$power", "$alice"))
		s.add("$rules1", joinRule("@dan:d.example", "invite", "$danpower", "$dan"))
		s.add("$rules2", joinRule("@dan:d.example", "public", "$danpower", "$dan"))
		s.add("$left", member("@dan:d.example", "@dan:d.example", "leave", "$danpower", "$dan"))
		now := s.with(base, "$danpower", "$left", "$rules2")
		got := s.resolve(now, s.with(now, "$rules1"))
		s.want(got, typeRules, "", want)
		s.want(got, typeMember, "@dan:d.example", "$left")
	}
}

// TestProblemB is the room whose power levels are reset in algorithm 2: one
// state has outdated ones, and all know those between through other events.
func TestProblemB(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]matrix.EventID{"2": "$power", "11": "$power", "12": "$power3"} {
		s := newStory(t, version)
		s.add("$alice", member(alice, alice, "join").after("$create"))
		s.add("$power", power(alice, s.users(`"@dan:d.example":1`), "$alice"))
		s.add("$rules", joinRule(alice, "public", "$power", "$alice"))
		s.add("$bob", member(bob, bob, "join", "$power", "$rules"))
		s.add("$charlie", member(charlie, charlie, "join", "$power", "$rules"))
		s.add("$power2", power(alice, s.users(`"`+bob+`":50`), "$power", "$alice").with(
			`{"events":{"m.room.power_levels":50},"users":{`+s.users(`"`+bob+`":50`)+`}}`))
		s.add("$power3", power(bob, "", "$power2", "$bob").with(
			`{"events":{"m.room.power_levels":50},"users":{`+s.users(`"`+bob+`":50,"`+charlie+`":50`)+`}}`))
		s.add("$topic", topic(alice, "$power2", "$alice")) // all have it
		now := s.set("$create", "$alice", "$rules", "$bob", "$charlie", "$topic", "$power3")
		got := s.resolve(now, s.with(now, "$power"))
		s.want(got, typePower, "", want)
	}
}

func TestRejectedEventAuthorisesNothing(t *testing.T) {
	t.Parallel()
	eachV2(t, func(t *testing.T, version string) {
		s, base := founded(t, version)
		fake := s.add("$fake", power(eve, s.users(`"`+eve+`":100`), "$power"))
		joined := s.add("$eve", member(eve, eve, "join", "$power", "$rules"))
		byEve := s.add("$topic", topic(eve, fake, joined))
		s.bad[fake], s.bad[joined] = true, true
		got := s.resolve(s.with(base, byEve), base)
		s.want(got, typeTopic, "", "")
	})
}

func TestEventsTheStoreLacks(t *testing.T) {
	t.Parallel()
	eachV2(t, func(t *testing.T, version string) {
		s, base := founded(t, version)
		early := s.add("$early", topic(alice, "$power", "$alice").at(100))
		late := s.add("$late", topic(alice, "$power", "$alice").at(200))
		one, two := s.with(base, early), s.with(base, late)
		delete(s.events, late)
		s.want(s.resolve(one, two), typeTopic, "", early)
		delete(s.events, early)
		s.want(s.resolve(one, two), typeTopic, "", "")
		// Charlie's join is not disputed, so nobody needs to know it.
		delete(s.events, "$charlie")
		s.want(s.resolve(one, two), typeMember, charlie, "$charlie")
	})
}

func TestAuthEventOfAnotherRoom(t *testing.T) {
	t.Parallel()
	eachV2(t, func(t *testing.T, version string) {
		s, base := founded(t, version)
		foreign := member(eve, eve, "join", "$power", "$rules")
		foreign.room = "!other:e.example"
		s.add("$foreign", foreign)
		byEve := s.add("$topic", e{typ: typeTopic, sender: eve, content: `{}`, auth: []matrix.EventID{"$foreign"}})
		s.want(s.resolve(s.with(base, byEve), base), typeTopic, "", "")
	})
}

// TestCircle feeds events that are in their own auth chains, which only IDs
// that are no hashes make possible.
func TestCircle(t *testing.T) {
	t.Parallel()
	s, base := founded(t, "2")
	s.add("$x", power(alice, s.users(`"`+bob+`":1`), "$y", "$alice"))
	s.add("$y", power(alice, s.users(`"`+bob+`":2`), "$x", "$alice"))
	s.add("$self", joinRule(alice, "invite", "$self", "$power", "$alice"))
	s.add("$topic", topic(alice, "$x", "$alice"))
	got := s.resolve(s.with(base, "$x", "$self", "$topic"), s.with(base, "$y"))
	s.want(got, typePower, "", "")
	s.want(got, typeRules, "", "$rules")
}

func TestUnreadablePowerLevels(t *testing.T) {
	t.Parallel()
	eachV2(t, func(t *testing.T, version string) {
		s, base := founded(t, version)
		broken := s.add("$broken", power(alice, "", "$power", "$alice").with(`{"users":[]}`))
		after := s.add("$after", power(alice, s.users(`"`+bob+`":1`), broken, "$alice"))
		s.want(s.resolve(s.with(base, broken), s.with(base, after)), typePower, "", "") // nobody can tell
		s.bad[broken] = true
		s.want(s.resolve(base, s.with(base, after)), typePower, "", after)
	})
}

// TestEmptyAgainstFull replays the whole room.
func TestEmptyAgainstFull(t *testing.T) {
	t.Parallel()
	for _, version := range matrix.RoomVersions() {
		s, base := founded(t, string(version))
		s.add("$topic", topic(bob, "$power", "$bob"))
		full := s.with(base, "$topic")
		if got := s.resolve(stateres.StateSet{}, full, base); !maps.Equal(got, full) {
			t.Errorf("version %s: got %v, want %v", version, got, full)
		}
	}
}
