package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"beffroi/cmd/matrixload/internal/homeserver"
	"beffroi/cmd/matrixload/internal/measure"
	"beffroi/cmd/matrixload/internal/report"
	"beffroi/cmd/matrixload/internal/scenario"
)

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Tell which scenarios there are", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, s := range scenario.All() {
				fmt.Fprintf(cmd.OutOrStdout(), "%-13s %s\n", s.Name, s.About)
			}
			return nil
		},
	}
}

func runCommand() *cobra.Command {
	var t target
	var out output
	var o scenario.Options
	rate := "default"
	cmd := &cobra.Command{
		Use: "run SCENARIO", Short: "Play a scenario", Args: cobra.ExactArgs(1),
		Example: "  matrixload run many-rooms --rate 200 --duration 1m --html report.html\n" +
			"  matrixload run one-room --rate max --workers 64\n" +
			"  matrixload run federated --url http://127.0.0.1:8008 --url http://127.0.0.1:8018",
	}
	f := cmd.Flags()
	t.flags(f)
	out.flags(f)
	f.StringVar(&rate, "rate", rate, "actions a second, which are due whether or not earlier ones have ended; or max, for as many as --workers loops can do")
	f.IntVar(&o.Workers, "workers", 0, "loops, with --rate max")
	f.IntVar(&o.MaxInFlight, "max-in-flight", 1000, "actions that run at a time, with a rate; those beyond start late, which counts as latency")
	f.Int64Var(&o.Actions, "max-actions", 1_000_000, "actions after which the run ends")
	f.DurationVar(&o.Duration, "duration", 30*time.Second, "how long it is measured")
	f.DurationVar(&o.WarmUp, "warm-up", 0, "how long it runs before it is measured")
	f.DurationVar(&o.SetUpLimit, "set-up-limit", 10*time.Minute, "how long making accounts and rooms may take")
	f.DurationVar(&o.Patience, "patience", 10*time.Second, "how long a message may take to a listener until it counts as not delivered")
	f.IntVar(&o.Users, "users", 0, "accounts")
	f.IntVar(&o.Rooms, "rooms", 0, "rooms")
	f.IntVar(&o.Members, "members", 0, "members of a room; in mixed, on average")
	f.IntVar(&o.Messages, "messages", 0, "messages in a room before it is measured")
	f.IntVar(&o.Listeners, "listeners", 0, "users that wait for news with long polls all the time")
	f.IntVar(&o.MessageBytes, "message-bytes", 120, "length of the text of a message")
	f.Uint64Var(&o.Seed, "seed", 1, "what is left to chance follows from it")
	f.Int64("allow-errors", 0, "errors with which the exit status is still 0")
	for _, name := range []string{"workers", "warm-up", "users", "rooms", "members", "messages", "listeners"} {
		f.Lookup(name).DefValue = "by scenario"
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s := scenario.ByName(args[0])
		if s == nil {
			return fmt.Errorf("there is no scenario %q; matrixload list tells which there are", args[0])
		}
		if err := chosen(f, rate, &o); err != nil {
			return err
		}
		if err := t.open(&o); err != nil {
			return err
		}
		result, err := s.Run(cmd.Context(), o, progressLine(cmd.ErrOrStderr(), s.Name))
		if err != nil {
			return err
		}
		if err := out.write(cmd.OutOrStdout(), result); err != nil {
			return err
		}
		if allowed, _ := f.GetInt64("allow-errors"); result.Failed() > allowed {
			return fmt.Errorf("%d errors", result.Failed())
		}
		return nil
	}
	return cmd
}

// chosen sets what a flag says as a word, and tells a zero that was asked for
// from one that means the default of the scenario.
func chosen(f *pflag.FlagSet, rate string, o *scenario.Options) error {
	for name, v := range map[string]*int{"messages": &o.Messages, "listeners": &o.Listeners} {
		if f.Changed(name) && *v == 0 {
			*v = scenario.None
		}
	}
	if f.Changed("warm-up") && o.WarmUp == 0 {
		o.WarmUp = scenario.None
	}
	switch v, err := strconv.ParseFloat(rate, 64); {
	case rate == "max":
		o.Rate = scenario.Unlimited
	case rate == "default":
	case err != nil || v <= 0 || math.IsInf(v, 0) || math.IsNaN(v):
		return fmt.Errorf("the rate %q is neither max nor a number of actions a second", rate)
	default:
		o.Rate = v
	}
	return nil
}

// target is where the load goes, and how one gets in.
type target struct {
	urls       []string
	owned      bool
	secretFile string
	caFile     string
	timeout    time.Duration
	metrics    string
	counters   []string
	label      string
}

func (t *target) flags(f *pflag.FlagSet) {
	f.StringArrayVar(&t.urls, "url", []string{"http://127.0.0.1:8008"}, "base URL of a homeserver; twice for federated")
	f.BoolVar(&t.owned, "i-own-this-server", false, "put the load on a server that is not on this machine")
	f.StringVar(&t.secretFile, "shared-secret-file", "", "file with the shared secret of registration; without it registration must be open")
	f.StringVar(&t.caFile, "ca", "", "PEM file of authorities that HTTPS is checked against")
	f.DurationVar(&t.timeout, "timeout", time.Minute, "how long a request may take")
	f.StringVar(&t.metrics, "metrics", "", "URL of the server's Prometheus metrics, to report what its process uses")
	f.StringArrayVar(&t.counters, "counter", nil, "a metric whose growth is reported, for every action too")
	f.StringVar(&t.label, "label", "", "what the report calls the server")
}

// maxSecret bounds a file with a secret.
const maxSecret = 4096

// open fills the options with the servers.
func (t *target) open(o *scenario.Options) error {
	how := homeserver.Options{Owned: t.owned, Timeout: t.timeout}
	if t.caFile != "" {
		pem, err := os.ReadFile(t.caFile)
		if err != nil {
			return err
		}
		how.Roots = x509.NewCertPool()
		if !how.Roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s has no certificate", t.caFile)
		}
	}
	for _, url := range t.urls {
		server, err := homeserver.Open(url, how)
		if err != nil {
			return err
		}
		o.Servers = append(o.Servers, server)
	}
	if t.metrics != "" {
		server, err := homeserver.Open(t.metrics, how)
		if err != nil {
			return err
		}
		o.Metrics = server
	} else if len(t.counters) > 0 {
		return errors.New("--counter needs --metrics")
	}
	if t.secretFile != "" {
		raw, err := os.ReadFile(t.secretFile)
		if err != nil {
			return err
		}
		if o.Secret = strings.TrimSpace(string(raw)); o.Secret == "" || len(raw) > maxSecret {
			return fmt.Errorf("%s holds no secret", t.secretFile)
		}
	}
	o.Counters, o.Label = t.counters, t.label
	return nil
}

// output is where the report goes besides the terminal.
type output struct{ json, html string }

func (out *output) flags(f *pflag.FlagSet) {
	f.StringVar(&out.json, "json", "", "file for the report as JSON")
	f.StringVar(&out.html, "html", "", "file for the report as a page with charts")
}

func (out *output) write(w io.Writer, results ...*measure.Result) error {
	for _, r := range results {
		if err := report.Text(w, r); err != nil {
			return err
		}
	}
	for name, write := range map[string]func(io.Writer, []*measure.Result) error{out.json: report.JSON, out.html: report.HTML} {
		if name == "" {
			continue
		}
		if err := writeFile(name, func(w io.Writer) error { return write(w, results) }); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(name string, write func(io.Writer) error) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
