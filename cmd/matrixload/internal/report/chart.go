package report

import (
	"fmt"
	"math"
	"strings"

	"beffroi/cmd/matrixload/internal/measure"
)

// The drawing area of a chart, in the units of its view box.
const (
	width, height           = 640, 220
	left, right, top, below = 56, 12, 12, 30
)

// chart is lines over a horizontal axis, ready to be drawn.
type chart struct {
	Title  string
	Unit   string
	Lines  []line
	XTicks []tick
	YTicks []tick
}

// line is one curve of a chart.
type line struct {
	Name   string
	Class  string // its colour
	Points string // of an SVG polyline
	Last   string // the highest value, for people who cannot see the curve
}

// tick is a number beside an axis.
type tick struct {
	At   float64
	Text string
}

// axis maps values to places.
type axis struct {
	low, high float64
	from, to  float64 // where low and high are
	log       bool
}

func (a axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		v, low, high = math.Log10(max(v, low)), math.Log10(low), math.Log10(high)
	}
	if high <= low {
		return a.from
	}
	return math.Round((a.from+(v-low)/(high-low)*(a.to-a.from))*10) / 10
}

// curve is the values of a line.
type curve struct {
	name   string
	values []float64
}

// draw draws curves over the same places xs.
func draw(title, unit string, xs []float64, x axis, xTicks []tick, curves []curve, logarithmic bool) *chart {
	high, low := 0.0, math.Inf(1)
	for _, c := range curves {
		for _, v := range c.values {
			high = max(high, v)
			if v > 0 {
				low = min(low, v)
			}
		}
	}
	if high == 0 {
		return nil // nothing to see
	}
	y := axis{low: 0, from: height - below, to: top, log: logarithmic}
	if logarithmic {
		y.low, y.high = math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high*1.0001)))
	} else {
		y.high = ceiling(high)
	}
	c := &chart{Title: title, Unit: unit, XTicks: xTicks, YTicks: y.ticks()}
	for i, curve := range curves {
		var points strings.Builder
		for j, v := range curve.values {
			fmt.Fprintf(&points, "%g,%g ", x.at(xs[j]), y.at(v))
		}
		c.Lines = append(c.Lines, line{
			Name: curve.name, Class: fmt.Sprintf("c%d", i%colours), Points: strings.TrimSpace(points.String()),
			Last: Millis(maxOf(curve.values)),
		})
	}
	return c
}

// colours is how many the style sheet has.
const colours = 6

func maxOf(values []float64) (high float64) {
	for _, v := range values {
		high = max(high, v)
	}
	return high
}

// ceiling returns the next number that is pleasant at the end of an axis.
func ceiling(v float64) float64 {
	scale := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 4, 5, 8} {
		if v <= m*scale {
			return m * scale
		}
	}
	return 10 * scale
}

func (a axis) ticks() (out []tick) {
	if a.log {
		for v := a.low; v <= a.high*1.001; v *= 10 {
			out = append(out, tick{a.at(v), short(v)})
		}
		return out
	}
	for i := range 5 {
		v := a.low + (a.high-a.low)*float64(i)/4
		out = append(out, tick{a.at(v), short(v)})
	}
	return out
}

func short(v float64) string {
	if v >= 1000 {
		return Group(int64(math.Round(v)))
	}
	return fmt.Sprintf("%.4g", v)
}

// charts draws what there is to see of a result.
func charts(r *measure.Result) (out []*chart) {
	out = append(out, throughput(r))
	for i := range r.Operations {
		out = append(out, latencies(&r.Operations[i]))
	}
	out = append(out, distribution(r))
	kept := out[:0]
	for _, c := range out {
		if c != nil {
			kept = append(kept, c)
		}
	}
	return kept
}

// over returns the horizontal axis of time.
func over(points []measure.Point) (xs []float64, x axis, ticks []tick) {
	for _, p := range points {
		xs = append(xs, p.At)
	}
	x = axis{from: left, to: width - right, high: 1}
	if n := len(xs); n > 1 {
		x.high = xs[n-1]
	}
	for i := range 6 {
		v := x.high * float64(i) / 5
		ticks = append(ticks, tick{x.at(v), short(math.Round(v*10)/10) + " s"})
	}
	return xs, x, ticks
}

func throughput(r *measure.Result) *chart {
	var longest []measure.Point
	for _, o := range r.Operations {
		if len(o.Points) > len(longest) {
			longest = o.Points
		}
	}
	if len(longest) < 2 {
		return nil
	}
	xs, x, ticks := over(longest)
	var curves []curve
	var failed []float64
	for _, o := range r.Operations {
		c := curve{name: o.Name}
		for i, p := range o.Points {
			c.values = append(c.values, p.PerSecond)
			if i >= len(failed) {
				failed = append(failed, 0)
			}
			failed[i] += p.FailedPerSecond
		}
		curves = append(curves, c)
	}
	if maxOf(failed) > 0 {
		curves = append(curves, curve{"failed", failed})
	}
	return draw("Throughput", "a second", xs, x, ticks, curves, false)
}

func latencies(o *measure.Operation) *chart {
	if o.Latency == nil || len(o.Points) < 2 {
		return nil
	}
	xs, x, ticks := over(o.Points)
	p50, p99, high := curve{name: "p50"}, curve{name: "p99"}, curve{name: "max"}
	for _, p := range o.Points {
		p50.values, p99.values, high.values = append(p50.values, p.P50), append(p99.values, p.P99), append(high.values, p.Max)
	}
	return draw("Latency of "+o.Name, "ms", xs, x, ticks, []curve{p50, p99, high}, true)
}

// distribution draws percentiles over a scale on which each nine is as wide as
// the last.
func distribution(r *measure.Result) *chart {
	const nines = 4 // to 99.99 %
	x := axis{low: 1, high: math.Pow(10, nines), from: left, to: width - right, log: true}
	var ticks []tick
	for _, p := range []float64{0, 50, 90, 99, 99.9, 99.99} {
		ticks = append(ticks, tick{x.at(100 / (100 - p)), fmt.Sprintf("%g %%", p)})
	}
	var xs []float64
	for p := 1.0; p <= x.high; p *= 1.25 {
		xs = append(xs, p)
	}
	var curves []curve
	for _, o := range r.Operations {
		if o.Latency == nil {
			continue
		}
		c := curve{name: o.Name}
		for _, at := range xs {
			c.values = append(c.values, share(o.Curve, 100-100/at))
		}
		curves = append(curves, c)
	}
	return draw("Distribution of latencies", "ms", xs, x, ticks, curves, true)
}

// share returns what a percentage of all do not exceed.
func share(curve []measure.Share, percent float64) float64 {
	for _, s := range curve {
		if s.Percent >= percent {
			return s.Millis
		}
	}
	return 0
}
