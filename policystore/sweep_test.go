package policystore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// remover takes note of who is removed. It stands for the room server, which
// has tests of its own.
type remover struct {
	removed map[matrix.UserID]int
	refuse  matrix.UserID // who cannot be removed
}

func (r *remover) Remove(_ context.Context, _ matrix.RoomID, user matrix.UserID, reason string) error {
	if user == r.refuse || reason == "" {
		return matrix.Forbidden("no power")
	}
	r.removed[user]++
	return nil
}

// sweepAll steps until nothing is left to do.
func sweepAll(t interface{ Fatal(...any) }, w *policystore.Sweeper) (steps int) {
	for steps = 1; ; steps++ {
		more, err := w.Step(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return steps
		}
	}
}

func findings(t interface{ Fatal(...any) }, s *policystore.Store) map[matrix.UserID]policystore.Finding {
	list, sweep, err := s.Findings(context.Background(), policystore.FindingFilter{Limit: 1000})
	if err != nil || sweep.Version != s.Active().Version {
		t.Fatal(sweep, err)
	}
	out := make(map[matrix.UserID]policystore.Finding)
	for _, f := range list {
		out[f.User] = f
	}
	return out
}

func TestFindingsAreTreatedAsChosen(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		ctx, c := t.Context(), newClock()
		s := inForce(t, db, withPartner(2, "external"), c)
		seed := newSeeder(t, db)
		seed.room("open", policy.Unrestricted, map[matrix.UserID]string{"@alice:a.example": "join", "@eve:p.example": "join",
			"@ed:p.example": "invite", "@stuck:p.example": "join", "@gone:p.example": "leave"})
		r := &remover{removed: map[matrix.UserID]int{}, refuse: "@stuck:p.example"}
		w := policystore.NewSweeper(s, r)
		if sweepAll(t, w); len(findings(t, s)) != 0 {
			t.Error(findings(t, s))
		}
		activate := func(version int64, how policystore.Treatment) {
			t.Helper()
			d, err := s.Propose(ctx, policystore.Proposal{Document: parse(t, document(version)), By: claire, Reason: "x", Treatment: how})
			if err == nil {
				_, err = s.ActivateDraft(ctx, d.ID, denis, true)
			}
			if err != nil {
				t.Fatal(err)
			}
			sweepAll(t, w)
		}
		activate(3, policystore.Treatment{})
		if f := findings(t, s); len(f) != 3 || f["@eve:p.example"].Status != "frozen" || len(r.removed) != 0 {
			t.Error(f, r.removed)
		}
		activate(4, policystore.Treatment{How: policystore.TreatLeave, Until: c.now().Add(time.Hour)})
		if f := findings(t, s); len(f) != 3 || f["@ed:p.example"].Status != "left" || len(r.removed) != 0 {
			t.Error(f, r.removed)
		}
		c.advance(2 * time.Hour)
		sweepAll(t, w)
		f := findings(t, s)
		if len(r.removed) != 2 || f["@eve:p.example"].Status != "removed" || f["@stuck:p.example"].Status != "failed" ||
			f["@stuck:p.example"].Detail == "" {
			t.Error(f, r.removed)
		}
		if sweepAll(t, w); r.removed["@eve:p.example"] != 1 {
			t.Error("removed twice")
		}
	})
}

func TestTheEndOfAContractBecomesAFinding(t *testing.T) {
	t.Parallel()
	c := newClock()
	db := testkit.OpenDB(t, "sqlite")
	ends := c.now().Add(time.Hour).UTC().Format(time.RFC3339)
	s := inForce(t, db, document(2)+"  - {id: partner, class: external, ends: "+ends+", homeservers: [{name: p.example}]}\n", c)
	newSeeder(t, db).room("open", policy.Unrestricted, map[matrix.UserID]string{"@eve:p.example": "join"})
	w := policystore.NewSweeper(s, &remover{})
	if sweepAll(t, w); len(findings(t, s)) != 0 {
		t.Error("found before its end")
	}
	c.advance(61 * time.Minute)
	if sweepAll(t, w); findings(t, s)["@eve:p.example"].Reason != string(policy.ReasonEnded) {
		t.Error(findings(t, s))
	}
}

// TestASweepGoesOnWhereItWas stops a sweep in the middle: a new one looks at
// the rest and no more.
func TestASweepGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := inForce(t, db, withPartner(2, "blocked"), newClock())
		members := map[matrix.UserID]string{}
		for i := range 2500 {
			members[matrix.UserID(fmt.Sprintf("@u%d:p.example", i))] = "join"
		}
		newSeeder(t, db).room("big", policy.Unrestricted, members)
		if more, err := policystore.NewSweeper(s, &remover{}).Step(t.Context()); !more || err != nil {
			t.Fatal(more, err)
		}
		_, half, err := s.Findings(t.Context(), policystore.FindingFilter{Limit: 1})
		if err != nil || half.Scanned != 1000 || half.FinishedTS != 0 {
			t.Fatal(half, err)
		}
		sweepAll(t, policystore.NewSweeper(s, &remover{}))
		_, end, err := s.Findings(t.Context(), policystore.FindingFilter{Limit: 1})
		if err != nil || end.Scanned != 2500 || end.Found != 2500 || end.FinishedTS == 0 {
			t.Error(end, err)
		}
	})
}

