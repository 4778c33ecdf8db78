package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// machine is where it was measured.
type machine struct {
	cores           int
	system, version string
	verification    float64 // nanoseconds, on an idle core
}

// idle adds to the rounds how long a row takes when nothing else runs: as many
// verifications as it took, each as long as one takes on an idle core.
func (m machine) idle(tables []section, rounds []round) {
	for _, in := range rounds {
		for _, s := range tables {
			for _, r := range s.rows {
				if v, ok := figure(r, verification, in); ok {
					in[r.bench][idle] = v * m.verification
				}
			}
		}
	}
}

// page returns the part of the document that is made here.
func page(m machine, tables []section, rounds []round) string {
	m.idle(tables, rounds)
	var out strings.Builder
	fmt.Fprintf(&out, "Medians of %s on %s with %s, %s; the best round is in brackets. ", count(len(rounds), "round"), m.system, count(m.cores, "core"), m.version)
	out.WriteString("Other programs share these cores, so times differ from run to run. The ratios are made of two figures of one round and differ less: they are what counts.\n\n")
	fmt.Fprintf(&out, "The yardstick is a verification by `crypto/ed25519`. On an idle core it takes %s", show(m.verification, nanoseconds))
	if floor := figuresOf(row{bench: "matrix/event.FloorEd25519Verify"}, nanoseconds, rounds); len(floor) > 0 {
		fmt.Fprintf(&out, ", in these rounds it took %s (%s)", show(median(floor), nanoseconds), show(slices.Min(floor), nanoseconds))
	}
	out.WriteString(". *Idle* is the ratio to it times what it takes on an idle core; where there is one, a budget of time is compared with that. ")
	out.WriteString("A budget *holds* when the medians keep it, and *at best* when only the best rounds do.\n")
	for _, s := range tables {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n\n| what | budget | %s |", s.title, s.intro, head(s.main))
		for _, unit := range s.units {
			fmt.Fprintf(&out, " %s |", head(unit))
		}
		fmt.Fprintf(&out, " verdict |\n|---|--:|--:|%s---|\n", strings.Repeat("--:|", len(s.units)))
		for _, r := range s.rows {
			out.WriteString(line(s, r, rounds))
		}
	}
	return out.String()
}

// line is a row of a table.
func line(s section, r row, rounds []round) string {
	var out strings.Builder
	fmt.Fprintf(&out, "| %s | %s |", r.what, budget(r.budget))
	values := figuresOf(r, s.main, rounds)
	if len(values) == 0 {
		return out.String() + strings.Repeat(" – |", len(s.units)+1) + " not measured |\n"
	}
	best := slices.Min(values)
	if s.main == sends {
		best = slices.Max(values)
	}
	fmt.Fprintf(&out, " %s (%s) |", show(median(values), s.main), show(best, s.main))
	for _, unit := range s.units {
		text := "–"
		if values := figuresOf(r, unit, rounds); len(values) > 0 {
			text = show(median(values), unit)
		}
		fmt.Fprintf(&out, " %s |", text)
	}
	return out.String() + " " + verdict(r, rounds) + " |\n"
}

// figuresOf returns the figures of a row in a unit, one a round.
func figuresOf(r row, unit string, rounds []round) (out []float64) {
	for _, round := range rounds {
		if v, ok := figure(r, unit, round); ok {
			out = append(out, v)
		}
	}
	return out
}

// figure returns what a round measured, or makes the ratio.
func figure(r row, unit string, in round) (float64, bool) {
	other, isRatio := r.beside[unit]
	if !isRatio {
		v, ok := in[r.bench][unit]
		return v, ok
	}
	mine, against := nanoseconds, nanoseconds
	if unit == floorShare || unit == manyShare {
		mine, against = sends, sends
	}
	if unit == floorShare {
		against = "rows/s"
	}
	a, okA := in[r.bench][mine]
	b, okB := in[other][against]
	if !okA || !okB || b == 0 {
		return 0, false
	}
	return a / b, true
}

// verdict compares a row with its budget.
func verdict(r row, rounds []round) string {
	if len(r.budget) == 0 {
		return ""
	}
	atBest := false
	var missed []string
	for _, l := range r.budget {
		values := figuresOf(r, l.unit, rounds)
		if calm := figuresOf(r, idle, rounds); l.unit == nanoseconds && len(calm) > 0 {
			values = calm
		}
		if len(values) == 0 {
			missed = append(missed, head(l.unit)+" not measured")
			continue
		}
		best := slices.Min(values)
		if l.least {
			best = slices.Max(values)
		}
		switch {
		case l.keeps(median(values)):
		case l.keeps(best):
			atBest = true
		default:
			missed = append(missed, bound(l))
		}
	}
	switch {
	case len(missed) > 0:
		return "**misses " + strings.Join(missed, ", ") + "**"
	case atBest:
		return "at best"
	}
	return "holds"
}

func (l limit) keeps(v float64) bool {
	if l.unit == statements { // a few at the start belong to no operation
		v = math.Round(100*v) / 100
	}
	return l.least && v >= l.value || !l.least && v <= l.value
}

// budget writes limits.
func budget(limits []limit) string {
	if len(limits) == 0 {
		return "–"
	}
	var parts []string
	for _, l := range limits {
		parts = append(parts, bound(l))
	}
	return strings.Join(parts, ", ")
}

func bound(l limit) string {
	sign := "≤ "
	if l.least {
		sign = "≥ "
	}
	text := sign + show(l.value, l.unit)
	switch l.unit {
	case nanoseconds:
		return text
	case sends:
		return text + " sends/s"
	}
	return text + " " + head(l.unit)
}

// head names a unit at the head of a column.
func head(unit string) string {
	switch unit {
	case nanoseconds:
		return "time"
	case allocations:
		return "allocations"
	case statements:
		return "statements"
	case standardJSON:
		return "`encoding/json`"
	}
	return unit
}

// show writes a figure with three digits, or so.
func show(v float64, unit string) string {
	switch unit {
	case nanoseconds, idle:
		return duration(v)
	case statements:
		return digits(math.Round(100*v) / 100)
	case allocations, sends:
		return grouped(v)
	case floorShare, manyShare:
		return fmt.Sprintf("%.0f %%", 100*v)
	}
	return digits(v)
}

func duration(ns float64) string {
	switch {
	case ns < float64(time.Microsecond):
		return digits(ns) + " ns"
	case ns < float64(time.Millisecond):
		return digits(ns/1e3) + " µs"
	case ns < float64(time.Second):
		return digits(ns/1e6) + " ms"
	}
	return digits(ns/1e9) + " s"
}

// digits writes three significant digits, and no zeros behind a point.
func digits(v float64) string {
	switch {
	case v >= 1000:
		return grouped(v)
	case v >= 100 || v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// grouped writes an integer with commas between the thousands.
func grouped(v float64) string {
	text := fmt.Sprintf("%.0f", v)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// median returns the middle value, of an even number the mean of the two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
