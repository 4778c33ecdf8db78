package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"beffroi/cmd/matrixload/internal/homeserver"
	"beffroi/cmd/matrixload/internal/measure"
	"beffroi/cmd/matrixload/internal/scenario"
	"beffroi/internal/testkit"
)

// command runs matrixload and returns what it wrote and how it ended.
func command(ctx context.Context, args ...string) (out string, err error) {
	var b bytes.Buffer
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(&b)
	root.SetErr(new(bytes.Buffer))
	err = root.ExecuteContext(ctx)
	return b.String(), err
}

// TestScenarios plays every scenario in small against real servers.
func TestScenarios(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			urls, metrics := startServers(t, engine)
			for name, tc := range map[string]struct{ flags, done string }{
				"one-room":     {"--rate max --workers 4 --users 4", "send"},
				"many-rooms":   {"--rate 40 --users 4 --rooms 4 --members 2 --message-bytes 2000", "send"},
				"sync-latency": {"--rate 20 --users 4 --listeners 2", "delivery"},
				"initial-sync": {"--users 2 --members 2 --rooms 5 --messages 3 --rate 10", "initial_sync"},
				"join-storm":   {"--users 21 --rooms 2 --rate 100", "join"},
				"federated":    {"--rate 20 --users 4", "delivery_federated"},
				"mixed":        {"--users 10 --rooms 5 --members 3 --rate 40", "delivery"},
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					file := filepath.Join(t.TempDir(), "report.json")
					args := append([]string{"run", name, "--duration", "1s", "--warm-up", "200ms", "--patience", "5m", "--json", file, "--metrics", metrics,
						"--counter", "beffroi_http_requests_total", "--url", urls[0]}, strings.Fields(tc.flags)...)
					if name == "federated" {
						args = append(args, "--url", urls[1])
					}
					out, err := command(t.Context(), args...)
					if err != nil {
						t.Fatalf("%v\n%s", err, out)
					}
					var results []*measure.Result
					raw, err := os.ReadFile(file)
					if err == nil {
						err = json.Unmarshal(raw, &results)
					}
					if err != nil || len(results) != 1 {
						t.Fatalf("%v, %d results", err, len(results))
					}
					r := results[0]
					if op := r.Operation(tc.done); op == nil || op.Count == 0 || op.Latency == nil || op.Failed != 0 || r.Failed() != 0 {
						t.Errorf("%s was not done well:\n%s", tc.done, out)
					}
					if r.Process == nil {
						t.Error("nobody knows what the server used")
					}
				})
			}
		})
	}
}