// TestPreviewEqualsWhatTheSweepFinds holds for random documents and rooms.
func TestPreviewEqualsWhatTheSweepFinds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		db, err := storage.Open(context.Background(), t.TempDir()+"/"+rapid.StringMatching(`[a-z]{12}`).Draw(rt, "name")+".db")
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		s := inForce(t, db, randomDocument(rt, 2), newClock())
		seed := newSeeder(t, db)
		for i := range rapid.IntRange(1, 4).Draw(rt, "rooms") {
			members := rapid.MapOfN(rapid.Custom(func(rt *rapid.T) matrix.UserID {
				return matrix.UserID("@" + rapid.StringMatching(`[a-d]`).Draw(rt, "user") + ":" + randomServer(rt))
			}), rapid.SampledFrom([]string{"join", "invite", "knock", "leave"}), 0, 8).Draw(rt, "members")
			seed.room(fmt.Sprint("r", i), rapid.SampledFrom([]policy.AccessRule{policy.Restricted, policy.Unrestricted, policy.Direct}).Draw(rt, "rule"), members)
		}
		d, err := s.Propose(context.Background(), policystore.Proposal{Document: parse(t, randomDocument(rt, 3)), By: claire, Reason: "x"})
		if err == nil {
			_, err = s.ActivateDraft(context.Background(), d.ID, denis, true)
		}
		if err != nil {
			rt.Fatal(err)
		}
		preview, err := d.Preview()
		sweepAll(rt, policystore.NewSweeper(s, &remover{}))
		found, _, findErr := s.Findings(context.Background(), policystore.FindingFilter{Limit: 1000})
		if err := errors.Join(err, findErr); err != nil {
			rt.Fatal(err)
		}
		var tally policystore.Tally
		for _, f := range found {
			switch f.Membership {
			case "join":
				tally.Members++
			case "invite":
				tally.Invitations++
			case "knock":
				tally.Knocks++
			}
		}
		if tally != preview.Findings {
			rt.Fatalf("preview %+v, sweep %+v", preview.Findings, tally)
		}
	})
}

func randomServer(rt *rapid.T) string {
	return rapid.SampledFrom([]string{"a.example", "p.example", "q.example", "r.example"}).Draw(rt, "server")
}

func randomDocument(rt *rapid.T, version int64) string {
	text := document(version)
	for _, name := range []string{"p", "q", "r"} {
		if class := rapid.SampledFrom([]string{"", "government", "external", "blocked"}).Draw(rt, "class"); class != "" {
			text += fmt.Sprintf("  - {id: %s, class: %s, homeservers: [{name: %s.example}]}\n", name, class, name)
		}
	}
	if rapid.Bool().Draw(rt, "rule") {
		text += "rules:\n  - {id: nobody-a, actions: [join], when: 'actor.id.startsWith(\"@a:\") && actor.server != \"a.example\"'}\n"
	}
	return text
}

// BenchmarkPreviewMillion previews a candidate on a million memberships of
// 20,000 rooms: at most 5 s on SQLite.
func BenchmarkPreviewMillion(b *testing.B) {
	db := testkit.OpenDB(b, "sqlite")
	s := inForce(b, db, withPartner(2, "external"), newClock())
	seed := newSeeder(b, db)
	const inRoom = 50
	for i := range 20_000 / 100 {
		_, err := db.Append(b.Context(), func(ctx context.Context, tx *storage.Tx) error {
			for j := range 100 {
				id := matrix.RoomID(fmt.Sprintf("!r%d-%d:a.example", i, j))
				nid := rooms.Insert(tx, id, "11")
				if err := seed.state(ctx, tx, nid, id, map[string]string{
					"m.room.create": `{"room_version":"11"}`, "m.room.join_rules": `{"join_rule":"invite"}`,
					policy.TypeAccessRules: `{"rule":"unrestricted"}`}); err != nil {
					return err
				}
				for k := range inRoom {
					server := "a.example"
					if k%10 == 0 {
						server = "p.example"
					}
					rooms.AddMember(tx, rooms.Member{RoomNID: nid, User: matrix.UserID(fmt.Sprintf("@user%d:%s", (i*100+j)*7+k, server)),
						Membership: "join", EventNID: int64(tx.Next()), Pos: 1})
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	candidate, err := policystore.Validate(parse(b, document(3)), self, 2, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p, err := s.Preview(b.Context(), candidate)
		if err != nil || p.Memberships != 1_000_000 || p.Refused.Members != 100_000 {
			b.Fatalf("%+v %v", p, err)
		}
	}
}
