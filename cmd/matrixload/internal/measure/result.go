package measure

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// The phases of a run.
const (
	PhaseSetUp    = "set-up"
	PhaseWarmUp   = "warm-up"
	PhaseMeasured = "measured"
)

// Result is what one run of one scenario measured. Its JSON is the report for
// programs.
type Result struct {
	Scenario    string    `json:"scenario"`
	Label       string    `json:"label,omitempty"` // what the caller calls the server
	Servers     []string  `json:"servers"`
	Started     time.Time `json:"started"`
	Interrupted bool      `json:"interrupted,omitempty"` // before its end: the figures are of what there was
	Load        Load      `json:"load"`

	SetUpSeconds    float64 `json:"set_up_seconds"`
	MeasuredSeconds float64 `json:"measured_seconds"` // until the last action ended
	Actions         int64   `json:"actions"`          // started, with those of the warm-up
	Shed            int64   `json:"shed"`             // due and never started

	Operations []Operation `json:"operations"`
	SetUp      []Operation `json:"set_up"`
	Failures   []Failure   `json:"failures"`
	Process    *Process    `json:"process,omitempty"`
}

// Load is what was asked of the servers.
type Load struct {
	Rate          float64 `json:"rate"` // actions a second, 0 for as many as Workers can do
	Workers       int     `json:"workers,omitempty"`
	MaxInFlight   int     `json:"max_in_flight,omitempty"`
	WarmUpSeconds float64 `json:"warm_up_seconds"`
	Seconds       float64 `json:"seconds"`
	Users         int     `json:"users"`
	Rooms         int     `json:"rooms"`
	Members       int     `json:"members"`   // of a room, on average
	Messages      int     `json:"messages"`  // in a room before it is measured
	Listeners     int     `json:"listeners"` // users that wait for news all the time
	MessageBytes  int     `json:"message_bytes"`
}

// Operation is what was measured of one kind of request, or of something that
// users wait for.
type Operation struct {
	Name      string   `json:"name"`
	Count     int64    `json:"count"` // that succeeded
	Failed    int64    `json:"failed"`
	PerSecond float64  `json:"per_second"`
	MeanBytes int64    `json:"mean_bytes,omitempty"` // of an answer
	Latency   *Latency `json:"latency_ms,omitempty"` // of those that succeeded
	Points    []Point  `json:"points,omitempty"`
	Curve     []Share  `json:"curve,omitempty"`
	Histogram string   `json:"histogram,omitempty"` // HdrHistogram, V2 compressed, base64, in microseconds
}

// Latency is a distribution in milliseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
	Mean float64 `json:"mean"`
}

// Point is a piece of a run, for charts. Latencies are milliseconds.
type Point struct {
	At              float64 `json:"at"` // seconds since measuring began
	PerSecond       float64 `json:"per_second"`
	FailedPerSecond float64 `json:"failed_per_second,omitempty"`
	P50             float64 `json:"p50,omitempty"`
	P99             float64 `json:"p99,omitempty"`
	Max             float64 `json:"max,omitempty"`
}

// Share is a point of the distribution of a latency: so many percent took at
// most so many milliseconds.
type Share struct {
	Percent float64 `json:"percent"`
	Millis  float64 `json:"ms"`
}

// Failure is what went wrong in one way.
type Failure struct {
	Phase     string `json:"phase"`
	Operation string `json:"operation"`
	Kind      string `json:"kind"`
	Count     int64  `json:"count"`
	Example   string `json:"example"` // what the first one said
}

// Process is what the servers' processes used while it was measured, by their
// metrics.
type Process struct {
	CPUSeconds    float64 `json:"cpu_seconds"`
	ResidentBytes float64 `json:"resident_bytes"` // at the end
	// Counters are what the metrics that were asked for grew by.
	Counters map[string]float64 `json:"counters,omitempty"`
	Missing  []string           `json:"missing,omitempty"` // metrics that were asked for and do not exist
}

// Operation returns the operation of a name, nil if it did not happen.
func (r *Result) Operation(name string) *Operation {
	for i := range r.Operations {
		if r.Operations[i].Name == name {
			return &r.Operations[i]
		}
	}
	return nil
}

// Done returns how many actions succeeded: what was timed and is a request of
// its own. A delivery follows from a send.
func (r *Result) Done() (n int64) {
	for _, o := range r.Operations {
		if o.Latency != nil && !strings.HasPrefix(o.Name, "delivery") {
			n += o.Count
		}
	}
	return n
}

// Failed returns how many things went wrong, in all phases, those included
// that never started.
func (r *Result) Failed() int64 {
	n := r.Shed
	for _, f := range r.Failures {
		n += f.Count
	}
	return n
}

// SortFailures puts first what happened most.
func SortFailures(list []Failure) {
	slices.SortFunc(list, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Phase, b.Phase),
			strings.Compare(a.Operation, b.Operation), strings.Compare(a.Kind, b.Kind))
	})
}

// Milliseconds returns a duration as reports give it.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
