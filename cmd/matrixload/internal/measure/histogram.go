// Package measure keeps what a load measures: how long things took, how many
// there were and what went wrong.
package measure

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// A latency is kept in microseconds up to a day, which is the longest run.
	unit    = time.Microsecond
	longest = 24 * time.Hour
	digits  = 3 // that are right, in any percentile
)

// Histogram is many latencies in constant space, each right to three digits. It
// is not safe for concurrent use.
type Histogram struct{ values *hdrhistogram.Histogram }

// NewHistogram returns an empty histogram.
func NewHistogram() *Histogram {
	return &Histogram{hdrhistogram.New(1, int64(longest/unit), digits)}
}

// Add adds one latency. One beyond a day counts as a day.
func (h *Histogram) Add(latency time.Duration) {
	v := min(max(int64(latency/unit), 0), int64(longest/unit))
	if err := h.values.RecordValue(v); err != nil {
		panic(err) // no value between the limits is refused
	}
}

// Merge adds all that another histogram holds.
func (h *Histogram) Merge(other *Histogram) {
	if dropped := h.values.Merge(other.values); dropped != 0 {
		panic(fmt.Sprintf("%d latencies do not fit", dropped)) // all histograms have the same limits
	}
}

// Reset forgets everything.
func (h *Histogram) Reset() { h.values.Reset() }

// Count returns how many latencies there are.
func (h *Histogram) Count() int64 { return h.values.TotalCount() }

// At returns the latency that a percentage of all do not exceed.
func (h *Histogram) At(percent float64) time.Duration {
	return time.Duration(h.values.ValueAtPercentile(percent)) * unit
}

// Latency sums the histogram up. It is nil if the histogram is empty.
func (h *Histogram) Latency() *Latency {
	if h.Count() == 0 {
		return nil
	}
	return &Latency{
		P50: Milliseconds(h.At(50)), P90: Milliseconds(h.At(90)), P95: Milliseconds(h.At(95)), P99: Milliseconds(h.At(99)),
		P999: Milliseconds(h.At(99.9)), Max: Milliseconds(time.Duration(h.values.Max()) * unit),
		Mean: h.values.Mean() * float64(unit) / float64(time.Millisecond),
	}
}

// Encode returns the histogram in the compressed format that the HdrHistogram
// libraries of all languages read, in base64. Its values are microseconds.
func (h *Histogram) Encode() (string, error) {
	raw, err := h.values.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return "", fmt.Errorf("encode histogram: %w", err)
	}
	return string(raw), nil
}

// Curve returns the distribution in steps that get finer towards its end, where
// one looks: half of what remains in each step.
func (h *Histogram) Curve() []Share {
	if h.Count() == 0 {
		return nil
	}
	var out []Share
	// What lies beyond one in so many cannot be told from the longest.
	for rest := 100.0; rest*float64(h.Count()) >= 100; rest /= 1.5 {
		out = append(out, Share{Percent: 100 - rest, Millis: Milliseconds(h.At(100 - rest))})
	}
	return append(out, Share{Percent: 100, Millis: Milliseconds(h.At(100))})
}
