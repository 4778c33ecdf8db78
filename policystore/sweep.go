package policystore

import (
	"context"
	"errors"
	"time"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/policies"
	"beffroi/storage/rooms"
)

// KindSweep is the kind of the lines of the audit trail about what a sweep did.
const KindSweep = "sweep"

const (
	// sweepPage and sweepRest throttle a sweep: a million memberships take
	// three minutes, and everybody else hardly notices.
	sweepPage = 1000
	sweepRest = 150 * time.Millisecond
	// treatPage is how many accounts are removed between two rests: each is an
	// event of its room.
	treatPage = 20
	// resweep is how often a document is swept again: what other servers let
	// in, and what ends by a date of its rules, becomes a finding.
	resweep = 24 * time.Hour
)

// Remover takes accounts out of rooms. roomserver has it.
type Remover interface {
	// Remove takes an account out of a room as a local member who has the power
	// to do so, or makes it leave where it is of this server. An account that
	// is in the room no more is no error.
	Remove(ctx context.Context, room matrix.RoomID, user matrix.UserID, reason string) error
}

// Sweeper finds the memberships that the document in force refuses, and treats
// them as was chosen when it was proposed. It goes on where it was when the
// server stopped. Any number of nodes may run one.
type Sweeper struct {
	store   *Store
	remover Remover
}

// NewSweeper returns a sweeper that does nothing until Run.
func NewSweeper(s *Store, remover Remover) *Sweeper { return &Sweeper{s, remover} }

// Run sweeps until ctx ends.
func (w *Sweeper) Run(ctx context.Context) error {
	failing := false
	for {
		more, err := w.Step(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			w.store.log.Error("sweep cannot go on; it tries again", "err", err)
		}
		failing = err != nil
		rest := look
		if more && err == nil {
			rest = sweepRest
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(rest):
		}
	}
}

// Step looks at the next page of memberships or treats the next findings that
// are due. more is false where nothing is left to do for now.
func (w *Sweeper) Step(ctx context.Context) (more bool, err error) {
	if w.store.Active().Way == WayDevelopment {
		return false, nil
	}
	snapshot := w.store.engine.Snapshot()
	sweep, err := w.sweep(ctx, snapshot)
	if err != nil {
		return false, err
	}
	if sweep.FinishedTS == 0 {
		if err := w.look(ctx, snapshot, sweep); err != nil && !errors.Is(err, storage.ErrConflict) {
			return false, err // a conflict is another node that was faster
		}
		return true, nil
	}
	return w.treat(ctx, snapshot)
}

// sweep returns the sweep of the document, which it begins where there is none,
// and anew where dates have passed since.
func (w *Sweeper) sweep(ctx context.Context, snapshot *policy.Snapshot) (s policies.Sweep, err error) {
	if err = w.store.db.View(ctx, func(r *storage.Reader) (err error) {
		s, err = policies.SweepOf(ctx, r, snapshot.Version())
		return err
	}); err != nil {
		return s, err
	}
	now := w.store.now()
	switch {
	case s.Version == 0:
		s = policies.Sweep{Version: snapshot.Version(), Treatment: TreatFreeze, StartedTS: now.UnixMilli()}
	case s.FinishedTS != 0 && w.outdated(snapshot, time.UnixMilli(s.FinishedTS), now):
		s.RoomNID, s.User, s.Scanned, s.Found, s.FinishedTS = 0, "", 0, 0, 0
	default:
		return s, nil
	}
	_, err = w.store.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error { return policies.SetSweep(ctx, tx, &s) })
	return s, err
}

func (w *Sweeper) outdated(snapshot *policy.Snapshot, finished, now time.Time) bool {
	return now.Sub(finished) > resweep || snapshot.Turns(finished, now)
}

// look judges the next page, and keeps what it finds with the new cursor in
// one commit.
func (w *Sweeper) look(ctx context.Context, snapshot *policy.Snapshot, from policies.Sweep) error {
	page, err := surveyAfter(ctx, w.store.db, place{from.RoomNID, from.User}, sweepPage)
	if err != nil {
		return err
	}
	now := w.store.now()
	var found []policies.Finding
	for i := range page.present {
		m := &page.present[i]
		facts := page.rooms[m.RoomNID]
		if facts == nil {
			continue
		}
		if d := snapshot.Stays(m.User, facts, now); !d.Allow {
			found = append(found, findingOf(m, facts, &d, &from, now))
		}
	}
	to := from
	end := page.last(place{from.RoomNID, from.User})
	to.RoomNID, to.User = end.room, end.user
	to.Scanned += int64(len(page.present))
	to.Found += int64(len(found))
	if len(page.present) < sweepPage {
		to.FinishedTS = now.UnixMilli()
	}
	if _, err := w.store.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		if err := policies.AdvanceSweep(ctx, tx, &from, &to); err != nil {
			return err
		}
		for i := range found {
			policies.KeepFinding(tx, &found[i])
		}
		if to.FinishedTS == 0 {
			return nil
		}
		_, err := policies.DropFindings(ctx, tx, from.Version)
		return err
	}); err != nil {
		return err
	}
	if to.FinishedTS != 0 {
		w.store.log.Info("sweep has looked at every membership", "version", to.Version, "memberships", to.Scanned,
			"findings", to.Found, "treatment", to.Treatment)
	}
	return nil
}

