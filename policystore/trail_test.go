package policystore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/storage"
	"beffroi/storage/policies"
)

func find(t testing.TB, s *policystore.Store, id string) policystore.Entry {
	t.Helper()
	e, err := s.Find(t.Context(), id)
	if err != nil {
		t.Fatalf("decision %s: %v", id, err)
	}
	return e
}

func TestEqualRefusalsOfAMinuteAreOneLine(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		c := newClock()
		s, _ := running(t, policystore.Options{DB: db, Now: c.now})
		id := refuse(t, s, stranger("evil.example"))
		other := refuse(t, s, stranger("worse.example"))
		for range 99 {
			if again := refuse(t, s, stranger("evil.example")); again != id || again == other {
				t.Fatalf("%s, then %s", id, again)
			}
		}
		if e := find(t, s, id); e.Count != 100 || e.Server != "evil.example" || e.Reason != "unknown_server" || e.Source != "federation" {
			t.Errorf("%+v", e)
		}
		awaitLine(t, db, id, 1)
		c.advance(59 * time.Second)
		if refuse(t, s, stranger("evil.example")) != id {
			t.Error("the minute is not over")
		}
		c.advance(time.Second)
		later := refuse(t, s, stranger("evil.example"))
		if later <= id {
			t.Errorf("a new minute has a new and greater ID: %s, %s", id, later)
		}
		awaitLine(t, db, id, 101)
		awaitLine(t, db, later, 1)
		total := int64(0)
		for e, err := range s.Audit(t.Context(), policystore.Filter{Server: "evil.example", Kind: policystore.KindRefusal}) {
			if err != nil {
				t.Fatal(err)
			}
			total += e.Count
		}
		if total != 102 {
			t.Errorf("%d refusals in the trail, want 102", total)
		}
		if _, err := s.VerifyAudit(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAFloodOfRefusalsIsBounded(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		reg := prometheus.NewRegistry()
		s := open(t, policystore.Options{DB: db, Metrics: reg, Now: newClock().now})
		const flood = 10_000
		ids := map[string]bool{}
		for i := range flood {
			ids[refuse(t, s, stranger(fmt.Sprintf("s%d.example", i)))] = true
		}
		if len(ids) > 4200 || metric(t, reg, "beffroi_audit_pending_lines") != float64(len(ids)) {
			t.Errorf("%d lines in memory", len(ids))
		}
		if n := metric(t, reg, "beffroi_policy_refusals_total"); n != flood {
			t.Errorf("%v refusals counted", n)
		}
		for id := range ids {
			find(t, s, id)
			break
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		for e, err := range s.Audit(t.Context(), policystore.Filter{Kind: policystore.KindRefusal}) {
			if err != nil || !ids[e.ID] {
				t.Fatal(e, err)
			}
			delete(ids, e.ID)
			total += e.Count
		}
		if total != flood || len(ids) != 0 {
			t.Errorf("%d refusals in the trail, %d decisions not found", total, len(ids))
		}
		if trail, err := s.VerifyAudit(t.Context()); err != nil || trail.Entries < 4096 {
			t.Error(trail, err)
		}
	})
}

func metric(t testing.TB, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestRefusalsWaitForTheDatabase(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		c := newClock()
		s := open(t, policystore.Options{DB: db, Now: c.now})
		var seq int64
		var hash string
		if err := db.View(t.Context(), func(r *storage.Reader) (err error) {
			seq, hash, err = policies.TrailHead(t.Context(), r)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		id := refuse(t, s, stranger("evil.example"))
		exec(t, db, `DELETE FROM audit_head`) // what is written now fails
		if err := s.Close(); err == nil {
			t.Fatal("it could be written")
		}
		c.advance(time.Hour)
		if again := refuse(t, s, stranger("evil.example")); again != id {
			t.Error("a line that could not be written goes on counting")
		}
		exec(t, db, `INSERT INTO audit_head (id, seq, hash) VALUES (1, $1, $2)`, seq, hash)
		// The attempt may have been committed without our knowing.
		if _, err := db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
			return policies.Append(ctx, tx, []*policies.Entry{{ID: id, Kind: policystore.KindRefusal, Count: 1}})
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if e := find(t, s, id); e.Count != 2 {
			t.Errorf("%+v", e)
		}
		if _, err := s.VerifyAudit(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// awaitLine waits until the trail has a line with at least this count.
func awaitLine(t testing.TB, db *storage.DB, id string, count int64) {
	t.Helper()
	for range time.Tick(5 * time.Millisecond) {
		e, err := policystore.Find(t.Context(), db, id)
		if err == nil && e.Count >= count {
			return
		}
		if err != nil && !matrix.IsCode(err, "M_NOT_FOUND") {
			t.Fatal(err)
		}
	}
}

func TestTamperingIsFound(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change string
		seq    int64 // where the trail is broken
	}{
		"altered":              {`UPDATE audit SET server = 'good.example' WHERE seq = 4`, 4},
		"count altered":        {`UPDATE audit SET count = 7 WHERE seq = 4`, 4},
		"hash altered":         {`UPDATE audit SET hash = prev WHERE seq = 4`, 4},
		"first cut":            {`DELETE FROM audit WHERE seq = 1`, 1},
		"middle cut":           {`DELETE FROM audit WHERE seq = 4`, 4},
		"end cut":              {`DELETE FROM audit WHERE seq > 8`, 9},
		"cut and renumbered":   {`UPDATE audit SET seq = 4 WHERE seq = 5`, 4},
		"all cut":              {`DELETE FROM audit WHERE seq > 0`, 1},
		"cut and end made fit": {`UPDATE audit_head SET seq = 8, hash = (SELECT hash FROM audit WHERE seq = 8)`, 9},
	}
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := open(t, policystore.Options{DB: db})
		for i := range 9 {
			refuse(t, s, stranger(fmt.Sprintf("s%d.example", i)))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		noted, err := s.VerifyAudit(t.Context())
		if err != nil || noted.Entries != 10 {
			t.Fatal(noted, err)
		}
		for name, test := range tests {
			exec(t, db, `CREATE TABLE kept AS SELECT * FROM audit`)
			exec(t, db, `CREATE TABLE kept_head AS SELECT * FROM audit_head`)
			if strings.Contains(name, "renumbered") {
				exec(t, db, `DELETE FROM audit WHERE seq = 4`)
			}
			exec(t, db, test.change)
			_, err := policystore.VerifyAudit(t.Context(), db, &noted)
			broken, ok := errors.AsType[*policystore.BrokenTrail](err)
			if !ok || broken.Seq != test.seq {
				t.Errorf("%s: %v", name, err)
			}
			for _, q := range []string{
				`DELETE FROM audit`, `INSERT INTO audit SELECT * FROM kept`, `DROP TABLE kept`,
				`DELETE FROM audit_head`, `INSERT INTO audit_head SELECT * FROM kept_head`, `DROP TABLE kept_head`,
			} {
				exec(t, db, q)
			}
		}
		other := noted
		other.Hash = strings.Repeat("0", 64)
		if _, err := policystore.VerifyAudit(t.Context(), db, &other); err == nil {
			t.Error("another trail than the one noted")
		}
		if _, err := policystore.VerifyAudit(t.Context(), db, &noted); err != nil {
			t.Errorf("everything is as it was: %v", err)
		}
	})
}

func TestACrashLeavesTheTrailWhole(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		path := t.TempDir() + "/p.yaml"
		write(t, path, document(1))
		before := open(t, policystore.Options{DB: db, File: path})
		written := refuse(t, before, stranger("evil.example"))
		if err := before.Close(); err != nil {
			t.Fatal(err)
		}
		refuse(t, before, stranger("lost.example")) // and now the process dies
		write(t, path, document(2, "b.example"))
		after := open(t, policystore.Options{DB: db, File: path})
		id := refuse(t, after, stranger("evil.example"))
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
		find(t, after, written)
		if e := find(t, after, id); e.Seq != 4 || e.Version != 2 {
			t.Errorf("%+v", e)
		}
		if trail, err := after.VerifyAudit(t.Context()); err != nil || trail.Entries != 4 {
			t.Error(trail, err)
		}
	})
}

func TestWhatPeersSayIsMadeFitToStore(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := open(t, policystore.Options{DB: db})
		dirty := "@\x00\xff\x1b[2Jé" + strings.Repeat("é", 40_000) + ":evil.example"
		ids := []string{
			refuse(t, s, &policy.Request{
				Action: policy.ActionInvite, Actor: matrix.UserID(dirty), Subject: matrix.UserID(dirty),
				Server: matrix.ServerName(dirty), Room: &policy.RoomFacts{ID: matrix.RoomID(dirty)},
			}),
			refuse(t, s, &policy.Request{Action: policy.ActionRegister, Email: "camille@evil.example"}),
		}
		called, err := s.Record(t.Context(), policystore.Entry{
			Kind: policystore.KindCall, Actor: "@admin:a.example", Action: "deactivate", Detail: dirty,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, id := range append(ids, called) {
			e := find(t, s, id)
			for _, text := range []string{e.Actor, e.Subject, e.Server, e.Room, e.Detail} {
				if strings.ContainsAny(text, "\x00\x1b") || !utf8.ValidString(text) || len(text) > 2100 || strings.Contains(text, "camille") {
					t.Errorf("%q", text)
				}
			}
		}
		if e := find(t, s, ids[1]); e.Subject != "*@evil.example" {
			t.Errorf("of an address only the domain is kept: %q", e.Subject)
		}
		if _, err := s.VerifyAudit(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
