package policystore

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/policies"
)

const (
	// window is how long equal refusals count as one line.
	window = time.Minute
	// maxLines bounds the different refusals of a window, and so the memory that
	// refused peers can take (about 3 MB). The rest is counted by action and
	// reason alone.
	maxLines = 4096
	// maxBatch is how many lines are written in one transaction: few, so that a
	// flood of refusals does not hold up those who send.
	maxBatch = 32
	// maxField is the longest text of a line: what a Matrix ID may have.
	maxField = 255
	// maxDetail is the longest detail of a line.
	maxDetail = 2000
)

// key is what makes two refusals equal.
type key struct {
	action                       policy.Action
	reason                       policy.Reason
	actor, subject, server, room string
}

// line is an entry and how often it happened.
type line struct {
	entry   policies.Entry
	until   time.Time // the end of its window
	count   int64
	told    int64 // of count, what was written
	written bool
}

// recorder gathers lines for the audit trail in memory. What asks it never
// waits for the database.
type recorder struct {
	db      *storage.DB
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics

	mu      sync.Mutex
	open    map[key]*line // guarded by mu: the refusals of the window
	fresh   []*line       // guarded by mu: not written yet
	closing []*line       // guarded by mu: out of their window, with a count to write

	wake chan struct{} // capacity 1: says only that fresh is not empty
	turn chan struct{} // capacity 1: held by the one who writes

	batch   []share // of the one who holds turn: under way, or to be tried again
	failing bool    // of the one who holds turn: the last attempt failed
}

// share is what one line has in a batch. Its entry does not change between
// attempts, because one of them may have been committed without our knowing.
type share struct {
	line  *line
	entry policies.Entry
}

func newRecorder(db *storage.DB, log *slog.Logger, now func() time.Time, m *metrics) *recorder {
	return &recorder{
		db: db, log: log, now: now, metrics: m, open: make(map[key]*line),
		wake: make(chan struct{}, 1), turn: make(chan struct{}, 1),
	}
}

// count adds a refusal. It returns the ID of its line, and whether the line is
// new. entry is asked for only then.
func (r *recorder) count(k key, entry func() policies.Entry) (id string, first bool) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.current(k, now); l != nil {
		l.count++
		return l.entry.ID, false
	}
	overflow := len(r.open) >= maxLines
	if overflow {
		k = key{action: k.action, reason: k.reason}
		if l := r.current(k, now); l != nil {
			l.count++
			return l.entry.ID, false
		}
	}
	e := entry()
	if overflow {
		e.Actor, e.Subject, e.Server, e.Room, e.Organisation = "", "", "", "", ""
		e.Detail = "stands for all that came beyond the number of lines that are kept apart"
	}
	l := r.add(e, now)
	r.open[k] = l
	return l.entry.ID, true
}

// current returns the line of k that still takes counts.
func (r *recorder) current(k key, now time.Time) *line {
	l := r.open[k]
	if l == nil || !r.over(l, now) {
		return l
	}
	r.close(k, l)
	return nil
}

// over reports whether a line has had its window. One that could not be
// written yet goes on counting: so memory stays bounded without a database.
func (r *recorder) over(l *line, now time.Time) bool {
	return l.written && !now.Before(l.until) && (l.count == l.told || len(r.closing) < maxLines)
}

func (r *recorder) close(k key, l *line) {
	delete(r.open, k)
	if l.count > l.told {
		r.closing = append(r.closing, l)
	}
}

// add queues a new line for writing.
func (r *recorder) add(e policies.Entry, now time.Time) *line {
	e.ID, e.TS = newID(now), now.UnixMilli()
	clean(&e)
	l := &line{entry: e, until: now.Add(window), count: 1}
	r.fresh = append(r.fresh, l)
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return l
}

// note queues a line that stands for itself. When too many wait it is dropped,
// and the caller's log has to do.
func (r *recorder) note(e policies.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.fresh) < 2*maxLines {
		r.add(e, r.now())
	}
}

// waiting returns how many lines are not written.
func (r *recorder) waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.fresh) + len(r.closing)
}