func findingOf(m *rooms.Present, facts *policy.RoomFacts, d *policy.Decision, s *policies.Sweep, now time.Time) policies.Finding {
	f := policies.Finding{
		RoomNID: m.RoomNID, User: m.User, Room: facts.ID, Membership: m.Membership, Version: s.Version,
		Reason: string(d.Reason), Rule: d.Rule, Organisation: d.Organisation, FoundTS: now.UnixMilli(),
		Treatment: s.Treatment, UntilTS: s.UntilTS,
	}
	switch s.Treatment {
	case TreatRemove:
		f.Status = policies.FindingOpen
	case TreatLeave:
		f.Status = policies.FindingLeft
	default:
		f.Status = policies.FindingFrozen
	}
	return f
}

// treat removes the accounts of the findings that are due, after it has judged
// each again: the room may have changed since.
func (w *Sweeper) treat(ctx context.Context, snapshot *policy.Snapshot) (more bool, err error) {
	var due []policies.Finding
	now := w.store.now()
	if err := w.store.db.View(ctx, func(r *storage.Reader) (err error) {
		due, err = policies.DueFindings(ctx, r, snapshot.Version(), now.UnixMilli(), treatPage)
		return err
	}); err != nil || len(due) == 0 {
		return false, err
	}
	facts, err := w.facts(ctx, due)
	if err != nil {
		return false, err
	}
	for i := range due {
		f := &due[i]
		w.treatOne(ctx, snapshot, f, facts[f.RoomNID])
		if ctx.Err() != nil {
			return false, nil // it is found again where it was left
		}
		if _, err := w.store.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
			if err := policies.TreatFinding(ctx, tx, f); err != nil {
				return err
			}
			return w.note(ctx, tx, f)
		}); err != nil {
			return false, err
		}
	}
	return len(due) == treatPage, nil
}

func (w *Sweeper) facts(ctx context.Context, due []policies.Finding) (map[int64]*policy.RoomFacts, error) {
	nids := make([]int64, len(due))
	for i := range due {
		nids[i] = due[i].RoomNID
	}
	out := make(map[int64]*policy.RoomFacts, len(nids))
	err := w.store.db.View(ctx, func(r *storage.Reader) error {
		found, err := rooms.Survey(ctx, r, nids)
		for nid, s := range found {
			out[nid] = factsOf(s)
		}
		return err
	})
	return out, err
}

// treatOne removes one account and notes in the finding how that ended.
func (w *Sweeper) treatOne(ctx context.Context, snapshot *policy.Snapshot, f *policies.Finding, facts *policy.RoomFacts) {
	f.TreatedTS, f.Detail = w.store.now().UnixMilli(), ""
	if facts == nil {
		f.Status, f.Detail = policies.FindingResolved, "the room is gone"
		return
	}
	d := snapshot.Stays(f.User, facts, w.store.now())
	if d.Allow {
		f.Status, f.Detail = policies.FindingResolved, "the document allows it by now"
		return
	}
	if err := w.remover.Remove(ctx, f.Room, f.User, d.Text["en"]); err != nil {
		f.Status, f.Detail = policies.FindingFailed, cleanText(matrix.Answer(err).Text, maxDetail)
		w.store.log.Warn("an account that the policy refuses cannot be removed", "room_id", f.Room, "user_id", f.User, "err", err)
		return
	}
	f.Status = policies.FindingRemoved
}

func (w *Sweeper) note(ctx context.Context, tx *storage.Tx, f *policies.Finding) error {
	now := w.store.now()
	line := policies.Entry{
		ID: newID(now), TS: now.UnixMilli(), Kind: KindSweep, Actor: ActorSystem, Action: "remove", Subject: string(f.User),
		Room: string(f.Room), Source: policy.SourceSystem.String(), Reason: f.Reason, Rule: f.Rule, Version: f.Version,
		Organisation: f.Organisation, Detail: f.Status + " " + f.Detail, Count: 1,
	}
	clean(&line)
	return policies.Append(ctx, tx, []*policies.Entry{&line})
}

// Finding is a membership that the document in force refuses.
type Finding = policies.Finding

// FindingFilter selects findings.
type FindingFilter = policies.FindingFilter

// Findings returns a page of findings and the sweep of the active document.
func (s *Store) Findings(ctx context.Context, f FindingFilter) (out []Finding, sweep policies.Sweep, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		if out, err = policies.Findings(ctx, r, f); err != nil {
			return err
		}
		sweep, err = policies.SweepOf(ctx, r, s.Active().Version)
		return err
	})
	return out, sweep, err
}
