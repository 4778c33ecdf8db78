package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"beffroi/cmd/matrixload/internal/measure"
	"beffroi/cmd/matrixload/internal/pace"
)

// Progress is what is known while a scenario runs.
type Progress struct {
	Phase    string
	Steps    int64         // of the set-up, until now
	Elapsed  time.Duration // of the phase
	Of       time.Duration // how long the phase may take
	Main     string        // the operation that Glance is about
	Glance   measure.Glance
	InFlight int64
}

// Run plays the scenario and returns what it measured. Watch is called every
// second, by one goroutine. If ctx ends early, the result is of what there was
// until then and says so. What fails in the set-up is an error: a load on half
// of the rooms would measure something else.
func (s *Scenario) Run(ctx context.Context, o Options, watch func(Progress)) (*measure.Result, error) {
	o, err := s.resolve(o)
	if err != nil {
		return nil, err
	}
	if err := checkMetrics(ctx, o); err != nil {
		return nil, err
	}
	w := newWorld(o)
	result := &measure.Result{Scenario: s.Name, Label: o.Label, Started: time.Now().UTC().Truncate(time.Second), Load: o.load()}
	for _, server := range o.Servers {
		result.Servers = append(result.Servers, server.Base)
	}
	stop := w.show(s, watch)
	act, err := w.prepare(ctx, s)
	stop()
	if err != nil {
		return nil, w.setUpError(err)
	}
	result.SetUpSeconds = time.Since(result.Started).Seconds()
	if result.SetUp, err = w.setUp.Operations(time.Since(result.Started)); err != nil {
		return nil, err
	}
	w.measure(ctx, s, act, result, watch)
	if result.Operations, err = w.recorder.Operations(time.Duration(result.MeasuredSeconds * float64(time.Second))); err != nil {
		return nil, err
	}
	result.Failures = w.recorder.Failures()
	for _, f := range w.setUp.Failures() {
		f.Phase = measure.PhaseSetUp
		result.Failures = append(result.Failures, f)
	}
	measure.SortFailures(result.Failures)
	result.Interrupted = ctx.Err() != nil
	return result, nil
}

// load is the options as a report tells them.
func (o *Options) load() measure.Load {
	l := measure.Load{
		Rate: o.Rate, MaxInFlight: o.MaxInFlight, WarmUpSeconds: o.WarmUp.Seconds(), Seconds: o.Duration.Seconds(),
		Users: o.Users, Rooms: o.Rooms, Members: o.Members, Messages: o.Messages, Listeners: o.Listeners,
		MessageBytes: o.MessageBytes,
	}
	if o.Rate == Unlimited {
		l.Rate, l.MaxInFlight, l.Workers = 0, 0, o.Workers
	}
	return l
}

// prepare makes accounts and rooms.
func (w *world) prepare(ctx context.Context, s *Scenario) (action, error) {
	limited, cancel := context.WithTimeout(ctx, w.SetUpLimit)
	defer cancel()
	act, err := s.build(limited, w)
	if err == nil {
		err = w.gather(limited)
	}
	if err != nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("it is not done after %v", w.SetUpLimit)
	}
	return act, err
}

// setUpError says what went wrong with what had gone wrong before.
func (w *world) setUpError(err error) error {
	err = fmt.Errorf("set up: %w", err)
	for _, f := range w.setUp.Failures() {
		err = fmt.Errorf("%w\n  %d × %s: %s", err, f.Count, f.Operation, f.Example)
	}
	return err
}

// measure does the actions, those of the warm-up first.
func (w *world) measure(ctx context.Context, s *Scenario, act action, result *measure.Result, watch func(Progress)) {
	begin := time.Now().Add(w.WarmUp)
	w.recorder = measure.NewRecorder(begin, w.Duration)
	w.news.recorder = w.recorder
	stop := w.show(s, watch)
	defer stop()
	listening, cancel := context.WithCancel(ctx)
	wait := w.listen(listening)
	meter := w.startMeter(ctx, begin)

	limits := pace.Limits{For: w.WarmUp + w.Duration, Actions: w.Actions, MaxInFlight: w.MaxInFlight}
	do := func(ctx context.Context, slot pace.Slot) {
		w.inFlight.Add(1)
		defer w.inFlight.Add(-1)
		act(ctx, slot)
	}
	var count pace.Count
	switch {
	case w.Rate == Unlimited:
		limits.MaxInFlight = w.Workers
		count = pace.Closed(ctx, limits, do)
	case s.random:
		count = pace.Open(ctx, pace.Random(w.Rate, rand.New(rand.NewPCG(w.Seed, 0))), limits, do)
	default:
		count = pace.Open(ctx, pace.Even(w.Rate), limits, do)
	}
	result.Actions, result.Shed = count.Started, count.Shed
	result.MeasuredSeconds = max(0, time.Since(begin).Seconds())
	result.Process = meter.stop(ctx)
	w.settle(ctx)
	cancel()
	wait()
}

// show tells watch every second how it goes, until the function that it returns
// is called.
func (w *world) show(s *Scenario, watch func(Progress)) (stop func()) {
	begun, over := time.Now(), make(chan struct{})
	var showing sync.WaitGroup
	showing.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				watch(w.progress(s, time.Since(begun)))
			}
		}
	})
	return func() {
		close(over)
		showing.Wait()
	}
}

func (w *world) progress(s *Scenario, elapsed time.Duration) Progress {
	p := Progress{Main: s.Main, Steps: w.steps.Load(), Elapsed: elapsed, InFlight: w.inFlight.Load()}
	switch {
	case w.recorder == nil:
		p.Phase, p.Of = measure.PhaseSetUp, w.SetUpLimit
	case elapsed < w.WarmUp:
		p.Phase, p.Of = measure.PhaseWarmUp, w.WarmUp
	default:
		p.Phase, p.Elapsed, p.Of = measure.PhaseMeasured, elapsed-w.WarmUp, w.Duration
		p.Glance = w.recorder.Glance(s.Main)
	}
	return p
}
