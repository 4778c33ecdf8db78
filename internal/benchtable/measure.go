package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// round is what one round measured: a benchmark ("matrix/event.Build"), its
// units ("ns/op") and the values.
type round map[string]map[string]float64

// goTest runs the benchmarks of a package and returns what go test prints.
func goTest(ctx context.Context, pkg, benchmarks, duration string) ([]byte, error) {
	fmt.Fprintf(os.Stderr, "%s %s\n", pkg, benchmarks)
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", benchmarks, "-benchmem", "-benchtime", duration, "-timeout", "20m", "./"+pkg)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("benchmarks of %s: %w\n%s", pkg, err, out.Bytes())
	}
	return out.Bytes(), nil
}

// measure makes one round of several. What takes long (the engines) is not in
// all of them. Each round goes through all packages, so that a busy minute of
// the machine does not hit one benchmark alone.
func measure(ctx context.Context, n, of int, test func(ctx context.Context, pkg, benchmarks, duration string) ([]byte, error)) (round, error) {
	wanted := make(map[string][]string)
	long := make(map[string]bool)
	for _, s := range sections(1) {
		for _, r := range s.rows {
			for _, name := range append([]string{r.bench}, slices.Collect(maps.Values(r.beside))...) {
				pkg, bench := split(name)
				wanted[pkg] = append(wanted[pkg], bench)
				long[pkg] = long[pkg] || s.long
			}
		}
	}
	out := make(round)
	for _, pkg := range slices.Sorted(maps.Keys(wanted)) {
		duration := "200ms"
		if long[pkg] {
			if n >= (of+1)/2 {
				continue
			}
			duration = "1s"
		}
		text, err := test(ctx, pkg, pattern(wanted[pkg]), duration)
		if err != nil {
			return nil, err
		}
		if err := parse(text, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// split cuts "matrix/event.Build/x" into the package and the benchmark.
func split(name string) (pkg, bench string) {
	pkg, bench, _ = strings.Cut(name, ".")
	return pkg, bench
}

// pattern is the -bench argument for benchmarks, of which it takes the first
// part: their variants are run together.
func pattern(benchmarks []string) string {
	var names []string
	for _, b := range benchmarks {
		name, _, _ := strings.Cut(b, "/")
		names = append(names, regexp.QuoteMeta(name))
	}
	slices.Sort(names)
	return "^Benchmark(" + strings.Join(slices.Compact(names), "|") + ")$"
}
