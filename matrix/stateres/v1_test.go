package stateres_test

import "testing"

func TestV1AbsenceIsNoConflict(t *testing.T) {
	t.Parallel()
	s, base := founded(t, "1")
	s.add("$topic", topic(bob, "$power", "$bob"))
	s.add("$eve", member(eve, eve, "join", "$power", "$rules"))
	got := s.resolve(s.with(base, "$topic"), s.with(base, "$eve"))
	s.want(got, typeTopic, "", "$topic")
	s.want(got, typeMember, eve, "$eve")
	if s.calls != 0 {
		t.Errorf("the store was asked %d times", s.calls)
	}
}

func TestV1PowerLevels(t *testing.T) {
	t.Parallel()
	s, base := founded(t, "1")
	s.add("$low", power(alice, s.users(`"`+bob+`":0`), "$power", "$alice").deep(10))
	s.add("$byBob", power(bob, s.users(`"`+bob+`":50,"`+charlie+`":50`), "$power", "$bob").deep(20))
	s.add("$byAlice", power(alice, s.users(`"`+bob+`":7`), "$power", "$alice").deep(30))
	// Bob's is not allowed after alice's, and what comes after it is not looked at.
	got := s.resolve(s.with(base, "$low"), s.with(base, "$byBob"), s.with(base, "$byAlice"))
	s.want(got, typePower, "", "$low")
	got = s.resolve(s.with(base, "$low"), s.with(base, "$byAlice"))
	s.want(got, typePower, "", "$byAlice")
	// The oldest is not checked at all.
	s.add("$byEve", power(eve, s.users(`"`+eve+`":100`), "$power").deep(1))
	got = s.resolve(s.with(base, "$byEve"), s.with(base, "$byBob"))
	s.want(got, typePower, "", "$byEve")
}

func TestV1Ties(t *testing.T) {
	t.Parallel()
	s, base := founded(t, "1")
	s.add("$a", topic(alice, "$power", "$alice").deep(9))
	s.add("$b", topic(alice, "$power", "$alice").deep(9))
	s.add("$c", topic(alice, "$power", "$alice").deep(8))
	s.add("$d", topic(charlie, "$power", "$charlie").deep(10))
	want := "$a"
	if sha1Hex("$b") < sha1Hex("$a") {
		want = "$b"
	}
	got := s.resolve(s.with(base, "$a"), s.with(base, "$b"), s.with(base, "$c"), s.with(base, "$d"))
	s.want(got, typeTopic, "", id("%s", want))
	// Nobody's is allowed: there is none.
	s.add("$e", topic(charlie, "$power", "$charlie").deep(11))
	s.want(s.resolve(s.with(base, "$d"), s.with(base, "$e")), typeTopic, "", "")
}

func TestV1MembersAndJoinRules(t *testing.T) {
	t.Parallel()
	s, base := founded(t, "1")
	s.add("$closed", joinRule(alice, "invite", "$power", "$alice").deep(50))
	s.add("$ban", member(bob, charlie, "ban", "$power", "$bob", "$charlie").deep(60))
	s.add("$again", member(charlie, charlie, "join", "$power", "$rules", "$charlie").deep(61))
	got := s.resolve(s.with(base, "$closed", "$ban"), s.with(base, "$again"))
	s.want(got, typeRules, "", "$closed")
	s.want(got, typeMember, charlie, "$ban") // the join is not allowed after it
	// Members are judged by what was agreed: bob, about whom the states differ,
	// can ban nobody.
	s.add("$kick", member(alice, bob, "leave", "$power", "$alice", "$bob").deep(62))
	got = s.resolve(s.with(base, "$ban"), s.with(base, "$kick"))
	s.want(got, typeMember, charlie, "$charlie")
	s.want(got, typeMember, bob, "$kick")
}

func TestV1EventsTheStoreLacks(t *testing.T) {
	t.Parallel()
	s, base := founded(t, "1")
	s.add("$a", topic(alice, "$power", "$alice"))
	s.add("$b", topic(alice, "$power", "$alice"))
	s.add("$p", power(alice, s.users(`"`+bob+`":0`), "$power", "$alice"))
	one, two := s.with(base, "$a"), s.with(base, "$b", "$p")
	delete(s.events, "$b")
	delete(s.events, "$p")
	delete(s.events, "$power")
	got := s.resolve(one, two)
	s.want(got, typeTopic, "", "$a")
	s.want(got, typePower, "", "")
	delete(s.events, "$a")
	s.want(s.resolve(one, two), typeTopic, "", "")
}
