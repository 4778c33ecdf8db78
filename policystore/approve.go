package policystore

import (
	"context"
	"errors"
	"net/http"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/policies"
)

// Approve says that somebody else than its author stands for a draft. It stays
// out of force until [Store.ActivateDraft].
func (s *Store) Approve(ctx context.Context, id string, by Editor) (Draft, error) {
	return s.decide(ctx, id, by, "approve", func(d *policies.Draft) (string, error) {
		switch {
		case d.Status != policies.DraftOpen:
			return "", decidedDraft(d)
		case d.Author == by.Actor:
			return "", matrix.NewError(http.StatusForbidden, "ORG.BEFFROI.FOUR_EYES", "%s wrote the draft: another person approves it", d.Author)
		case d.Parent != s.Active().Version:
			return "", staleDraft(d, s.Active().Version)
		}
		return policies.DraftApproved, nil
	})
}

// Withdraw ends a draft that is not in force.
func (s *Store) Withdraw(ctx context.Context, id string, by Editor) (Draft, error) {
	return s.decide(ctx, id, by, "withdraw", func(d *policies.Draft) (string, error) {
		if d.Status != policies.DraftOpen && d.Status != policies.DraftApproved {
			return "", decidedDraft(d)
		}
		return policies.DraftWithdrawn, nil
	})
}

// decide moves a draft to the status that judge returns for it.
func (s *Store) decide(ctx context.Context, id string, by Editor, action string,
	judge func(*policies.Draft) (to string, err error)) (Draft, error) {
	row, err := s.draft(ctx, id)
	if err != nil {
		return Draft{}, err
	}
	to, err := judge(&row)
	if err != nil {
		return Draft{}, err
	}
	now := s.now().UnixMilli()
	if _, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		if err := policies.DecideDraft(ctx, tx, id, row.Status, to, by.Actor, now); err != nil {
			return err
		}
		return s.noteDraft(ctx, tx, &row, action, by, "from "+row.Status+" to "+to)
	}); err != nil {
		if errors.Is(err, storage.ErrConflict) {
			err = matrix.NewError(http.StatusConflict, "ORG.BEFFROI.DRAFT_DECIDED", "somebody else has decided about the draft at this moment")
		}
		return Draft{}, err
	}
	return s.Draft(ctx, id)
}

// ActivateDraft puts the document of a draft in force, if no other document
// came into force since it was proposed. alone activates a draft that nobody
// has approved: it is for servers whose operator has said that two pairs of
// eyes are not needed. Draft, journal, audit trail and sweep are one commit.
//
// A change of great impact needs another person whatever alone says.
func (s *Store) ActivateDraft(ctx context.Context, id string, by Editor, alone bool) (Draft, error) {
	return s.activateDraft(ctx, id, by, alone, s.guardDraft)
}

// RollBackTo puts a draft in force that holds a document of the journal: it was
// in force before, so one person is enough, whatever its impact is now.
func (s *Store) RollBackTo(ctx context.Context, id string, by Editor) (Draft, error) {
	return s.activateDraft(ctx, id, by, true, func(context.Context, *Draft, bool) error { return nil })
}

func (s *Store) activateDraft(ctx context.Context, id string, by Editor, alone bool, guard func(context.Context, *Draft, bool) error) (Draft, error) {
	row, err := s.draft(ctx, id)
	if err != nil {
		return Draft{}, err
	}
	switch {
	case row.Status == policies.DraftOpen && !alone:
		return Draft{}, matrix.NewError(http.StatusForbidden, "ORG.BEFFROI.FOUR_EYES", "nobody but its author has seen the draft: another person approves it first")
	case row.Status != policies.DraftOpen && row.Status != policies.DraftApproved:
		return Draft{}, decidedDraft(&row)
	}
	draft := draftOf(&row, s.Active().Version)
	if err := guard(ctx, &draft, row.Status == policies.DraftApproved); err != nil {
		return Draft{}, err
	}
	doc, err := draft.Document()
	if err != nil {
		return Draft{}, err
	}
	now := s.now().UnixMilli()
	err = s.activateWith(ctx, doc, by, func(ctx context.Context, tx *storage.Tx) error {
		r, err := tx.Snapshot(ctx)
		if err != nil {
			return err
		}
		head, err := policies.ActiveHead(ctx, r)
		if err != nil {
			return err
		}
		if head.Version != row.Parent {
			return staleDraft(&row, head.Version)
		}
		if err := policies.DecideDraft(ctx, tx, id, row.Status, policies.DraftActivated, "", now); err != nil {
			return decidedDraft(&row)
		}
		if err := policies.SetSweep(ctx, tx, &policies.Sweep{Version: row.Version, Treatment: row.Treatment,
			UntilTS: row.UntilTS, StartedTS: now}); err != nil {
			return err
		}
		return s.noteDraft(ctx, tx, &row, "activate", by, "approved by "+orNobody(row.Approver))
	})
	if _, refused := errors.AsType[policy.Mistakes](err); refused && s.Active().Version != row.Parent {
		err = staleDraft(&row, s.Active().Version) // a document that came first: say so, not "version"
	}
	if err != nil {
		return Draft{}, err
	}
	return s.Draft(ctx, id)
}

func orNobody(name string) string {
	if name == "" {
		return "nobody"
	}
	return name
}
