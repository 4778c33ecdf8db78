package policystore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/signing"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

var (
	claire = policystore.Editor{Actor: "claire", Way: policystore.WayAPI}
	denis  = policystore.Editor{Actor: "denis", Way: policystore.WayAPI}
)

func parse(t testing.TB, text string) *policy.Document {
	t.Helper()
	doc, err := policy.ParseDocument([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// inForce opens a store that enforces a document.
func inForce(t testing.TB, db *storage.DB, text string, c *clock) *policystore.Store {
	t.Helper()
	s := open(t, policystore.Options{DB: db, Now: c.now})
	if err := s.Activate(t.Context(), parse(t, text), claire); err != nil {
		t.Fatal(err)
	}
	return s
}

// seeder writes rooms with members.
type seeder struct {
	t   testing.TB
	db  *storage.DB
	key signing.Key
}

func newSeeder(t testing.TB, db *storage.DB) *seeder {
	t.Helper()
	key, err := signing.NewKey(self, "a1")
	if err != nil {
		t.Fatal(err)
	}
	return &seeder{t: t, db: db, key: key}
}

// room writes a room with an access rule and a join rule, and its members by
// membership.
func (s *seeder) room(name string, rule policy.AccessRule, members map[matrix.UserID]string) matrix.RoomID {
	s.t.Helper()
	id := matrix.RoomID("!" + name + ":a.example")
	var list []rooms.Member
	for u, m := range members {
		list = append(list, rooms.Member{User: u, Membership: m})
	}
	_, err := s.db.Append(s.t.Context(), func(ctx context.Context, tx *storage.Tx) error {
		nid := rooms.Insert(tx, id, "11")
		if err := s.state(ctx, tx, nid, id, map[string]string{
			"m.room.create": `{"room_version":"11"}`, "m.room.join_rules": `{"join_rule":"invite"}`,
			policy.TypeAccessRules: fmt.Sprintf(`{"rule":%q}`, rule),
		}); err != nil {
			return err
		}
		for _, m := range list {
			m.RoomNID, m.EventNID, m.Pos = nid, int64(tx.Next()), 1
			rooms.AddMember(tx, m)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *seeder) state(ctx context.Context, tx *storage.Tx, nid int64, id matrix.RoomID, contents map[string]string) error {
	rules, err := matrix.RoomVersion("11").Rules()
	if err != nil {
		return err
	}
	var deltas []rooms.Delta
	for typ, content := range contents {
		key := ""
		p := event.Proto{RoomID: id, Sender: "@alice:a.example", Type: typ, StateKey: &key, Content: json.RawMessage(content),
			Depth: 1, OriginServerTS: 1}
		e, err := p.Build(rules, s.key)
		if err != nil {
			return err
		}
		pos := tx.Next()
		row := &rooms.Event{Event: e, NID: int64(pos), RoomNID: nid, Pos: pos, Status: rooms.Accepted}
		rooms.InsertEvent(tx, row)
		deltas = append(deltas, rooms.Delta{StateTuple: event.StateTuple{Type: typ}, NewNID: row.NID})
	}
	return rooms.ChangeState(ctx, tx, nid, tx.Next(), deltas, false)
}

func withPartner(version int64, class string) string {
	return document(version) + "  - {id: partner, class: " + class + ", homeservers: [{name: p.example}]}\n"
}

func TestADraftGoesFromProposalToForce(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		ctx, c := t.Context(), newClock()
		s := inForce(t, db, withPartner(2, "external"), c)
		seed := newSeeder(t, db)
		seed.room("open", policy.Unrestricted, map[matrix.UserID]string{"@alice:a.example": "join", "@eve:p.example": "join", "@ed:p.example": "invite"})
		seed.room("shut", policy.Restricted, map[matrix.UserID]string{"@alice:a.example": "join"})

		draft, err := s.Propose(ctx, policystore.Proposal{Document: parse(t, document(3)), By: claire, Reason: "the contract ended"})
		if err != nil {
			t.Fatal(err)
		}
		preview, err := draft.Preview()
		if err != nil || preview.Memberships != 4 || preview.Refused != (policystore.Tally{Members: 1, Invitations: 1}) ||
			preview.Rooms != 1 || preview.PeersRefused != 1 || preview.Peers[0].Server != "p.example" ||
			len(preview.Organisations) != 1 || preview.Organisations[0].ID != "partner" {
			t.Fatalf("%+v %v", preview, err)
		}
		if !speaksWith(s, "p.example") || s.Active().Version != 2 {
			t.Error("a draft is in force")
		}
		wantCode(t, "its author approves", code(s.Approve(ctx, draft.ID, claire)), "ORG.BEFFROI.FOUR_EYES")
		wantCode(t, "nobody approved", code(s.ActivateDraft(ctx, draft.ID, denis, false)), "ORG.BEFFROI.FOUR_EYES")
		if d, err := s.Approve(ctx, draft.ID, denis); err != nil || d.Status != "approved" || d.Approver != "denis" {
			t.Fatal(d, err)
		}
		wantCode(t, "approved twice", code(s.Approve(ctx, draft.ID, denis)), "ORG.BEFFROI.DRAFT_DECIDED")
		if d, err := s.ActivateDraft(ctx, draft.ID, denis, false); err != nil || d.Status != "activated" {
			t.Fatal(d, err)
		}
		if speaksWith(s, "p.example") || s.Active().Version != 3 || s.Active().Actor != "denis" {
			t.Errorf("not in force: %+v", s.Active())
		}
		wantCode(t, "activated twice", code(s.ActivateDraft(ctx, draft.ID, denis, true)), "ORG.BEFFROI.DRAFT_DECIDED")
		actions := map[string]int{}
		for e, err := range s.Audit(ctx, policystore.Filter{Kind: policystore.KindDraft}) {
			if err != nil {
				t.Fatal(err)
			}
			actions[e.Action]++
		}
		if fmt.Sprint(actions) != "map[activate:1 approve:1 propose:1]" {
			t.Error(actions)
		}
		if _, err := s.VerifyAudit(ctx); err != nil {
			t.Error(err)
		}
	})
}

func code(_ policystore.Draft, err error) string {
	if e, ok := errors.AsType[*matrix.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

func wantCode(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestAStaleDraftIsRefused(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		s := inForce(t, db, document(2), newClock())
		propose := func(version int64) policystore.Draft {
			d, err := s.Propose(ctx, policystore.Proposal{Document: parse(t, document(version, "b.example")), By: claire, Reason: "more"})
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		first, second, third := propose(3), propose(4), propose(5)
		if _, err := s.Approve(ctx, second.ID, denis); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ActivateDraft(ctx, first.ID, claire, true); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "activate", code(s.ActivateDraft(ctx, second.ID, denis, false)), "ORG.BEFFROI.STALE_DRAFT")
		wantCode(t, "approve", code(s.Approve(ctx, third.ID, denis)), "ORG.BEFFROI.STALE_DRAFT")
		if d, err := s.Withdraw(ctx, second.ID, claire); err != nil || d.Status != "withdrawn" || d.Stale {
			t.Error(d, err)
		}
		if d, err := s.Draft(ctx, third.ID); err != nil || !d.Stale {
			t.Error(d, err)
		}
	})
}

// TestTwoAdministratorsAtOnce activates drafts of one parent at one moment:
// exactly one comes into force.
func TestTwoAdministratorsAtOnce(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		s := inForce(t, db, document(2), newClock())
		var ids []string
		for v := int64(3); v < 7; v++ {
			d, err := s.Propose(ctx, policystore.Proposal{Document: parse(t, document(v, "b.example")), By: claire, Reason: "more"})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, d.ID)
		}
		codes := make([]string, len(ids))
		var all sync.WaitGroup
		for i, id := range ids {
			all.Go(func() { codes[i] = code(s.ActivateDraft(ctx, id, denis, true)) })
		}
		all.Wait()
		won := 0
		for _, c := range codes {
			switch c {
			case "<nil>":
				won++
			case "ORG.BEFFROI.STALE_DRAFT":
			default:
				t.Error(c)
			}
		}
		if won != 1 {
			t.Errorf("%d drafts of one parent are in force: %v", won, codes)
		}
	})
}

func TestABadProposalIsRefusedWithWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := inForce(t, testkit.OpenDB(t, "sqlite"), document(2), newClock())
	long := make([]byte, 1001)
	for i := range long {
		long[i] = 'x'
	}
	tests := map[string]struct {
		p        policystore.Proposal
		mistakes bool
	}{
		"old version":         {policystore.Proposal{Document: parse(t, document(2, "b.example")), Reason: "x"}, true},
		"without this server": {policystore.Proposal{Document: parse(t, "version: 3\norganisations:\n  - {id: x, class: government, homeservers: [{name: x.example}]}\n"), Reason: "x"}, true},
		"a test fails":        {policystore.Proposal{Document: parse(t, document(3)+"tests: [{action: federate_out, server: b.example, expect: allow}]\n"), Reason: "x"}, true},
		"no reason":           {policystore.Proposal{Document: parse(t, document(3))}, false},
		"too long a reason":   {policystore.Proposal{Document: parse(t, document(3)), Reason: string(long)}, false},
		"treatment":           {policystore.Proposal{Document: parse(t, document(3)), Reason: "x", Treatment: policystore.Treatment{How: "kill"}}, false},
		"left until the past": {policystore.Proposal{Document: parse(t, document(3)), Reason: "x", Treatment: policystore.Treatment{How: "leave", Until: time.Unix(1, 0)}}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.p.By = claire
			_, err := s.Propose(t.Context(), test.p)
			_, mistakes := errors.AsType[policy.Mistakes](err)
			e, answered := errors.AsType[*matrix.Error](err)
			if mistakes != test.mistakes || !mistakes && (!answered || e.Status != http.StatusBadRequest) {
				t.Error(err)
			}
		})
	}
	if list, err := s.Drafts(t.Context()); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}