// find returns a line that is in memory.
func (r *recorder) find(id string) (policies.Entry, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := func(l *line) (policies.Entry, bool) {
		e := l.entry
		e.Count = l.count
		return e, true
	}
	for _, l := range r.open {
		if l.entry.ID == id {
			return found(l)
		}
	}
	for _, list := range [][]*line{r.fresh, r.closing} {
		for _, l := range list {
			if l.entry.ID == id {
				return found(l)
			}
		}
	}
	return policies.Entry{}, false
}

// flush writes what waits. Lines whose window is over are closed first, or
// all of them if it is the last flush.
func (r *recorder) flush(ctx context.Context, last bool) error {
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.turn }()
	for first := true; ; first = false {
		if first || last {
			r.closeWindows(last)
		}
		if len(r.batch) == 0 {
			r.batch = r.take()
		}
		if len(r.batch) == 0 {
			return nil
		}
		if err := r.write(ctx); err != nil {
			return err
		}
	}
}

func (r *recorder) closeWindows(all bool) {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, l := range r.open {
		if r.over(l, now) || all && l.written {
			r.close(k, l)
		}
	}
}

// take takes the next batch out of the queues.
func (r *recorder) take() (batch []share) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.fresh), maxBatch)
	for _, l := range r.fresh[:n] {
		e := l.entry
		e.Count = l.count
		batch = append(batch, share{l, e})
	}
	r.fresh = r.fresh[n:]
	m := min(len(r.closing), maxBatch-n)
	for _, l := range r.closing[:m] {
		now := r.now()
		batch = append(batch, share{l, policies.Entry{
			ID: newID(now), TS: now.UnixMilli(), Kind: policies.KindRepeat, Action: l.entry.Action,
			Reason: l.entry.Reason, Count: l.count - l.told, Repeats: l.entry.ID,
		}})
	}
	r.closing = r.closing[m:]
	return batch
}

// write writes the batch, or keeps it for the next attempt.
func (r *recorder) write(ctx context.Context) error {
	doubt := r.failing
	_, err := r.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		entries, err := r.unwritten(ctx, tx, doubt)
		if err != nil {
			return err
		}
		return policies.Append(ctx, tx, entries)
	})
	if err != nil {
		r.metrics.failures.Inc()
		if !r.failing {
			r.log.Error("audit trail cannot be written; its lines wait in memory", "err", err)
		}
		r.failing = true
		return err
	}
	if r.failing {
		r.log.Warn("audit trail is written again")
	}
	r.failing = false
	r.metrics.lines.Add(float64(len(r.batch)))
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.batch {
		s.line.written = true
		s.line.told += s.entry.Count
	}
	r.batch = nil
	return nil
}

// unwritten returns the entries of the batch, without those that an attempt
// whose outcome is not known has written.
func (r *recorder) unwritten(ctx context.Context, tx *storage.Tx, doubt bool) (entries []*policies.Entry, err error) {
	var written map[string]bool
	if doubt {
		ids := make([]string, len(r.batch))
		for i := range r.batch {
			ids[i] = r.batch[i].entry.ID
		}
		if written, err = policies.Written(ctx, tx, ids); err != nil {
			return nil, err
		}
	}
	for i := range r.batch {
		if e := r.batch[i].entry; !written[e.ID] { // a copy: the hash is of this attempt
			entries = append(entries, &e)
		}
	}
	return entries, nil
}

// clean makes the texts of an entry fit to be stored: a line that a database
// refuses would hold up all that come after it.
func clean(e *policies.Entry) {
	for _, s := range []*string{&e.Kind, &e.Actor, &e.Action, &e.Subject, &e.Server, &e.Room, &e.Source, &e.Reason,
		&e.Rule, &e.Organisation} {
		*s = cleanText(*s, maxField)
	}
	e.Detail = cleanText(strings.ReplaceAll(e.Detail, "\n", "; "), maxDetail)
}

func cleanText(s string, limit int) string {
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") // without the half of a character
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return utf8.RuneError
		}
		return c
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}
