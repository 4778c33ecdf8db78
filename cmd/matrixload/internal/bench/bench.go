package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"beffroi/cmd/matrixload/internal/homeserver"
	"beffroi/cmd/matrixload/internal/measure"
	"beffroi/cmd/matrixload/internal/scenario"
)

// Options is what is compared, and how.
type Options struct {
	Commands []Command
	Duration time.Duration // of each scenario
	Counters []string      // metrics whose growth is reported
	Log      io.Writer     // what the servers write
	Watch    func(step string, p scenario.Progress)
	Floor    Floor
}

// Report is what was measured.
type Report struct {
	Floor   Floor
	Servers []*ServerReport
}

// ServerReport is what was measured of one server.
type ServerReport struct {
	Label     string
	Start     time.Duration // from nothing to the first answer
	IdleBytes float64       // of memory, before any load
	Steps     []StepReport
}

// StepReport is one line of the table. Result is nil if Err is not.
type StepReport struct {
	Name   string
	Result *measure.Result
	Err    error
}

// step is one scenario of the plan.
type step struct {
	name     string
	scenario string
	options  scenario.Options
	// halfOf names an earlier step: this one is due at half of its rate. What a
	// server does at its limit says nothing about how long people wait.
	halfOf string
}

// plan is what is played, in this order: the later ones find the rooms of the
// earlier ones in the database.
func plan() []step {
	const many, one = "send, many rooms", "send, one room"
	return []step{
		{name: many, scenario: "many-rooms", options: scenario.Options{Rate: scenario.Unlimited}},
		{name: many + ", half of that", scenario: "many-rooms", halfOf: many},
		{name: one, scenario: "one-room", options: scenario.Options{Rate: scenario.Unlimited}},
		{name: one + ", half of that", scenario: "one-room", halfOf: one},
		{name: "message reaches a long poll", scenario: "sync-latency"},
		{name: "join", scenario: "join-storm"},
		{name: "initial sync, 200 rooms of 10 messages", scenario: "initial-sync"},
		{name: "mixed, 200 users", scenario: "mixed"},
	}
}

// Run starts the servers one after the other and plays the plan against each.
// What a server fails at is in the report, and does not keep the others from
// being measured.
func Run(ctx context.Context, o Options) (*Report, error) {
	report := &Report{Floor: o.Floor}
	if err := report.Floor.Measure(); err != nil {
		return nil, err
	}
	for _, command := range o.Commands {
		server, err := o.measure(ctx, command)
		if err != nil {
			return nil, err
		}
		report.Servers = append(report.Servers, server)
	}
	return report, nil
}

// Failed returns the steps that could not be played.
func (r *Report) Failed() (err error) {
	for _, server := range r.Servers {
		for _, s := range server.Steps {
			if s.Err != nil {
				err = errors.Join(err, fmt.Errorf("%s: %s: %w", server.Label, s.Name, s.Err))
			}
		}
	}
	return err
}

// Results returns the results of all steps that were played.
func (r *Report) Results() (out []*measure.Result) {
	for _, server := range r.Servers {
		for _, s := range server.Steps {
			if s.Result != nil {
				out = append(out, s.Result)
			}
		}
	}
	return out
}

func (o *Options) measure(ctx context.Context, command Command) (_ *ServerReport, err error) {
	p, err := command.start(ctx, o.Log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	report := &ServerReport{Label: command.Label, Start: p.took, IdleBytes: p.resident(ctx)}
	rates := make(map[string]float64) // by name of the step
	for _, s := range plan() {
		run := s.options
		run.Servers, run.Metrics, run.Counters = []*homeserver.Server{p.client}, p.metrics, o.Counters
		run.Label, run.Duration = command.Label+": "+s.name, o.Duration
		if s.halfOf != "" {
			if run.Rate = rates[s.halfOf] / 2; run.Rate == 0 {
				continue // which failed, and is told
			}
		}
		sc := scenario.ByName(s.scenario)
		result, err := sc.Run(ctx, run, func(p scenario.Progress) { o.Watch(command.Label+": "+s.name, p) })
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		report.Steps = append(report.Steps, StepReport{Name: s.name, Result: result, Err: err})
		if err == nil {
			if op := result.Operation(sc.Main); op != nil {
				rates[s.name] = op.PerSecond
			}
		}
	}
	return report, nil
}
