package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func rounds(of ...round) []round { return of }

func TestVerdict(t *testing.T) {
	t.Parallel()
	const b = "p.B"
	r := func(ns, allocs float64) round { return round{b: {nanoseconds: ns, allocations: allocs}} }
	fast := row{bench: b, budget: []limit{most(1000, nanoseconds), most(6, allocations)}}
	for name, c := range map[string]struct {
		row    row
		rounds []round
		want   string
	}{
		"holds":              {fast, rounds(r(900, 6), r(5000, 6), r(1000, 6)), "holds"},
		"at best":            {fast, rounds(r(1900, 6), r(900, 6), r(1001, 6)), "at best"},
		"misses":             {fast, rounds(r(1900, 6), r(1200, 6), r(1001, 6)), "**misses ≤ 1 µs**"},
		"misses both":        {fast, rounds(r(1900, 7)), "**misses ≤ 1 µs, ≤ 6 allocations**"},
		"one not measured":   {fast, rounds(round{b: {nanoseconds: 1}}), "**misses allocations not measured**"},
		"no budget":          {row{bench: b}, rounds(r(1, 1)), ""},
		"more is better":     {row{bench: b, budget: []limit{least(100, sends)}}, rounds(round{b: {sends: 101}}), "holds"},
		"too few":            {row{bench: b, budget: []limit{least(100, sends)}}, rounds(round{b: {sends: 99}}, round{b: {sends: 98}}), "**misses ≥ 100 sends/s**"},
		"enough once":        {row{bench: b, budget: []limit{least(100, sends)}}, rounds(round{b: {sends: 10}}, round{b: {sends: 12}}, round{b: {sends: 101}}), "at best"},
		"a busy machine":     {fast, rounds(round{b: {nanoseconds: 9000, idle: 900, allocations: 6}}), "holds"},
		"slow when idle":     {fast, rounds(round{b: {nanoseconds: 900, idle: 1100, allocations: 6}}), "**misses ≤ 1 µs**"},
		"one at the start":   {row{bench: b, budget: []limit{most(0, statements)}}, rounds(round{b: {statements: 1e-6}}), "holds"},
		"nothing is allowed": {row{bench: b, budget: []limit{most(0, statements)}}, rounds(round{b: {statements: 0}}), "holds"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := verdict(c.row, c.rounds); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestRatiosAreOfOneRound(t *testing.T) {
	t.Parallel()
	r := row{bench: "p.B", beside: map[string]string{verification: "p.V", floorShare: "p.F"}}
	busy := round{"p.B": {nanoseconds: 300, sends: 10}, "p.V": {nanoseconds: 600}, "p.F": {"rows/s": 40}}
	idle := round{"p.B": {nanoseconds: 100, sends: 50}, "p.V": {nanoseconds: 200}, "p.F": {"rows/s": 100}}
	lost := round{"p.B": {nanoseconds: 100, sends: 50}}
	if got := figuresOf(r, verification, rounds(busy, idle, lost)); len(got) != 2 || got[0] != 0.5 || got[1] != 0.5 {
		t.Errorf("of a verification: %v", got)
	}
	if got := median(figuresOf(r, floorShare, rounds(busy, idle))); got != 0.375 {
		t.Errorf("of the floor: %v", got)
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	const v = "matrix/event.FloorEd25519Verify"
	tables := []section{{
		title: "Core", intro: "Of an event.", units: []string{idle, allocations, verification}, main: nanoseconds,
		rows: []row{
			{"parse", "matrix/event.Parse", []limit{most(10*microsecond, nanoseconds), most(6, allocations)}, map[string]string{verification: v}},
			{"gone", "matrix/event.Gone", []limit{most(1, nanoseconds)}, nil},
		},
	}, {
		title: "Sends", intro: "Durable.", units: []string{floorShare, statements}, main: sends,
		rows: []row{{"SQLite", "roomserver.Send", []limit{least(1500, sends), least(0.25, floorShare), most(3, statements)}, map[string]string{floorShare: "roomserver.Floor"}}},
	}}
	in := rounds(
		round{"matrix/event.Parse": {nanoseconds: 5804, allocations: 4}, v: {nanoseconds: 50000}, "roomserver.Send": {sends: 2000, statements: 0.5}, "roomserver.Floor": {"rows/s": 10000}},
		round{"matrix/event.Parse": {nanoseconds: 4000, allocations: 4}, v: {nanoseconds: 50000}, "roomserver.Send": {sends: 4000, statements: 0.5}, "roomserver.Floor": {"rows/s": 10000}},
	)
	got := page(machine{2, "linux/amd64", "go1.26", 40000}, tables, in)
	for _, want := range []string{
		"Medians of 2 rounds on linux/amd64 with 2 cores, go1.26;", "On an idle core it takes 40 µs, in these rounds it took 50 µs (50 µs)",
		"| what | budget | time | idle | allocations | Ed25519 verifications | verdict |\n|---|--:|--:|--:|--:|--:|---|\n",
		"| parse | ≤ 10 µs, ≤ 6 allocations | 4.90 µs (4 µs) | 3.92 µs | 4 | 0.098 | holds |\n",
		"| gone | ≤ 1 ns | – | – | – | – | not measured |\n",
		"| SQLite | ≥ 1,500 sends/s, ≥ 25 % of the floor, ≤ 3 statements | 3,000 (4,000) | 30 % | 0.50 | holds |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q:\n%s", want, got)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for ns, want := range map[float64]string{0.5: "0.50 ns", 999: "999 ns", 1500: "1.50 µs", 42e3: "42 µs", 12345e3: "12.3 ms", 999e6: "999 ms", 2.5e9: "2.50 s"} {
		if got := duration(ns); got != want {
			t.Errorf("%v: got %s, want %s", ns, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 12: "12", 999: "999", 1234: "1,234", 1234567: "1,234,567"} {
		if got := grouped(v); got != want {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
}

// TestRowsExist checks that the packages have the benchmarks of the rows.
func TestRowsExist(t *testing.T) {
	t.Parallel()
	have := make(map[string]bool)
	for _, s := range sections(2) {
		for _, r := range s.rows {
			names := []string{r.bench}
			for _, other := range r.beside {
				names = append(names, other)
			}
			for _, name := range names {
				pkg, bench := split(name)
				bench, _, _ = strings.Cut(bench, "/")
				if !have[pkg] {
					have[pkg] = true
					benchmarksOf(t, pkg, have)
				}
				if !have[pkg+"."+bench] {
					t.Errorf("there is no Benchmark%s in %s", bench, pkg)
				}
			}
		}
	}
}

func benchmarksOf(t *testing.T, pkg string, into map[string]bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pkg), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range tree.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				if bench, found := strings.CutPrefix(fn.Name.Name, "Benchmark"); found {
					into[pkg+"."+bench] = true
				}
			}
		}
	}
}
