// Command benchtable runs the benchmarks that have a budget and writes what it
// measured into docs/benchmarks.md, beside the budgets and the floors of the
// machine.
//
// It runs at the root of the module. Only the part of the document between its
// two marks is its own. Figures differ from run to run, so nothing compares
// them; a row that misses its budget says so.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"

	"beffroi/internal/splice"
)

func main() {
	rounds := flag.Int("rounds", 9, "how often everything is measured; the medians count")
	out := flag.String("out", "docs/benchmarks.md", "the document")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *rounds, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds int, out string) error {
	if rounds < 1 {
		return fmt.Errorf("%d rounds measure nothing", rounds)
	}
	b, err := newBinaries()
	if err != nil {
		return err
	}
	defer b.remove()
	var all []round
	for i := range rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", i+1, rounds)
		r, err := measure(ctx, i, rounds, b.run)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	here := machine{cores: runtime.NumCPU(), system: runtime.GOOS + "/" + runtime.GOARCH, version: runtime.Version(), verification: calibrate()}
	return splice.By("make bench").IntoFile(out, "Benchmarks", page(here, sections(here.cores), all))
}
