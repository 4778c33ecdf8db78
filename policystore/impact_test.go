package policystore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/storage"
)

// crowded seeds a room with our own members and some of a partner.
func crowded(t *testing.T, db *storage.DB, own, partners int) {
	t.Helper()
	members := make(map[matrix.UserID]string)
	for i := range own {
		members[matrix.UserID(fmt.Sprintf("@u%d:a.example", i))] = "join"
	}
	for i := range partners {
		members[matrix.UserID(fmt.Sprintf("@p%d:p.example", i))] = "join"
	}
	newSeeder(t, db).room("crowded", policy.Unrestricted, members)
}

// TestAGreatChangeNeedsASecondPerson blocks a partner that many people belong
// to: alone nobody can, by a draft or by the file; with another one it works.
func TestAGreatChangeNeedsASecondPerson(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		c := newClock()
		crowded(t, db, 100, 40)
		s := inForce(t, db, withPartner(2, "external"), c)
		d, err := s.Propose(t.Context(), policystore.Proposal{Document: parse(t, withPartner(3, "blocked")), By: claire, Reason: "it was broken into"})
		if err != nil {
			t.Fatal(err)
		}
		if p, err := d.Preview(); err != nil || !strings.Contains(p.Guard, "40 of 140") {
			t.Errorf("the preview says %q, %v", p.Guard, err)
		}
		if _, err := s.ActivateDraft(t.Context(), d.ID, claire, true); !matrix.IsCode(err, "ORG.BEFFROI.IMPACT") {
			t.Errorf("alone: %v", err)
		}
		if s.Active().Version != 2 {
			t.Fatal("it is in force")
		}
		if _, err := s.Approve(t.Context(), d.ID, denis); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ActivateDraft(t.Context(), d.ID, denis, false); err != nil || s.Active().Version != 3 {
			t.Errorf("with another person: %v", err)
		}
	})
}

func TestTheFileIsTheWordOfOnePerson(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		own, partners, bound int
		refused              bool
	}{
		"a large share":           {100, 40, 0, true},
		"a share that is allowed": {100, 40, 50, false},
		"no bound":                {100, 40, 100, false},
		"few":                     {1, 20, 0, false},
		"a small share":           {400, 21, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testkit.OpenDB(t, "sqlite")
			crowded(t, db, tc.own, tc.partners)
			file := filepath.Join(t.TempDir(), "policy.yaml")
			write := func(text string) {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(withPartner(1, "external"))
			s := open(t, policystore.Options{DB: db, File: file, Impact: tc.bound})
			write(withPartner(2, "blocked"))
			err := s.Reload(t.Context())
			if got := err != nil; got != tc.refused || s.Active().Version != map[bool]int64{true: 1, false: 2}[tc.refused] {
				t.Errorf("refused is %v (%v), version %d in force", got, err, s.Active().Version)
			}
			if tc.refused && !strings.Contains(err.Error(), "beffroi policy apply") {
				t.Errorf("%v does not say what to do", err)
			}
		})
	}
}

// TestOurOwnPeopleAreGuarded has a rule that keeps two of our own out of rooms.
func TestOurOwnPeopleAreGuarded(t *testing.T) {
	t.Parallel()
	db := testkit.OpenDB(t, "sqlite")
	crowded(t, db, 100, 1)
	c := newClock()
	s := inForce(t, db, withPartner(2, "external"), c)
	d, err := s.Propose(t.Context(), policystore.Proposal{By: claire, Reason: "a mistake", Document: parse(t, withPartner(3, "external")+
		"rules:\n  - {id: x, actions: [join], when: 'subject.id == \"@u1:a.example\" || subject.id == \"@u2:a.example\"', reason: {fr: non, en: no}}\n")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.ActivateDraft(t.Context(), d.ID, claire, true)
	if !matrix.IsCode(err, "ORG.BEFFROI.IMPACT") || !strings.Contains(err.Error(), "2 memberships of") {
		t.Error(err)
	}
}

// TestAnApprovedDraftIsLookedAtAgain lets the effect of a draft grow after it
// was approved. To go back is one step, whatever its effect.
func TestAnApprovedDraftIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	db := testkit.OpenDB(t, "sqlite")
	c := newClock()
	s := inForce(t, db, withPartner(2, "blocked"), c)
	if err := s.Activate(t.Context(), parse(t, withPartner(3, "external")), claire); err != nil {
		t.Fatal(err)
	}
	d, err := s.Propose(t.Context(), policystore.Proposal{Document: parse(t, withPartner(4, "blocked")), By: claire, Reason: "the contract has ended"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Approve(t.Context(), d.ID, denis); err != nil {
		t.Fatal(err)
	}
	crowded(t, db, 100, 40)
	if _, err := s.ActivateDraft(t.Context(), d.ID, denis, false); !matrix.IsCode(err, "ORG.BEFFROI.IMPACT") {
		t.Errorf("a larger effect than was approved: %v", err)
	}
	if _, err := s.RollBackTo(t.Context(), d.ID, denis); err != nil || s.Active().Version != 4 {
		t.Errorf("back: %v", err)
	}
}
