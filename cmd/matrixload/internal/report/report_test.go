package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"beffroi/cmd/matrixload/internal/measure"
)

var update = flag.Bool("update", false, "write the golden files")

// sample is a run in which much went wrong.
func sample() *measure.Result {
	send := measure.Operation{
		Name: "send", Count: 29_876, Failed: 124, PerSecond: 995.8667, MeanBytes: 64,
		Latency: &measure.Latency{P50: 3.204, P90: 7.9, P95: 11.25, P99: 24.5, P999: 180.2, Max: 1204.7, Mean: 4.4},
		Curve: []measure.Share{{Percent: 0, Millis: 0.9}, {Percent: 33.3, Millis: 2.8}, {Percent: 70, Millis: 4.4}, {Percent: 95, Millis: 11.25},
			{Percent: 99.5, Millis: 60}, {Percent: 100, Millis: 1204.7}},
		Histogram: "SElTVEZBQU==",
	}
	for i := range 30 {
		p := measure.Point{At: float64(i), PerSecond: 1000 - float64(i%7), P50: 3 + float64(i%3)/10, P99: 20 + float64(i%5), Max: 40 + float64(i)}
		if i == 20 {
			p = measure.Point{At: 20, PerSecond: 876, FailedPerSecond: 124, P50: 9, P99: 900, Max: 1204.7}
		}
		send.Points = append(send.Points, p)
	}
	return &measure.Result{
		Scenario: "one-room", Label: "a <b>server</b>", Servers: []string{"http://127.0.0.1:8008"},
		Started: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Load: measure.Load{Rate: 1000, MaxInFlight: 1000, WarmUpSeconds: 5, Seconds: 30, Users: 16, Rooms: 1, Members: 16,
			Listeners: 1, MessageBytes: 120},
		SetUpSeconds: 1.25, MeasuredSeconds: 30.01, Actions: 35_000, Shed: 17,
		Operations: []measure.Operation{send, {Name: "sync", Count: 12_345, PerSecond: 411.5, MeanBytes: 2048}},
		SetUp:      []measure.Operation{{Name: "register", Count: 16, PerSecond: 120, Latency: &measure.Latency{P50: 12, P90: 15, P99: 15, P999: 15, Max: 15, Mean: 12}}},
		Failures: []measure.Failure{
			{Phase: measure.PhaseMeasured, Operation: "send", Kind: "429 M_LIMIT_EXCEEDED", Count: 120, Example: "429 M_LIMIT_EXCEEDED: slower"},
			{Phase: measure.PhaseMeasured, Operation: "send", Kind: "502 without JSON", Count: 4, Example: "502: <script>alert(1)</script>\n\x1b[2J"},
			{Phase: measure.PhaseWarmUp, Operation: "sync", Kind: "timeout", Count: 1, Example: "timeout"},
		},
		Process: &measure.Process{CPUSeconds: 9.5, ResidentBytes: 104857600, Counters: map[string]float64{"statements_total": 60_000}},
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(io.Writer) error{
		"report.txt":  func(w io.Writer) error { return Text(w, sample()) },
		"report.json": func(w io.Writer) error { return JSON(w, []*measure.Result{sample()}) },
		"report.html": func(w io.Writer) error { return HTML(w, []*measure.Result{sample()}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got bytes.Buffer
			if err := write(&got); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("differs from %s; read it, then run with -update:\n%s", golden, got.Bytes())
			}
		})
	}
}

// The page needs nothing from anywhere, and what servers say stays text.
func TestPageIsSelfContained(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := HTML(&b, []*measure.Result{sample(), {Scenario: "empty"}}); err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`(?i)<script|<link|<img|\bsrc=|\bhref=|url\(|@import|<b>server`).FindString(b.String()); found != "" {
		t.Errorf("the page has %s", found)
	}
	if n := strings.Count(b.String(), "<svg"); n != 3 {
		t.Errorf("the page has %d charts", n)
	}
	for svg := range strings.SplitSeq(b.String(), "<svg") {
		if end := strings.Index(svg, "</svg>"); end > 0 {
			d := xml.NewDecoder(strings.NewReader("<svg" + svg[:end+6]))
			for {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
		t.Error("a place in a chart is no number")
	}
}

func TestTextShowsErrorsFirstOfAll(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(*measure.Result)
		want  string
	}{
		"none":        {func(r *measure.Result) { r.Failures, r.Shed = nil, 0 }, "no errors"},
		"only shed":   {func(r *measure.Result) { r.Failures = nil }, "17 ERRORS"},
		"warm-up":     {func(r *measure.Result) { r.Failures, r.Shed = r.Failures[2:], 0 }, "1 ERRORS"},
		"interrupted": {func(r *measure.Result) { r.Interrupted = true }, "INTERRUPTED"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := sample()
			tc.spoil(r)
			var b strings.Builder
			if err := Text(&b, r); err != nil || !strings.Contains(b.String(), tc.want) {
				t.Errorf("%v: %s", err, b.String())
			}
			if strings.ContainsAny(b.String(), "\x1b") {
				t.Error("a server steers the terminal")
			}
		})
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"0": Group(0), "999": Group(999), "1,000": Group(1000), "12,345,678": Group(12345678), "-1,234": Group(-1234), "-123": Group(-123),
		"0.2": Rate(0.2), "5": Rate(5), "99.6": Rate(99.63), "412": Rate(411.5), "1,001": Rate(1000.6), "100": Rate(99.97), "99.5": Rate(99.46), "1,235": Rate(1234.5),
		"0.04": Millis(0.041), "3.20": Millis(3.204), "12.3": Millis(12.34), "123": Millis(123.4), "1,205": Millis(1204.7),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
