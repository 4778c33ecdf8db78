package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func TestMergedHistogramsAreOne(t *testing.T) {
	t.Parallel()
	one, odd, even := NewHistogram(), NewHistogram(), NewHistogram()
	for i := range 10_000 {
		latency := time.Duration(i*i) * time.Microsecond // up to 100 s
		one.Add(latency)
		[]*Histogram{even, odd}[i%2].Add(latency)
	}
	merged := NewHistogram()
	merged.Merge(even)
	merged.Merge(odd)
	for _, percent := range []float64{0, 1, 50, 90, 99, 99.9, 100} {
		if got, want := merged.At(percent), one.At(percent); got != want {
			t.Errorf("%v %%: got %v, want %v", percent, got, want)
		}
	}
	if merged.Count() != 10_000 || *merged.Latency() != *one.Latency() {
		t.Errorf("got %+v, want %+v", merged.Latency(), one.Latency())
	}
	if got, want := merged.At(50), 5000*5000*time.Microsecond; got < want*999/1000 || got > want*1001/1000 {
		t.Errorf("half of all take %v, want %v to three digits", got, want)
	}
	text, err := merged.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := hdrhistogram.Decode([]byte(text))
	if err != nil || !again.Equals(merged.values) {
		t.Errorf("another program reads something else: %v", err)
	}
}

func TestHistogramTakesAnything(t *testing.T) {
	t.Parallel()
	h := NewHistogram()
	if h.Latency() != nil || h.Curve() != nil {
		t.Error("nothing has a latency")
	}
	for _, d := range []time.Duration{-time.Second, 0, time.Nanosecond, longest, longest + 1, 1<<63 - 1} {
		h.Add(d)
	}
	if l := h.Latency(); h.Count() != 6 || l.Max < Milliseconds(longest) || l.Max > Milliseconds(longest)*1.001 {
		t.Errorf("got %d, %+v", h.Count(), l)
	}
	curve := h.Curve()
	if !slices.IsSortedFunc(curve, func(a, b Share) int { return int(a.Percent*1000) - int(b.Percent*1000) }) ||
		curve[len(curve)-1].Percent != 100 {
		t.Errorf("got %+v", curve)
	}
}

// fault is an error with a kind.
type fault string

func (f fault) Error() string { return string(f) + ": what was said" }
func (f fault) Kind() string  { return string(f) }

func TestRecorder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now().Add(2 * time.Second)
		r := NewRecorder(begin, 5*time.Second)
		// Four a second, each 100 ms late, the second and sixth fail.
		for i := range 28 {
			due := time.Now()
			<-time.After(100 * time.Millisecond)
			var err error
			if i%8 == 1 || i%8 == 5 {
				err = fault("429 M_LIMIT_EXCEEDED")
			}
			r.Done("send", due, 50, err)
			r.Tally("sync", 1000)
			<-time.After(150 * time.Millisecond)
		}
		r.Done("send", time.Now(), 0, context.Canceled)
		r.Done("send", time.Now(), 0, fmt.Errorf("wrapped: %w", fault("timeout")))
		ops, err := r.Operations(5 * time.Second)
		if err != nil || len(ops) != 2 {
			t.Fatalf("got %+v, %v", ops, err)
		}
		send, sync := ops[0], ops[1]
		if send.Name != "send" || send.Count != 15 || send.Failed != 6 || send.PerSecond != 3 || send.MeanBytes != 50 ||
			send.Latency == nil || send.Latency.P50 != 100.031 && send.Latency.P50 != 100 || send.Histogram == "" {
			t.Errorf("got %+v, %+v", send, send.Latency)
		}
		if sync.Count != 20 || sync.Latency != nil || sync.Histogram != "" || sync.PerSecond != 4 {
			t.Errorf("got %+v", sync)
		}
		if len(send.Points) != 5 || send.Points[1].At != 1 || send.Points[1].PerSecond != 3 || send.Points[1].FailedPerSecond != 1 {
			t.Errorf("got %+v", send.Points)
		}
		want := []Failure{
			{PhaseMeasured, "send", "429 M_LIMIT_EXCEEDED", 5, "429 M_LIMIT_EXCEEDED: what was said"},
			{PhaseWarmUp, "send", "429 M_LIMIT_EXCEEDED", 2, "429 M_LIMIT_EXCEEDED: what was said"},
			{PhaseMeasured, "send", "timeout", 1, "wrapped: timeout: what was said"},
		}
		if got := r.Failures(); !slices.Equal(got, want) {
			t.Errorf("got %+v", got)
		}
		if g := r.Glance("send"); g.Count != 15 || g.Failed != 6 || g.PerSecond != 3 || g.Latency == nil {
			t.Errorf("got %+v", g)
		}
	})
}

// A server that makes up kinds of failures fills no memory, and no failure is
// lost.
func TestKindsAreBounded(t *testing.T) {
	t.Parallel()
	r := NewRecorder(time.Now().Add(-time.Minute), time.Minute)
	for i := range 3 * maxKinds {
		r.Done("send", time.Now(), 0, fault(fmt.Sprint(i)))
	}
	r.Done("send", time.Now(), 0, errors.New("of no kind"))
	failures := r.Failures()
	var sum int64
	for _, f := range failures {
		sum += f.Count
	}
	if len(failures) != maxKinds+1 || sum != 3*maxKinds+1 || failures[0].Kind != otherKind {
		t.Errorf("%d kinds, %d failures, first %+v", len(failures), sum, failures[0])
	}
}

func TestLongRunHasFewPoints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := NewRecorder(time.Now(), 24*time.Hour)
		for range 24 * 60 {
			r.Done("send", time.Now(), 0, nil)
			<-time.After(time.Minute)
		}
		ops, err := r.Operations(24 * time.Hour)
		if err != nil || len(ops[0].Points) > maxPoints || len(ops[0].Points) < maxPoints/2 || ops[0].Latency == nil {
			t.Errorf("%d points, %v", len(ops[0].Points), err)
		}
	})
}
