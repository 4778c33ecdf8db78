package policystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/policies"
)

// KindDraft is the kind of the lines of the audit trail about drafts.
const KindDraft = "draft"

// Limits of what a draft says.
const (
	maxReason = 1000
	maxDrafts = 1000 // listed
)

// Treatment is what the sweep does with the memberships that a document
// refuses. The zero Treatment is to report them and nothing else.
type Treatment struct {
	// How is leave (until a date, then remove), freeze (report only) or remove.
	How   string    `json:"how"`
	Until time.Time `json:"until,omitzero"` // of leave
}

// The treatments.
const (
	TreatLeave  = "leave"
	TreatFreeze = "freeze"
	TreatRemove = "remove"
)

func (t *Treatment) check(now time.Time) error {
	switch t.How {
	case "":
		t.How = TreatFreeze
	case TreatLeave:
		if !t.Until.After(now) {
			return matrix.InvalidParam("a finding is left until a date to come; treatment.until is %s", t.Until.Format(time.RFC3339))
		}
		return nil
	case TreatFreeze, TreatRemove:
	default:
		return matrix.InvalidParam("treatment.how is %q; it is leave, freeze or remove", t.How)
	}
	if !t.Until.IsZero() {
		return matrix.InvalidParam("treatment.until is for leave")
	}
	return nil
}

// Proposal is a document that somebody wants to put in force.
type Proposal struct {
	Document  *policy.Document
	By        Editor
	Reason    string // why, for people
	Treatment Treatment
}

// Draft is a proposal that was checked, and what became of it.
type Draft struct {
	ID         string          `json:"id"`
	Version    int64           `json:"version"`
	Parent     int64           `json:"parent"` // the version that was in force when it was proposed
	SHA256     string          `json:"sha256"`
	Author     string          `json:"author"`
	Reason     string          `json:"reason"`
	Treatment  Treatment       `json:"treatment"`
	CreatedTS  int64           `json:"created_ts"`
	Status     string          `json:"status"` // open, approved, activated or withdrawn
	Stale      bool            `json:"stale"`  // another document came into force: propose it anew
	Approver   string          `json:"approver,omitempty"`
	DecidedTS  int64           `json:"decided_ts,omitempty"`
	PreviewRaw json.RawMessage `json:"preview"` // a [Preview]

	raw []byte // the document; only of a draft that was read by its ID
}

// DocumentJSON returns the document in canonical form, or nil for a draft of a list.
func (d *Draft) DocumentJSON() []byte { return d.raw }

// Document reads the document of a draft.
func (d *Draft) Document() (*policy.Document, error) {
	if hashOf(d.raw) != d.SHA256 {
		return nil, fmt.Errorf("the document of draft %s is not the one that was proposed", d.ID)
	}
	return policy.ParseDocument(d.raw)
}

// Preview reads the preview of a draft.
func (d *Draft) Preview() (p Preview, err error) {
	err = json.Unmarshal(d.PreviewRaw, &p)
	return p, err
}

