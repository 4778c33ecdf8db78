package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"beffroi/cmd/matrixload/internal/measure"
	"beffroi/cmd/matrixload/internal/report"
	"beffroi/cmd/matrixload/internal/scenario"
)

// seldom is how many seconds pass between two lines where they do not replace
// each other.
const seldom = 5

// progressLine returns what shows how a run goes: one line that is written
// over on a terminal, and a line now and then elsewhere.
func progressLine(w io.Writer, name string) func(scenario.Progress) {
	terminal := isTerminal(w)
	calls := 0
	return func(p scenario.Progress) {
		calls++
		text := name + "  " + describe(p)
		switch {
		case terminal:
			fmt.Fprintf(w, "\r\x1b[K%s\r", text) // the report writes over it
		case calls%seldom == 0:
			fmt.Fprintln(w, text)
		}
	}
}

func describe(p scenario.Progress) string {
	if p.Phase == measure.PhaseSetUp {
		return fmt.Sprintf("set-up %s  %s requests", p.Elapsed.Round(time.Second), report.Group(p.Steps))
	}
	text := fmt.Sprintf("%s %s of %s", p.Phase, p.Elapsed.Round(time.Second), p.Of.Round(time.Second))
	if p.Phase == measure.PhaseMeasured {
		text += fmt.Sprintf("  %s a second", report.Rate(p.Glance.PerSecond))
		if l := p.Glance.Latency; l != nil {
			text += fmt.Sprintf("  p50 %s  p99 %s ms", report.Millis(l.P50), report.Millis(l.P99))
		}
		text += fmt.Sprintf("  errors %s", report.Group(p.Glance.Failed))
	}
	return text + fmt.Sprintf("  in flight %s", report.Group(p.InFlight))
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
