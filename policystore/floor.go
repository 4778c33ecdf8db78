package policystore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/policies"
)

// The ways of a floor, besides those of documents, and the lines it makes in
// the audit trail.
const (
	WayFeed   = "feed"
	WayImport = "import"

	KindFloor        = "floor"         // a floor came into force
	KindFloorRefused = "floor_refused" // a bundle was refused
)

// Floor says which national document is in force; Version is 0 where there is
// none.
type Floor struct {
	Version int64
	SHA256  string
	Issuer  string
	Since   time.Time
}

func floorOf(f *policies.Floor) Floor {
	if f.Version == 0 {
		return Floor{}
	}
	return Floor{f.Version, f.SHA256, f.Issuer, time.UnixMilli(f.ActivatedTS)}
}

// ErrNoTrust is the error of a bundle where no issuer is configured.
var ErrNoTrust = errors.New("no issuer of bundles is trusted: set policy_feed.issuer and policy_feed.keys")

// Import puts the document of a signed bundle in force as the floor. A version
// that is not greater than the one in force is refused, unless it is that very
// document. What the local document has that the new floor does not allow is
// left out from then on, and logged. Whatever goes wrong, the floor before
// stays in force.
func (s *Store) Import(ctx context.Context, raw []byte, by Editor) error {
	err := s.importBundle(ctx, raw, by)
	if errors.Is(err, storage.ErrConflict) { // somebody was first: look again
		err = s.importBundle(ctx, raw, by)
	}
	if err != nil && !errors.Is(err, ErrNoTrust) && ctx.Err() == nil {
		s.metrics.floors.WithLabelValues("refused").Inc()
		s.recorder.note(policies.Entry{Kind: KindFloorRefused, Actor: by.Actor, Source: by.Way, Detail: err.Error()})
	}
	return err
}

func (s *Store) importBundle(ctx context.Context, raw []byte, by Editor) error {
	if s.trust == nil {
		return ErrNoTrust
	}
	doc, err := ReadBundle(raw, s.trust)
	if err != nil {
		return err
	}
	_, sum, err := canonical(doc)
	if err != nil {
		return err
	}
	head, local, err := s.floorHead(ctx)
	switch {
	case err != nil:
		return err
	case head == (policies.Head{Version: doc.Version, SHA256: sum}):
		return s.follow(ctx)
	case doc.Version <= head.Version:
		return doc.Follows(head.Version)
	}
	now := s.now()
	c, err := compose(doc, local, s.self)
	if err == nil {
		err = failures(c.Floor(), now)
	}
	if err != nil {
		return err
	}
	f := policies.Floor{Version: doc.Version, Issuer: doc.Issuer, SHA256: sum, Actor: by.Actor, Way: by.Way,
		ActivatedTS: now.UnixMilli(), Bundle: raw}
	line := policies.Entry{ID: newID(now), TS: f.ActivatedTS, Kind: KindFloor, Actor: by.Actor, Source: by.Way,
		Version: doc.Version, Detail: "sha256 " + sum + ", issuer " + doc.Issuer, Count: 1}
	clean(&line)
	if _, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		if err := policies.PutFloor(ctx, tx, &f); err != nil {
			return err
		}
		e := line
		return policies.Append(ctx, tx, []*policies.Entry{&e})
	}); err != nil {
		return fmt.Errorf("put floor %d in force: %w", doc.Version, err)
	}
	s.metrics.floors.WithLabelValues("activated").Inc()
	return s.follow(ctx)
}

// floorHead returns which floor and which local document are in force.
func (s *Store) floorHead(ctx context.Context) (head policies.Head, local *policy.Document, err error) {
	var a policies.Activation
	err = s.db.View(ctx, func(r *storage.Reader) (err error) {
		if head, err = policies.FloorHead(ctx, r); err == nil {
			a, err = policies.Active(ctx, r)
		}
		return err
	})
	if err == nil && a.Version > 0 {
		local, err = policy.ParseDocument(a.Document)
	}
	return head, local, err
}

// composed is a snapshot of the documents in force.
type composed struct {
	*policy.Snapshot
	overruled policy.Mistakes // of the local document
}

// compose compiles a floor, if there is one, with a local document.
func compose(floor, local *policy.Document, self matrix.ServerName) (c composed, err error) {
	switch {
	case floor == nil:
		c.Snapshot, err = policy.Compile(local, self)
		return c, err
	case local == nil:
		local = &policy.Document{Version: 1}
	}
	c.Snapshot, c.overruled, err = policy.CompileLayers(floor, local, self)
	return c, err
}

// readFloor reads the floor in force from the journal, nil where there is none.
func readFloor(f *policies.Floor) (*policy.Document, error) {
	if f.Version == 0 {
		return nil, nil
	}
	doc, err := bundled(f.Bundle, f.Issuer)
	if err != nil {
		return nil, fmt.Errorf("read policy floor %d of the database: %w", f.Version, err)
	}
	if _, sum, err := canonical(doc); err != nil || sum != f.SHA256 {
		return nil, fmt.Errorf("policy floor %d in the database is not the one that came into force", f.Version)
	}
	return doc, nil
}

// FloorDocument returns the floor in force in a database, nil where there is
// none, for commands.
func FloorDocument(ctx context.Context, db *storage.DB) (doc *policy.Document, err error) {
	var f policies.Floor
	if err := db.View(ctx, func(r *storage.Reader) (err error) {
		f, err = policies.ActiveFloor(ctx, r)
		return err
	}); err != nil {
		return nil, err
	}
	return readFloor(&f)
}
