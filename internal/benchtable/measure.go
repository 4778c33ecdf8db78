package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// round is what one round measured: a benchmark ("matrix/event.Build"), its
// units ("ns/op") and the values.
type round map[string]map[string]float64

// binaries are the test binaries of the packages, built once.
type binaries struct {
	dir   string
	built map[string]string // by package
}

func newBinaries() (*binaries, error) {
	dir, err := os.MkdirTemp("", "benchtable-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	return &binaries{dir, make(map[string]string)}, nil
}

func (b *binaries) remove() { _ = os.RemoveAll(b.dir) } // it held nothing of worth

// run runs benchmarks of a package, in its folder, and returns what they print.
func (b *binaries) run(ctx context.Context, pkg, benchmarks, duration string) ([]byte, error) {
	if b.built[pkg] == "" {
		path := filepath.Join(b.dir, strings.ReplaceAll(pkg, "/", "-")+".test")
		build := exec.CommandContext(ctx, "go", "test", "-c", "-o", path, "./"+pkg)
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return nil, fmt.Errorf("build the tests of %s: %w", pkg, err)
		}
		b.built[pkg] = path
	}
	cmd := exec.CommandContext(ctx, b.built[pkg], "-test.run", "^$", "-test.bench", benchmarks, "-test.benchmem", "-test.benchtime", duration, "-test.timeout", "20m")
	cmd.Dir = filepath.FromSlash(pkg)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("benchmarks of %s: %w\n%s", pkg, err, out.Bytes())
	}
	return out.Bytes(), nil
}

// measure makes one round of several. What takes long (the engines) is in a
// third of them. Each round goes through all packages, so that a busy minute of
// the machine does not hit one benchmark alone.
func measure(ctx context.Context, n, of int, test func(ctx context.Context, pkg, benchmarks, duration string) ([]byte, error)) (round, error) {
	wanted := make(map[string][]string)
	long := make(map[string]bool)
	for _, s := range sections(1) {
		for _, r := range s.rows {
			for _, name := range append([]string{r.bench}, slices.Collect(maps.Values(r.beside))...) {
				pkg, bench := split(name)
				wanted[pkg] = append(wanted[pkg], bench)
				long[pkg] = long[pkg] || s.long && name == r.bench
			}
		}
	}
	out := make(round)
	for _, pkg := range slices.Sorted(maps.Keys(wanted)) {
		duration := "100ms"
		if long[pkg] {
			if n >= (of+2)/3 {
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
