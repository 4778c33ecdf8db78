package bench

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beffroi/cmd/matrixload/internal/measure"
)

var update = flag.Bool("update", false, "write the golden files")

func TestParseCommand(t *testing.T) {
	t.Parallel()
	c, err := ParseCommand("sqlite=serve --listen {client} --database a=b")
	if err != nil || c != (Command{"sqlite", "serve --listen {client} --database a=b"}) {
		t.Errorf("got %+v, %v", c, err)
	}
	for _, text := range []string{"", "sqlite", "=serve {client}", "sqlite=  ", "sqlite=serve"} {
		if c, err := ParseCommand(text); err == nil {
			t.Errorf("%q is %+v", text, c)
		}
	}
}

func TestFloorOfBenchmarks(t *testing.T) {
	t.Parallel()
	var f Floor
	err := f.ReadBenchmarks(strings.NewReader(`goos: linux
BenchmarkSend/sqlite/rooms=1-2    2167   993258 ns/op   1007 sends/s   2.384 statements/op
BenchmarkSend/sqlite/floor-2     39902    55500 ns/op  18018 rows/s
BenchmarkSend/sqlite/floor-2     39902    55500 ns/op  17000 rows/s
BenchmarkSend/postgres/floor     20629   128666 ns/op   7772.5 rows/s
BenchmarkSend/other/floor-2      20629   128666 ns/op
BenchmarkFloorEd25519Sign-2      20629   50000 ns/op    0 B/op
BenchmarkFloorEd25519Sign-2      20629   40000 ns/op    0 B/op
BenchmarkFloorNothing-2          20629   x ns/op
PASS
`))
	if err != nil || len(f.Rows) != 2 || f.Rows["sqlite"] != 18018 || f.Rows["postgres"] != 7772.5 ||
		len(f.Others) != 1 || f.Others["Ed25519Sign"] != 25_000 {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	latency := &measure.Latency{P50: 24.24, P99: 112.4}
	r := &Report{
		Floor: Floor{Batches: 612.3, Rows: map[string]float64{"sqlite": 18_018}, Others: map[string]float64{"Ed25519Sign": 21_345.6}},
		Servers: []*ServerReport{
			{Label: "sqlite", Start: 209 * time.Millisecond, IdleBytes: 31 << 20, Steps: []StepReport{
				{Name: "send, many rooms", Result: &measure.Result{
					Scenario:   "many-rooms",
					Operations: []measure.Operation{{Name: "send", Count: 44_000, PerSecond: 2200, Latency: latency, Failed: 2}},
					Failures:   []measure.Failure{{Operation: "send", Count: 2}, {Operation: "register", Phase: measure.PhaseSetUp, Count: 1}}, Shed: 3,
					Process: &measure.Process{CPUSeconds: 13.2, ResidentBytes: 192 << 20, Counters: map[string]float64{"statements_total": 88_000}},
				}},
				{Name: "send, half", Result: &measure.Result{
					Scenario: "many-rooms", Load: measure.Load{Rate: 1100},
					Operations: []measure.Operation{{Name: "send", Count: 22_000, PerSecond: 1100, Latency: latency}},
				}},
				{Name: "message", Result: &measure.Result{Scenario: "sync-latency", Operations: []measure.Operation{
					{Name: "a", Count: 1, Latency: latency}, {Name: "delivery", Count: 20, PerSecond: 2, Latency: latency}, {Name: "sync", Count: 9},
				}}},
			}},
			{Label: "another", Steps: []StepReport{{Name: "join", Err: errors.New("set up: a | b\nc")}}},
		},
	}
	var got bytes.Buffer
	if err := r.Markdown(&got, time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	// What the text says of the machine is not the same on the next one.
	text := got.String()
	from, to := strings.Index(text, " with go"), strings.Index(text, " cores that")
	got.Reset()
	got.WriteString(text[:from] + " with …" + text[to:])
	golden := filepath.Join("testdata", "benchmarks.md")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%v: differs from %s; read it, then run with -update:\n%s", err, golden, got.Bytes())
	}
	if r.Failed() == nil || len(r.Results()) != 3 {
		t.Errorf("failed: %v, %d results", r.Failed(), len(r.Results()))
	}
}

// serverVariable makes this test binary a server for tests of processes.
const serverVariable = "MATRIXLOAD_TEST_SERVER"

func TestMain(m *testing.M) {
	switch os.Getenv(serverVariable) {
	case "":
		os.Exit(m.Run())
	case "ends":
		os.Exit(3)
	}
	// The arguments are those of the command lines below.
	if err := os.WriteFile(filepath.Join(os.Args[1], "data"), nil, 0o600); err != nil {
		os.Exit(4)
	}
	_ = http.ListenAndServe(os.Args[2], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"versions":[]}`)
	}))
	os.Exit(5)
}

func TestProcess(t *testing.T) {
	t.Setenv(serverVariable, "serves")
	p, err := Command{"test", os.Args[0] + " {dir} {client}"}.start(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "data")); err != nil || p.took <= 0 || p.resident(t.Context()) != 0 {
		t.Errorf("it does not work in its folder: %v; took %v", err, p.took)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.dir); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
	if p.client.Ready(t.Context()) == nil {
		t.Error("the server is left")
	}
}

func TestProcessThatEndsIsAnError(t *testing.T) {
	t.Setenv(serverVariable, "ends")
	if _, err := (Command{"test", os.Args[0] + " {dir} {client}"}).start(t.Context(), io.Discard); err == nil ||
		!strings.Contains(err.Error(), "it ended: exit status 3") {
		t.Errorf("got %v", err)
	}
	if _, err := (Command{"test", "/nonexistent {client}"}).start(t.Context(), io.Discard); err == nil {
		t.Error("a program that does not exist starts")
	}
}