func TestJoinStormJoinsEverybodyOnce(t *testing.T) {
	t.Parallel()
	urls, _ := startServers(t, "sqlite")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(registrationSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	html := filepath.Join(t.TempDir(), "report.html")
	out, err := command(t.Context(), "run", "join-storm", "--url", urls[0], "--shared-secret-file", secret, "--users", "11", "--rooms", "3",
		"--rate", "max", "--workers", "5", "--html", html)
	if err != nil || !regexp.MustCompile(`(?m)^join +30 `).MatchString(out) {
		t.Errorf("%v\n%s", err, out)
	}
	if page, err := os.ReadFile(html); err != nil || !bytes.Contains(page, []byte("join-storm")) {
		t.Errorf("no page: %v", err)
	}
	if err := os.WriteFile(secret, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := command(t.Context(), "run", "join-storm", "--url", urls[0], "--shared-secret-file", secret); err == nil ||
		!strings.Contains(err.Error(), "register: 403 M_FORBIDDEN") {
		t.Errorf("with a wrong secret: %v", err)
	}
}

// A run that is interrupted tells what there was until then.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	urls, _ := startServers(t, "sqlite")
	server, err := homeserver.Open(urls[0], homeserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	r, err := scenario.ByName("one-room").Run(ctx, scenario.Options{
		Servers: []*homeserver.Server{server}, WarmUp: scenario.None, Duration: time.Hour, Users: 2, Listeners: 1,
	}, func(p scenario.Progress) {
		if p.Glance.Count > 0 {
			interrupt()
		}
	})
	if err != nil || !r.Interrupted || r.Operation("send").Count == 0 || r.Failed() != 0 {
		t.Errorf("%v: %+v", err, r)
	}
}

// A server that is gone is told as errors, and the exit status says so.
func TestErrorsAreTold(t *testing.T) {
	t.Parallel()
	urls, _ := startServers(t, "sqlite")
	args := []string{"run", "many-rooms", "--url", urls[0], "--users", "2", "--rooms", "1", "--members", "2", "--warm-up", "0s",
		"--duration", "1s", "--rate", "20", "--message-bytes", "60000"}
	if out, err := command(t.Context(), args...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// No answer is that fast.
	out, err := command(t.Context(), append(args, "--timeout", "1ns")...)
	if err == nil || !strings.Contains(err.Error(), "timeout") || out != "" {
		t.Errorf("%v\n%s", err, out)
	}
	args = append(args, "--max-in-flight", "1", "--rate", "100000")
	out, err = command(t.Context(), args...)
	if err == nil || !strings.HasSuffix(err.Error(), "errors") || !strings.Contains(out, "never started") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err = command(t.Context(), append(args, "--allow-errors", "100000")...); err != nil {
		t.Errorf("allowed errors: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ args, want string }{
		"foreign server":  {"run one-room --url https://matrix.org", "say --i-own-this-server"},
		"foreign metrics": {"run one-room --metrics http://192.0.2.1/metrics", "say --i-own-this-server"},
		"second is not":   {"run federated --url http://127.0.0.1 --url https://matrix.org", "say --i-own-this-server"},
		"scenario":        {"run another", `there is no scenario "another"`},
		"rate":            {"run one-room --rate fast", `the rate "fast"`},
		"no rate":         {"run one-room --rate 0", `the rate "0"`},
		"infinite rate":   {"run one-room --rate +Inf", `the rate "+Inf"`},
		"duration":        {"run one-room --duration 25h", "the duration in seconds must be"},
		"counter":         {"run one-room --counter x", "--counter needs --metrics"},
		"no such file":    {"run one-room --shared-secret-file /nonexistent", "no such file"},
		"no secret":       {"run one-room --shared-secret-file /dev/null", "holds no secret"},
		"no certificate":  {"run one-room --ca /dev/null", "has no certificate"},
		"nobody there":    {"run one-room --url http://127.0.0.1:1", "connection refused"},
		"no server":       {"bench", "--server says what to start"},
		"no command":      {"bench --server sqlite", "should be a label"},
		"no address":      {"bench --server sqlite=true", "does not say {client}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := command(t.Context(), strings.Fields(tc.args)...)
			if err == nil || !strings.Contains(err.Error(), tc.want) || out != "" {
				t.Errorf("got %v, want %q\n%s", err, tc.want, out)
			}
		})
	}
}

func TestListNamesEveryScenario(t *testing.T) {
	t.Parallel()
	out, err := command(t.Context(), "list")
	for _, s := range scenario.All() {
		if err != nil || !strings.Contains(out, fmt.Sprintf("%-13s %s", s.Name, s.About)) {
			t.Errorf("%s is missing", s.Name)
		}
	}
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	show := progressLine(&b, "one-room")
	p := scenario.Progress{Phase: measure.PhaseSetUp, Steps: 1234, Elapsed: 4 * time.Second}
	for range seldom {
		show(p)
	}
	p = scenario.Progress{Phase: measure.PhaseMeasured, Elapsed: 3*time.Second + 7, Of: time.Minute, InFlight: 9, Glance: measure.Glance{
		PerSecond: 1234.5, Failed: 5, Latency: &measure.Latency{P50: 1.25, P99: 20.5}}}
	for range seldom {
		show(p)
	}
	want := "one-room  set-up 4s  1,234 requests\n" +
		"one-room  measured 3s of 1m0s  1,235 a second  p50 1.25  p99 20.5 ms  errors 5  in flight 9\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
