package main

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const printed = `goos: linux
goarch: amd64
pkg: beffroi/matrix/event
cpu: some processor
BenchmarkParseUntrusted-2   	   20392	      5804 ns/op	 160.76 MB/s	    1440 B/op	       4 allocs/op
BenchmarkFloorEd25519Verify 	    1059	    109352 ns/op
PASS
ok  	beffroi/matrix/event	1.122s
pkg: beffroi/roomserver
BenchmarkSend/sqlite/rooms=64-16         	    1000	   500000 ns/op	      2000 sends/s	         2.5 statements/op
BenchmarkSend/sqlite/rooms=1-16 says something
Benchmark
`

func TestParse(t *testing.T) {
	t.Parallel()
	got := make(round)
	if err := parse([]byte(printed), got); err != nil {
		t.Fatal(err)
	}
	want := round{
		"matrix/event.ParseUntrusted":     {"ns/op": 5804, "MB/s": 160.76, "B/op": 1440, "allocs/op": 4},
		"matrix/event.FloorEd25519Verify": {"ns/op": 109352},
		"roomserver.Send/sqlite/rooms=64": {"ns/op": 500000, "sends/s": 2000, "statements/op": 2.5},
	}
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Fatalf("got %v", got)
	}
	for name, figures := range want {
		if !maps.Equal(got[name], figures) {
			t.Errorf("%s: got %v, want %v", name, got[name], figures)
		}
	}
	for _, line := range []string{"BenchmarkX 10 5 ns/op 7", "BenchmarkX 10 5 ns/op x B/op"} {
		if err := parse([]byte(line), make(round)); err == nil {
			t.Errorf("%q was read", line)
		}
	}
}

func TestPattern(t *testing.T) {
	t.Parallel()
	got := pattern([]string{"Send/sqlite/rooms=1", "Send/postgres/floor", "ParseUntrusted"})
	if got != "^Benchmark(ParseUntrusted|Send)$" {
		t.Errorf("got %s", got)
	}
	if re := regexp.MustCompile(got); re.MatchString("BenchmarkParseUntrustedSpaced") || !re.MatchString("BenchmarkSend") {
		t.Errorf("%s matches others", got)
	}
}

func TestMeasureAsksForEveryRow(t *testing.T) {
	t.Parallel()
	for n, long := range map[int]bool{0: true, 2: true, 3: false, 8: false} {
		asked := make(map[string]string)
		_, err := measure(t.Context(), n, 9, func(_ context.Context, pkg, benchmarks, _ string) ([]byte, error) {
			asked[pkg] = benchmarks
			return nil, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sections(2) {
			for _, r := range s.rows {
				pkg, bench := split(r.bench)
				name, _, _ := strings.Cut(bench, "/")
				found := asked[pkg] != "" && regexp.MustCompile(asked[pkg]).MatchString("Benchmark"+name)
				if found != (!s.long || long) {
					t.Errorf("round %d: %s is asked for: %v", n, r.bench, found)
				}
			}
		}
	}
}

func TestMeasureFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("does not compile")
	if _, err := measure(t.Context(), 0, 1, func(context.Context, string, string, string) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := measure(t.Context(), 0, 1, func(context.Context, string, string, string) ([]byte, error) {
		return []byte("BenchmarkX 10 ? ns/op\n"), nil
	}); err == nil {
		t.Error("nonsense was read")
	}
}
