package policystore

import (
	"context"
	"fmt"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/policies"
)

// WayRollback is how a document of the journal comes into force again.
const WayRollback = "rollback"

// DocumentAt returns the document of the journal with a version, or M_NOT_FOUND.
func DocumentAt(ctx context.Context, db *storage.DB, version int64) (*policy.Document, error) {
	var a policies.Activation
	if err := db.View(ctx, func(r *storage.Reader) (err error) {
		a, err = policies.At(ctx, r, version)
		return err
	}); err != nil {
		return nil, err
	}
	if a.Version == 0 {
		return nil, matrix.NotFound("there is no document %d in the journal", version)
	}
	if hashOf(a.Document) != a.SHA256 {
		return nil, fmt.Errorf("policy document %d in the database is not the one that was activated", version)
	}
	return policy.ParseDocument(a.Document)
}

// Rollback puts a document of the journal in force again, under a version of
// its own: versions only grow. It returns that version.
func (s *Store) Rollback(ctx context.Context, version int64, by Editor) (int64, error) {
	doc, err := DocumentAt(ctx, s.db, version)
	if err != nil {
		return 0, err
	}
	doc.Version = s.Active().Version + 1
	by.Way = WayRollback
	return doc.Version, s.Activate(ctx, doc, by)
}