// Propose validates a document, runs its tests, computes what it would change,
// and keeps all that as a draft. What is wrong with the document is
// [policy.Mistakes]. Nothing comes into force.
func (s *Store) Propose(ctx context.Context, p Proposal) (Draft, error) {
	now := s.now()
	if err := p.Treatment.check(now); err != nil {
		return Draft{}, err
	}
	if p.Reason == "" || len(p.Reason) > maxReason {
		return Draft{}, matrix.InvalidParam("a draft says why, in 1 to %d bytes of reason", maxReason)
	}
	raw, sum, err := canonical(p.Document)
	if err != nil {
		return Draft{}, err
	}
	active := s.Active()
	snapshot, err := s.Candidate(ctx, p.Document)
	if err != nil {
		if mistakes, ok := errors.AsType[policy.Mistakes](err); ok {
			s.refusedDocument(p.Document.Version, p.Document.Issuer, p.By, mistakes)
		}
		return Draft{}, err
	}
	preview, err := s.Preview(ctx, snapshot)
	if err != nil {
		return Draft{}, err
	}
	previewRaw, err := json.Marshal(preview)
	if err != nil {
		return Draft{}, err
	}
	row := policies.Draft{
		ID: newID(now), Version: p.Document.Version, Parent: active.Version, SHA256: sum,
		Author: cleanText(p.By.Actor, maxField), Reason: cleanText(p.Reason, maxReason), Treatment: p.Treatment.How,
		UntilTS: untilTS(p.Treatment.Until), CreatedTS: now.UnixMilli(), Status: policies.DraftOpen, Document: raw,
		Preview: previewRaw,
	}
	if _, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		policies.AddDraft(tx, &row)
		return s.noteDraft(ctx, tx, &row, "propose", p.By, "why: "+row.Reason)
	}); err != nil {
		return Draft{}, fmt.Errorf("keep draft: %w", err)
	}
	return draftOf(&row, active.Version), nil
}

func untilTS(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// noteDraft adds a line about a draft to the audit trail, in the transaction
// that does what the line says.
func (s *Store) noteDraft(ctx context.Context, tx *storage.Tx, d *policies.Draft, action string, by Editor, detail string) error {
	now := s.now()
	line := policies.Entry{
		ID: newID(now), TS: now.UnixMilli(), Kind: KindDraft, Actor: by.Actor, Action: action, Source: by.Way,
		Version: d.Version, Detail: "draft " + d.ID + ", sha256 " + d.SHA256 + ", by " + d.Author + "; " + detail, Count: 1,
	}
	clean(&line)
	return policies.Append(ctx, tx, []*policies.Entry{&line})
}

func draftOf(d *policies.Draft, active int64) Draft {
	out := Draft{
		ID: d.ID, Version: d.Version, Parent: d.Parent, SHA256: d.SHA256, Author: d.Author, Reason: d.Reason,
		Treatment: Treatment{How: d.Treatment}, CreatedTS: d.CreatedTS, Status: d.Status, Approver: d.Approver,
		DecidedTS: d.DecidedTS, PreviewRaw: d.Preview, raw: d.Document,
	}
	if d.UntilTS != 0 {
		out.Treatment.Until = time.UnixMilli(d.UntilTS).UTC()
	}
	pending := d.Status == policies.DraftOpen || d.Status == policies.DraftApproved
	out.Stale = pending && d.Parent != active
	return out
}

// Draft returns a draft with its document, or M_NOT_FOUND.
func (s *Store) Draft(ctx context.Context, id string) (Draft, error) {
	row, err := s.draft(ctx, id)
	if err != nil {
		return Draft{}, err
	}
	return draftOf(&row, s.Active().Version), nil
}

func (s *Store) draft(ctx context.Context, id string) (row policies.Draft, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) (err error) {
		row, err = policies.FindDraft(ctx, r, id)
		return err
	})
	return row, err
}

// Drafts returns the newest drafts, without their documents.
func (s *Store) Drafts(ctx context.Context) ([]Draft, error) {
	var list []policies.Draft
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		list, err = policies.Drafts(ctx, r, maxDrafts)
		return err
	}); err != nil {
		return nil, err
	}
	out := make([]Draft, len(list))
	for i := range list {
		out[i] = draftOf(&list[i], s.Active().Version)
	}
	return out, nil
}

// staleDraft is the error for a draft of a document that is in force no more.
func staleDraft(d *policies.Draft, active int64) error {
	return matrix.NewError(http.StatusConflict, "ORG.BEFFROI.STALE_DRAFT",
		"the draft was written on version %d, and version %d is in force now: look at the difference and propose it anew",
		d.Parent, active)
}

func decidedDraft(d *policies.Draft) error {
	return matrix.NewError(http.StatusConflict, "ORG.BEFFROI.DRAFT_DECIDED", "the draft is %s already", d.Status)
}
