package bench

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"beffroi/cmd/matrixload/internal/measure"
	"beffroi/cmd/matrixload/internal/report"
	"beffroi/cmd/matrixload/internal/scenario"
)

// Markdown writes the report as a section of a document.
func (r *Report) Markdown(w io.Writer, now time.Time) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Servers under load\n\nMeasured on %s with %s on %s/%s, %d cores that server, database and load share. Only figures of one\n"+
		"run compare: the ratio to what the machine does without a homeserver is what counts.\n\n",
		now.UTC().Format("2006-01-02"), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	r.floor(&b)
	for _, server := range r.Servers {
		r.server(&b, server)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) floor(b *strings.Builder) {
	fmt.Fprintf(b, "### The machine\n\n| what | a second |\n|---|--:|\n")
	for _, name := range slices.Sorted(maps.Keys(r.Floor.Rows)) {
		fmt.Fprintf(b, "| rows of %d bytes committed in batches of %d, %s | %s |\n", rowBytes, batchRows, name, report.Rate(r.Floor.Rows[name]))
	}
	fmt.Fprintf(b, "| writes of %d × %d bytes to a file, each synced | %s |\n", batchRows, rowBytes, report.Rate(r.Floor.Batches))
	for _, name := range slices.Sorted(maps.Keys(r.Floor.Others)) {
		fmt.Fprintf(b, "| %s, one core | %s |\n", name, report.Rate(r.Floor.Others[name]))
	}
}

func (r *Report) server(b *strings.Builder, server *ServerReport) {
	fmt.Fprintf(b, "\n### %s\n\nFrom nothing to the first answer: %s ms.", server.Label, report.Millis(measure.Milliseconds(server.Start)))
	if server.IdleBytes > 0 {
		fmt.Fprintf(b, " Memory before any load: %.0f MB.", server.IdleBytes/(1<<20))
	}
	counters := server.counters()
	fmt.Fprintf(b, "\n\n| what | a second | of the floor | p50 ms | p99 ms | errors | CPU ms each | MB after |")
	for _, name := range counters {
		fmt.Fprintf(b, " %s each |", name)
	}
	fmt.Fprintf(b, "\n|---|--:|--:|--:|--:|--:|--:|--:|%s\n", strings.Repeat("--:|", len(counters)))
	for _, s := range server.Steps {
		if s.Err != nil {
			fmt.Fprintf(b, "| %s | failed: %s |\n", s.Name, strings.ReplaceAll(strings.Join(strings.Fields(s.Err.Error()), " "), "|", "/"))
			continue
		}
		for i, op := range s.told() {
			r.row(b, server.Label, s, op, i == 0, counters)
		}
	}
}

// counters are the names of the metrics that any step reports.
func (s *ServerReport) counters() []string {
	names := make(map[string]bool)
	for _, step := range s.Steps {
		if step.Result != nil && step.Result.Process != nil {
			for name := range step.Result.Process.Counters {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// told returns the operations of a step that are worth a line: that which the
// scenario is about first, then the others that were timed.
func (s StepReport) told() (out []*measure.Operation) {
	leading := scenario.ByName(s.Result.Scenario).Main
	for i := range s.Result.Operations {
		if op := &s.Result.Operations[i]; op.Latency != nil || op.Failed > 0 {
			out = append(out, op)
		}
	}
	slices.SortStableFunc(out, func(a, b *measure.Operation) int {
		return cmp.Compare(btoi(b.Name == leading), btoi(a.Name == leading))
	})
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// row writes an operation. What the process used belongs to the whole step, and
// stands in its first row.
func (r *Report) row(b *strings.Builder, label string, s StepReport, op *measure.Operation, first bool, counters []string) {
	name := s.Name
	if !first {
		name = "– " + op.Name
	}
	share := ""
	if rows := r.Floor.Rows[label]; rows > 0 && first && s.Result.Load.Rate == 0 && op.Name == "send" {
		share = fmt.Sprintf("%.0f %%", 100*op.PerSecond/rows)
	}
	p50, p99 := "", ""
	if l := op.Latency; l != nil {
		p50, p99 = report.Millis(l.P50), report.Millis(l.P99)
	}
	failed := op.Failed
	if first {
		failed = s.Result.Failed() // of the whole step, in all its phases
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |", name, report.Rate(op.PerSecond), share, p50, p99, report.Group(failed))
	used := s.Result.Process
	if !first || used == nil {
		fmt.Fprintf(b, " | |%s\n", strings.Repeat(" |", len(counters)))
		return
	}
	each := func(v float64) string { return report.Rate(v / float64(max(1, s.Result.Done()))) }
	fmt.Fprintf(b, " %s | %.0f |", each(1000*used.CPUSeconds), used.ResidentBytes/(1<<20))
	for _, c := range counters {
		fmt.Fprintf(b, " %s |", each(used.Counters[c]))
	}
	b.WriteString("\n")
}
