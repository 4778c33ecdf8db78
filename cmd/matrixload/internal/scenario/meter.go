package scenario

import (
	"context"
	"fmt"
	"time"

	"beffroi/cmd/matrixload/internal/homeserver"
	"beffroi/cmd/matrixload/internal/measure"
)

// meter reads what the servers' process uses while it is measured.
type meter struct {
	begin    time.Time
	server   *homeserver.Server
	counters []string
	cancel   context.CancelFunc
	before   chan map[string]float64
}

// startMeter reads the metrics for the first time when measuring begins.
func (w *world) startMeter(ctx context.Context, begin time.Time) *meter {
	if w.Metrics == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	m := &meter{begin: begin, server: w.Metrics, counters: w.Counters, cancel: cancel, before: make(chan map[string]float64, 1)}
	go func() { // ends with its context, which stop ends
		defer close(m.before)
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(begin)):
			if before, err := m.server.Metrics(ctx); err == nil {
				m.before <- before
			}
		}
	}()
	return m
}

// stop reads the metrics again. It returns nil where there are none, or if the
// run ended before it was measured.
func (m *meter) stop(ctx context.Context) *measure.Process {
	if m == nil {
		return nil
	}
	defer m.cancel()
	if time.Now().Before(m.begin) {
		return nil
	}
	before, ok := <-m.before // its request has a time limit
	after, err := m.server.Metrics(ctx)
	if !ok || err != nil {
		return nil
	}
	return grown(before, after, m.counters)
}

// checkMetrics makes sure that there are metrics: at once, not after minutes of
// load.
func checkMetrics(ctx context.Context, o Options) error {
	if o.Metrics == nil {
		return nil
	}
	if _, err := o.Metrics.Metrics(ctx); err != nil {
		return fmt.Errorf("read metrics: %w", err)
	}
	return nil
}

// grown compares two readings.
func grown(before, after map[string]float64, counters []string) *measure.Process {
	const cpu, resident = "process_cpu_seconds_total", "process_resident_memory_bytes"
	p := &measure.Process{CPUSeconds: after[cpu] - before[cpu], ResidentBytes: after[resident]}
	for _, name := range counters {
		// Many are not there until they count something: only now it is known.
		if _, ok := after[name]; !ok {
			p.Missing = append(p.Missing, name)
			continue
		}
		if p.Counters == nil {
			p.Counters = make(map[string]float64)
		}
		p.Counters[name] = after[name] - before[name]
	}
	return p
}
