package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"beffroi/cmd/matrixload/internal/bench"
	"beffroi/cmd/matrixload/internal/scenario"
	"beffroi/internal/splice"
)

func benchCommand() *cobra.Command {
	var out output
	var commands []string
	var floorFile, document, logFile string
	var o bench.Options
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Start servers from nothing, play scenarios against each and compare them",
		Long: "Starts each server in an empty folder, plays the same scenarios against it, stops it, and writes a\n" +
			"table beside what the machine does without a homeserver: synced writes, and what is found in the output\n" +
			"of go test -bench. Benchmarks …/LABEL/floor that report rows/s are the floor of the server of that label,\n" +
			"and those called BenchmarkFloorX are told as X.",
		Example: "  matrixload bench --write benchmarks.md --floor floor.txt \\\n" +
			"    --server 'sqlite=beffroi serve --development --data {dir} --client-listen {client}\n" +
			"              --metrics-listen {metrics} --federation-listen {other}'",
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	out.flags(f)
	f.StringArrayVar(&commands, "server", nil, "LABEL=COMMAND of a server; {dir}, {client}, {metrics} and {other} are replaced")
	f.StringVar(&floorFile, "floor", "", "file with the output of go test -bench")
	f.StringVar(&document, "write", "", "file for the table, as Markdown: it goes between its marks there, or to the end")
	f.StringVar(&logFile, "server-log", "", "file for what the servers write")
	f.DurationVar(&o.Duration, "duration", 20*time.Second, "how long each scenario is measured")
	f.StringArrayVar(&o.Counters, "counter", nil, "a metric whose growth is reported, for every action")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := readBenchOptions(&o, commands, floorFile); err != nil {
			return err
		}
		o.Log, o.Watch = io.Discard, watchSteps(cmd.ErrOrStderr())
		if logFile != "" {
			file, err := os.Create(logFile)
			if err != nil {
				return err
			}
			defer func() { _ = file.Close() }() // what is lost there is no result
			o.Log = file
		}
		report, err := bench.Run(cmd.Context(), o)
		if err != nil {
			return err
		}
		if err := out.write(cmd.OutOrStdout(), report.Results()...); err != nil {
			return err
		}
		if document != "" {
			var text strings.Builder
			if err := report.Markdown(&text, time.Now()); err != nil {
				return err
			}
			if err := splice.By("matrixload bench").IntoFile(document, "Benchmarks", text.String()); err != nil {
				return err
			}
		}
		return report.Failed()
	}
	return cmd
}

// readBenchOptions reads what flags name.
func readBenchOptions(o *bench.Options, commands []string, floorFile string) error {
	if len(commands) == 0 {
		return errors.New("--server says what to start")
	}
	for _, text := range commands {
		command, err := bench.ParseCommand(text)
		if err != nil {
			return err
		}
		o.Commands = append(o.Commands, command)
	}
	if floorFile == "" {
		return nil
	}
	file, err := os.Open(floorFile)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if err := o.Floor.ReadBenchmarks(file); err != nil {
		return fmt.Errorf("%s: %w", floorFile, err)
	}
	return nil
}

// watchSteps shows how the steps go, each as a run of its own.
func watchSteps(w io.Writer) func(string, scenario.Progress) {
	var last string
	var show func(scenario.Progress)
	return func(step string, p scenario.Progress) {
		if step != last {
			last, show = step, progressLine(w, step)
		}
		show(p)
	}
}
