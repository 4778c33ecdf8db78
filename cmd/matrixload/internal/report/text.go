// Package report tells people and programs what a load measured: as text, as
// JSON and as one page with charts.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"beffroi/cmd/matrixload/internal/measure"
)

// JSON writes results as a list, for programs.
func JSON(w io.Writer, results []*measure.Result) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(results)
}

// Text writes one result for a terminal.
func Text(w io.Writer, r *measure.Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%s\n%s\n\n", Title(r), strings.Join(r.Servers, " and "), Asked(r), Happened(r))
	rows := [][]string{{"operation", "done", "a second", "failed", "p50 ms", "p90", "p99", "p99.9", "max"}}
	for i := range r.Operations {
		rows = append(rows, cells(&r.Operations[i]))
	}
	rows = append(rows, []string{"set-up"})
	for i := range r.SetUp {
		rows = append(rows, cells(&r.SetUp[i]))
	}
	table(&b, rows, 0)
	if r.Process != nil {
		fmt.Fprintf(&b, "\n%s\n", Used(r))
	}
	if r.Failed() == 0 {
		b.WriteString("\nno errors\n\n")
	} else {
		fmt.Fprintf(&b, "\n%s ERRORS\n", Group(r.Failed()))
		rows = nil
		if r.Shed > 0 {
			rows = append(rows, []string{measure.PhaseMeasured, Group(r.Shed), "never started", "too many were in flight"})
		}
		for _, f := range r.Failures {
			rows = append(rows, []string{f.Phase, Group(f.Count), f.Operation, oneLine(f.Example)})
		}
		table(&b, rows, 0, 2, 3)
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// table aligns cells: these columns to the left, the others to the right.
func table(b *strings.Builder, rows [][]string, words ...int) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var text strings.Builder
		for i, cell := range row {
			width := widths[i]
			if slices.Contains(words, i) {
				width = -width
			}
			fmt.Fprintf(&text, "%*s  ", width, cell)
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
}

func cells(o *measure.Operation) []string {
	out := []string{o.Name, Group(o.Count), Rate(o.PerSecond), Group(o.Failed)}
	if l := o.Latency; l != nil {
		for _, ms := range []float64{l.P50, l.P90, l.P99, l.P999, l.Max} {
			out = append(out, Millis(ms))
		}
	}
	return out
}

// Title names a result.
func Title(r *measure.Result) string {
	if r.Label == "" {
		return r.Scenario
	}
	return r.Scenario + " on " + r.Label
}

// Asked tells the load.
func Asked(r *measure.Result) string {
	l := r.Load
	rate := fmt.Sprintf("open loop, %s actions a second", Rate(l.Rate))
	if l.Rate == 0 {
		rate = fmt.Sprintf("closed loop of %d, as many actions as there can be", l.Workers)
	}
	return fmt.Sprintf("%s, for %s s after %s s of warm-up; users %s, rooms %s, members of a room %s, listeners %s, bytes of a message %s",
		rate, Rate(l.Seconds), Rate(l.WarmUpSeconds), Group(int64(l.Users)), Group(int64(l.Rooms)), Group(int64(l.Members)),
		Group(int64(l.Listeners)), Group(int64(l.MessageBytes)))
}

// Happened tells how long it took.
func Happened(r *measure.Result) string {
	text := fmt.Sprintf("%s, set up in %.1f s, measured for %.1f s", r.Started.Format("2006-01-02 15:04:05 UTC"),
		r.SetUpSeconds, r.MeasuredSeconds)
	if r.Interrupted {
		text += ", INTERRUPTED: these are the figures until then"
	}
	return text
}

// Used tells what the process of the server used.
func Used(r *measure.Result) string {
	p := r.Process
	per := func(v float64) float64 { return v / float64(max(1, r.Done())) }
	text := fmt.Sprintf("server: %.2f ms of CPU an action, %.0f %% of a core, %.0f MB resident at the end",
		per(p.CPUSeconds*1000), 100*p.CPUSeconds/max(r.MeasuredSeconds, 0.001), p.ResidentBytes/(1<<20))
	for _, name := range slices.Sorted(maps.Keys(p.Counters)) {
		text += fmt.Sprintf("\nserver: %s grew by %s, %.2f an action", name, Rate(p.Counters[name]), per(p.Counters[name]))
	}
	for _, name := range p.Missing {
		text += fmt.Sprintf("\nserver: there is no metric %s", oneLine(name))
	}
	return text
}

// Group writes an integer with commas between thousands.
func Group(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Rate writes a number with as many digits as mean something.
func Rate(v float64) string {
	if v >= 99.95 {
		return Group(int64(v + 0.5))
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// Millis writes milliseconds.
func Millis(ms float64) string {
	switch {
	case ms >= 1000:
		return Group(int64(ms + 0.5))
	case ms >= 100:
		return strconv.FormatFloat(ms, 'f', 0, 64)
	case ms >= 10:
		return strconv.FormatFloat(ms, 'f', 1, 64)
	}
	return strconv.FormatFloat(ms, 'f', 2, 64)
}

// oneLine keeps what a server says from breaking a table or steering a
// terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}
