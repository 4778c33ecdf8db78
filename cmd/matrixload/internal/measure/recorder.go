package measure

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// maxKinds bounds how many kinds of failures are told apart, so that a
	// server cannot fill the memory with them. The rest is one kind.
	maxKinds  = 200
	otherKind = "other"
	// maxPoints is how many points a chart has at most.
	maxPoints = 240
)

// Recorder takes what happens during a run. It is safe for concurrent use.
type Recorder struct {
	mu         sync.Mutex
	begin      time.Time     // of measuring: what was due earlier is warm-up
	width      time.Duration // of a point of the charts
	operations map[string]*operation
	failures   map[failureKey]*Failure
	failed     int64 // since begin
}

// operation is one kind of request, or what one waits for.
type operation struct {
	total  *Histogram
	window *Histogram // since the last point
	points []Point
	opened time.Time // when the window began
	count  int64
	failed int64
	lost   int64 // failures since the last point
	seen   int64 // successes since the last point
	bytes  int64
	timed  bool
}

type failureKey struct{ phase, operation, kind string }

// NewRecorder returns a recorder that counts what is due from begin on, for
// about as long as lasting says.
func NewRecorder(begin time.Time, lasting time.Duration) *Recorder {
	seconds := (lasting + maxPoints*time.Second - 1) / (maxPoints * time.Second)
	return &Recorder{
		begin: begin, width: max(seconds, 1) * time.Second,
		operations: make(map[string]*operation), failures: make(map[failureKey]*Failure),
	}
}

// Kinder is an error that says by which of a few kinds it is to be counted.
type Kinder interface {
	error
	Kind() string
}

// Done records that an operation ended just now, with a body of so many bytes
// or an error. Its latency counts from when it was due. An operation that the
// run itself gave up is not counted.
func (r *Recorder) Done(name string, due time.Time, bytes int, err error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.fail(name, due, now, err)
		return
	}
	if due.Before(r.begin) {
		return
	}
	op := r.operation(name, now)
	op.timed = true
	op.succeed(bytes)
	op.window.Add(now.Sub(due))
}

// Tally records that an operation succeeded whose latency means nothing, such
// as a request that waits for news.
func (r *Recorder) Tally(name string, bytes int) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !now.Before(r.begin) {
		r.operation(name, now).succeed(bytes)
	}
}

func (o *operation) succeed(bytes int) {
	o.count++
	o.seen++
	o.bytes += int64(bytes)
}

// fail counts a failure, of the warm-up too: errors are never hidden.
func (r *Recorder) fail(name string, due, now time.Time, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	phase := PhaseMeasured
	if due.Before(r.begin) {
		phase = PhaseWarmUp
	} else {
		op := r.operation(name, now)
		op.failed++
		op.lost++
		r.failed++
	}
	kind := otherKind
	if k, ok := errors.AsType[Kinder](err); ok {
		kind = k.Kind()
	}
	key := failureKey{phase, name, kind}
	if r.failures[key] == nil && len(r.failures) >= maxKinds {
		key.kind = otherKind
	}
	f := r.failures[key]
	if f == nil {
		f = &Failure{Phase: phase, Operation: name, Kind: key.kind, Example: err.Error()}
		r.failures[key] = f
	}
	f.Count++
}

// operation returns the operation of a name with its window open at now.
func (r *Recorder) operation(name string, now time.Time) *operation {
	op := r.operations[name]
	if op == nil {
		op = &operation{total: NewHistogram(), window: NewHistogram(), opened: r.begin}
		r.operations[name] = op
	}
	for now.Sub(op.opened) >= r.width && len(op.points) < 2*maxPoints {
		op.close(r.begin, r.width)
	}
	return op
}

// close makes a point of the window and begins the next one.
func (o *operation) close(begin time.Time, width time.Duration) {
	p := Point{
		At: o.opened.Sub(begin).Seconds(), PerSecond: float64(o.seen) / width.Seconds(),
		FailedPerSecond: float64(o.lost) / width.Seconds(),
	}
	if o.window.Count() > 0 {
		p.P50, p.P99 = Milliseconds(o.window.At(50)), Milliseconds(o.window.At(99))
		p.Max = Milliseconds(o.window.At(100))
		o.total.Merge(o.window)
		o.window.Reset()
	}
	o.points = append(o.points, p)
	o.opened, o.seen, o.lost = o.opened.Add(width), 0, 0
}

// Glance is what a progress line shows of an operation.
type Glance struct {
	PerSecond float64  // in the last whole window
	Latency   *Latency // in it, nil if nothing was timed
	Count     int64    // since measuring began
	Failed    int64    // of all operations, since measuring began
}

// Glance returns how an operation does just now.
func (r *Recorder) Glance(name string) Glance {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	g := Glance{Failed: r.failed}
	if now.Before(r.begin) || r.operations[name] == nil {
		return g
	}
	op := r.operation(name, now)
	g.Count = op.count
	if n := len(op.points); n > 0 {
		last := op.points[n-1]
		g.PerSecond = last.PerSecond
		if op.timed && last.Max > 0 {
			g.Latency = &Latency{P50: last.P50, P99: last.P99, Max: last.Max}
		}
	}
	return g
}

// Operations returns what was measured until now over the time since measuring
// began, in the order of the names.
func (r *Recorder) Operations(elapsed time.Duration) ([]Operation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Operation
	for _, name := range slices.Sorted(maps.Keys(r.operations)) {
		op := r.operations[name]
		total := NewHistogram()
		total.Merge(op.total)
		total.Merge(op.window)
		o := Operation{
			Name: name, Count: op.count, Failed: op.failed, Latency: total.Latency(), Points: slices.Clone(op.points),
		}
		if elapsed > 0 {
			o.PerSecond = float64(op.count) / elapsed.Seconds()
		}
		if op.count > 0 {
			o.MeanBytes = op.bytes / op.count
		}
		if o.Latency != nil {
			var err error
			if o.Histogram, err = total.Encode(); err != nil {
				return nil, err
			}
			o.Curve = total.Curve()
		}
		out = append(out, o)
	}
	return out, nil
}

// Failures returns what went wrong, what happened most first.
func (r *Recorder) Failures() []Failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Failure
	for _, f := range r.failures {
		out = append(out, *f)
	}
	SortFailures(out)
	return out
}
