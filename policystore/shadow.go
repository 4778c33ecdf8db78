package policystore

import (
	"context"
	"time"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/policies"
)

// maxShadowFindings bounds a report.
const maxShadowFindings = 1000

// ShadowReport is what a candidate would have decided otherwise on real traffic.
type ShadowReport struct {
	ID        string                   `json:"id,omitempty"` // "" where no candidate ever ran
	Version   int64                    `json:"version,omitempty"`
	SHA256    string                   `json:"sha256,omitempty"`
	Actor     string                   `json:"actor,omitempty"`
	StartedTS int64                    `json:"started_ts,omitempty"`
	UntilTS   int64                    `json:"until_ts,omitempty"`
	Running   bool                     `json:"running"`
	Asked     int64                    `json:"asked"` // decisions that were compared
	Findings  []policies.ShadowFinding `json:"findings"`
}

// StartShadow runs a candidate beside the active document, on every node, in
// place of the one that runs. It answers nobody.
func (s *Store) StartShadow(ctx context.Context, doc *policy.Document, by Editor, lifetime time.Duration) (ShadowReport, error) {
	now := s.now()
	if _, err := s.Candidate(ctx, doc); err != nil {
		return ShadowReport{}, err
	}
	raw, sum, err := canonical(doc)
	if err != nil {
		return ShadowReport{}, err
	}
	row := policies.Shadow{ID: newID(now), Version: doc.Version, SHA256: sum, Actor: by.Actor, StartedTS: now.UnixMilli(),
		UntilTS: now.Add(lifetime).UnixMilli(), Document: raw}
	if _, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		if err := policies.StartShadow(ctx, tx, &row); err != nil {
			return err
		}
		return s.noteShadow(ctx, tx, "start_shadow", by, &row)
	}); err != nil {
		return ShadowReport{}, err
	}
	return s.Shadow(ctx)
}

// StopShadow ends the candidate that runs, and returns what it found.
func (s *Store) StopShadow(ctx context.Context, by Editor) (ShadowReport, error) {
	if _, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		if err := policies.EndShadows(ctx, tx, s.now().UnixMilli()); err != nil {
			return err
		}
		return s.noteShadow(ctx, tx, "stop_shadow", by, &policies.Shadow{})
	}); err != nil {
		return ShadowReport{}, err
	}
	return s.Shadow(ctx)
}

func (s *Store) noteShadow(ctx context.Context, tx *storage.Tx, action string, by Editor, row *policies.Shadow) error {
	now := s.now()
	line := policies.Entry{ID: newID(now), TS: now.UnixMilli(), Kind: KindDraft, Actor: by.Actor, Action: action,
		Source: by.Way, Version: row.Version, Detail: row.SHA256, Count: 1}
	clean(&line)
	return policies.Append(ctx, tx, []*policies.Entry{&line})
}

// Shadow returns what the candidate that was started last has found up to some
// seconds ago.
func (s *Store) Shadow(ctx context.Context) (out ShadowReport, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		row, err := policies.LastShadow(ctx, r)
		if err != nil {
			return err
		}
		out = ShadowReport{ID: row.ID, Version: row.Version, SHA256: row.SHA256, Actor: row.Actor, StartedTS: row.StartedTS,
			UntilTS: row.UntilTS, Asked: row.Asked, Running: row.ID != "" && row.EndedTS == 0 && row.UntilTS > s.now().UnixMilli()}
		out.Findings, err = policies.ShadowFindings(ctx, r, row.ID, maxShadowFindings)
		return err
	})
	if out.Findings == nil {
		out.Findings = []policies.ShadowFinding{}
	}
	return out, err
}

// RunShadow casts the candidate that is to run on this node, and writes what
// it finds, until ctx ends.
func (s *Store) RunShadow(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	var c caster
	for {
		if err := c.step(ctx, s); err != nil && ctx.Err() == nil && !c.failing {
			s.log.Error("shadow of the policy cannot be followed", "err", err)
			c.failing = true
		}
		select {
		case <-ctx.Done():
			s.engine.Cast(nil)
			return nil
		case <-tick.C:
		}
	}
}

// caster is what a node knows of the candidate that it casts.
type caster struct {
	id      string // "": none
	shadow  *policy.Shadow
	failing bool
}

func (c *caster) step(ctx context.Context, s *Store) error {
	var id string
	var row policies.Shadow
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		if id, err = policies.RunningShadow(ctx, r, s.now().UnixMilli()); err != nil || id == c.id || id == "" {
			return err
		}
		row, err = policies.LastShadow(ctx, r)
		return err
	}); err != nil {
		return err
	}
	if err := c.write(ctx, s); err != nil {
		return err
	}
	c.failing = false
	if id == c.id {
		return nil
	}
	c.id, c.shadow = "", nil
	if id != "" && row.ID == id {
		doc, err := policy.ParseDocument(row.Document)
		if err != nil {
			return err
		}
		floor, err := FloorDocument(ctx, s.db)
		if err != nil {
			return err
		}
		composed, err := compose(floor, doc, s.self)
		if err != nil {
			return err
		}
		c.id, c.shadow = id, policy.NewShadow(composed.Snapshot)
	}
	s.engine.Cast(c.shadow)
	return nil
}

// write adds what was found since the last time. What cannot be written is
// lost: it is a sample, and not the audit trail.
func (c *caster) write(ctx context.Context, s *Store) error {
	if c.shadow == nil {
		return nil
	}
	asked, found := c.shadow.Take()
	if asked == 0 {
		return nil
	}
	rows := make([]policies.ShadowFinding, 0, len(found))
	for kind, d := range found {
		rows = append(rows, policies.ShadowFinding{
			Action: kind.Action.String(), Denies: kind.Denies, Reason: string(kind.Reason), Rule: kind.Rule,
			Organisation: kind.Organisation, Count: d.Count, Actor: cleanText(string(d.Actor), maxField),
			Subject: cleanText(string(d.Subject), maxField), Server: cleanText(string(d.Server), maxField),
			Room: cleanText(string(d.Room), maxField),
		})
	}
	_, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return policies.AddShadowFindings(ctx, tx, c.id, asked, rows)
	})
	return err
}

// Self returns the name of the server.
func (s *Store) Self() matrix.ServerName { return s.self }

// Journal returns the activations, the newest first, without their documents.
func (s *Store) Journal(ctx context.Context, limit int) ([]Activation, error) {
	return Journal(ctx, s.db, limit)
}

// Past returns a document of the journal, or M_NOT_FOUND. It is the caller's.
func (s *Store) Past(ctx context.Context, version int64) (*policy.Document, error) {
	var a policies.Activation
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		a, err = policies.ActivationOf(ctx, r, version)
		return err
	}); err != nil {
		return nil, err
	}
	return policy.ParseDocument(a.Document)
}
