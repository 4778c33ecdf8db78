package policies

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"beffroi/matrix"
	"beffroi/storage"
)

// Filter selects entries of the audit trail. Empty fields select everything.
type Filter struct {
	After  int64 // only entries with a higher Seq
	Since  int64 // milliseconds, inclusive
	Until  int64 // milliseconds, exclusive
	Kind   string
	Action string
	Reason string
	Actor  string
	Server string
	Room   string
}

// pageSize is how many entries are read at a time: none of the snapshots that
// read the trail lives long.
const pageSize = 500

const entryColumns = `seq, id, ts, kind, actor, action, subject, server, room, source, reason, rule, version,
	organisation, detail, count, repeats, prev, hash`

func scanEntry(rows *sql.Rows, more ...any) (e Entry, err error) {
	err = rows.Scan(append([]any{&e.Seq, &e.ID, &e.TS, &e.Kind, &e.Actor, &e.Action, &e.Subject, &e.Server, &e.Room,
		&e.Source, &e.Reason, &e.Rule, &e.Version, &e.Organisation, &e.Detail, &e.Count, &e.Repeats, &e.Prev,
		&e.Hash}, more...)...)
	return e, err
}

// selectCounted reads entries with the sum of their repeats.
const selectCounted = `
	SELECT ` + entryColumns + `,
		(SELECT COALESCE(SUM(more.count), 0) FROM audit more WHERE more.repeats = a.id AND more.repeats <> '')
	FROM audit a `

// where returns the condition for the fields that are set: one text for each
// set of fields, so that the number of prepared statements stays small.
func (f *Filter) where() (text string, args []any) {
	text, args = `WHERE seq > $1 AND kind <> 'repeat'`, []any{f.After}
	add := func(condition string, value any) {
		args = append(args, value)
		text += " AND " + condition + " $" + strconv.Itoa(len(args))
	}
	if f.Since != 0 {
		add("ts >=", f.Since)
	}
	if f.Until != 0 {
		add("ts <", f.Until)
	}
	for _, field := range []struct{ condition, value string }{
		{"kind =", f.Kind}, {"action =", f.Action}, {"reason =", f.Reason}, {"actor =", f.Actor},
		{"server =", f.Server}, {"room =", f.Room},
	} {
		if field.value != "" {
			add(field.condition, field.value)
		}
	}
	return text, args
}

// Page returns up to 500 entries in their order, with the counts of their
// repeats added. Repeats do not stand for themselves. The next page begins
// after the last entry; an empty page is the end.
func Page(ctx context.Context, r *storage.Reader, f Filter) (out []Entry, err error) {
	where, args := f.where()
	q := selectCounted + where + ` ORDER BY seq LIMIT $` + strconv.Itoa(len(args)+1)
	args = append(args, pageSize)
	err = r.Each(ctx, q, args, func(rows *sql.Rows) error {
		var repeats int64
		e, err := scanEntry(rows, &repeats)
		e.Count += repeats
		out = append(out, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read audit trail: %w", err)
	}
	return out, nil
}

// Lines returns up to 500 entries after a place as they were written, repeats
// among them: what their hashes are of. An empty page is the end.
func Lines(ctx context.Context, r *storage.Reader, after int64) (out []Entry, err error) {
	const q = `SELECT ` + entryColumns + ` FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2`
	if err := r.Each(ctx, q, []any{after, pageSize}, func(rows *sql.Rows) error {
		e, err := scanEntry(rows)
		out = append(out, e)
		return err
	}); err != nil {
		return nil, fmt.Errorf("read audit trail: %w", err)
	}
	return out, nil
}

// Find returns the entry with an ID, with the counts of its repeats added, or
// M_NOT_FOUND.
func Find(ctx context.Context, r *storage.Reader, id string) (Entry, error) {
	var out *Entry
	err := r.Each(ctx, selectCounted+`WHERE id = $1`, []any{id}, func(rows *sql.Rows) error {
		var repeats int64
		e, err := scanEntry(rows, &repeats)
		e.Count += repeats
		out = &e
		return err
	})
	switch {
	case err != nil:
		return Entry{}, fmt.Errorf("read audit entry: %w", err)
	case out == nil:
		return Entry{}, matrix.NotFound("there is no decision %s in the audit trail", id)
	}
	return *out, nil
}

// BrokenTrail is the error of [Verify] for a trail that somebody has changed.
type BrokenTrail struct {
	Seq  int64 // the first entry that is not what was written
	Text string
}

// Error says where the trail breaks and how.
func (b *BrokenTrail) Error() string {
	return fmt.Sprintf("the audit trail is broken at entry %d: %s", b.Seq, b.Text)
}

// Trail is the end of a verified audit trail.
type Trail struct {
	Entries int64
	Hash    string // of the last entry; whoever notes it down can prove later that nothing before was changed
}

// Verify reads the whole trail up to its end at this moment and proves that
// every entry is what was written, where it was written. The error is a
// [*BrokenTrail] if it is not. noted, if it is not nil, is a Trail of an
// earlier time that must be the beginning of this one.
func Verify(ctx context.Context, db *storage.DB, noted *Trail) (trail Trail, err error) {
	var end int64
	var endHash string
	if err := db.View(ctx, func(r *storage.Reader) (err error) {
		end, endHash, err = TrailHead(ctx, r)
		return err
	}); err != nil {
		return Trail{}, err
	}
	v := verifier{end: end, noted: noted}
	for more := true; more; {
		if err := db.View(ctx, func(r *storage.Reader) (err error) {
			more, err = v.page(ctx, r)
			return err
		}); err != nil {
			return Trail{}, err
		}
	}
	switch {
	case v.Entries != end:
		return Trail{}, &BrokenTrail{v.Entries + 1, fmt.Sprintf("there should be %d entries", end)}
	case v.Hash != endHash:
		return Trail{}, &BrokenTrail{end, "its hash is not the one noted at the end of the trail"}
	case noted != nil && v.Entries < noted.Entries:
		return Trail{}, &BrokenTrail{v.Entries + 1, fmt.Sprintf("there were %d entries before", noted.Entries)}
	}
	return v.Trail, nil
}

type verifier struct {
	Trail
	end   int64
	noted *Trail
}

func (v *verifier) page(ctx context.Context, r *storage.Reader) (more bool, err error) {
	const q = `SELECT ` + entryColumns + ` FROM audit WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3`
	read := 0
	err = r.Each(ctx, q, []any{v.Entries, v.end, pageSize}, func(rows *sql.Rows) error {
		e, err := scanEntry(rows)
		if err != nil {
			return err
		}
		read++
		return v.check(&e)
	})
	if _, broken := errors.AsType[*BrokenTrail](err); err != nil && !broken {
		err = fmt.Errorf("read audit trail: %w", err)
	}
	return read == pageSize, err
}

func (v *verifier) check(e *Entry) error {
	if e.Seq != v.Entries+1 {
		return &BrokenTrail{v.Entries + 1, "it is missing"}
	}
	if e.Prev != v.Hash {
		return &BrokenTrail{e.Seq, "it does not follow the entry before it"}
	}
	hash, err := e.sum()
	if err != nil {
		return err
	}
	if hash != e.Hash {
		return &BrokenTrail{e.Seq, "its content is not what was written"}
	}
	v.Entries, v.Hash = e.Seq, e.Hash
	if n := v.noted; n != nil && n.Entries == e.Seq && n.Hash != e.Hash {
		return &BrokenTrail{e.Seq, "it is another one than the one noted before"}
	}
	return nil
}
