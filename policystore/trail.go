package policystore

import (
	"context"
	"iter"

	"beffroi/storage"
	"beffroi/storage/policies"
)

// Entry is a line of the audit trail.
type Entry = policies.Entry

// Filter selects lines of the audit trail.
type Filter = policies.Filter

// Record adds a line of the caller's, such as an administrator's call, to the
// trail and returns its ID. The line is durable when Record returns. Kind,
// Actor, Action and the fields that apply are the caller's; the rest is set.
func (s *Store) Record(ctx context.Context, e Entry) (id string, err error) {
	now := s.now()
	e.ID, e.TS, e.Count, e.Repeats = newID(now), now.UnixMilli(), 1, ""
	clean(&e)
	_, err = s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		line := e
		return policies.Append(ctx, tx, []*policies.Entry{&line})
	})
	return e.ID, err
}

// Audit returns the lines of the trail that a filter selects, in their order.
// It ends after the first error.
func (s *Store) Audit(ctx context.Context, f Filter) iter.Seq2[Entry, error] {
	return Audit(ctx, s.db, f)
}

// Audit is [Store.Audit] on a database, for commands.
func Audit(ctx context.Context, db *storage.DB, f Filter) iter.Seq2[Entry, error] {
	return pages(ctx, db, f.After, func(ctx context.Context, r *storage.Reader, after int64) ([]Entry, error) {
		f.After = after
		return policies.Page(ctx, r, f)
	})
}

// Lines returns the lines of the trail after a place as they were written, with
// the repeats that [Audit] counts together: each holds the hash of the one
// before. It ends after the first error.
func Lines(ctx context.Context, db *storage.DB, after int64) iter.Seq2[Entry, error] {
	return pages(ctx, db, after, policies.Lines)
}

// pages returns the lines after a place, of which page reads the next few.
func pages(ctx context.Context, db *storage.DB, after int64,
	page func(ctx context.Context, r *storage.Reader, after int64) ([]Entry, error)) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for at := after; ; {
			var list []Entry
			if err := db.View(ctx, func(r *storage.Reader) (err error) {
				list, err = page(ctx, r, at)
				return err
			}); err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range list {
				if !yield(e, nil) {
					return
				}
				at = e.Seq
			}
			if len(list) == 0 {
				return
			}
		}
	}
}

// Find returns the line with a decision ID, written or not, or M_NOT_FOUND.
func (s *Store) Find(ctx context.Context, id string) (Entry, error) {
	if e, ok := s.recorder.find(id); ok {
		return e, nil
	}
	return Find(ctx, s.db, id)
}

// Find is [Store.Find] on a database, for commands.
func Find(ctx context.Context, db *storage.DB, id string) (e Entry, err error) {
	err = db.View(ctx, func(r *storage.Reader) (err error) {
		e, err = policies.Find(ctx, r, id)
		return err
	})
	return e, err
}

// Trail is the end of an audit trail: its number of lines and the hash of the
// last.
type Trail = policies.Trail

// BrokenTrail is the error of a trail that somebody has changed.
type BrokenTrail = policies.BrokenTrail

// VerifyAudit proves that nothing of the written trail was cut or altered and
// returns its end. The error is a [*BrokenTrail] if something was.
func (s *Store) VerifyAudit(ctx context.Context) (Trail, error) {
	return policies.Verify(ctx, s.db, nil)
}

// VerifyAudit is [Store.VerifyAudit] on a database, for commands. noted, if it
// is not nil, is a Trail of an earlier time that must be the beginning of this
// one: it proves what the database alone cannot.
func VerifyAudit(ctx context.Context, db *storage.DB, noted *Trail) (Trail, error) {
	return policies.Verify(ctx, db, noted)
}

// Activation is a line of the journal of documents.
type Activation = policies.Activation

// Journal returns the activations of a database, the newest first, without
// their documents.
func Journal(ctx context.Context, db *storage.DB, limit int) (out []Activation, err error) {
	err = db.View(ctx, func(r *storage.Reader) (err error) {
		out, err = policies.Journal(ctx, r, limit)
		return err
	})
	return out, err
}
