// Package pace decides when the next action of a load is due, and starts it.
package pace

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Slot is one action.
type Slot struct {
	N int64 // counts from 0
	// Due is when it should have begun, which is not when it did: a latency
	// counted from here contains the time that a slow server made it wait.
	Due time.Time
}

// Count is what became of the actions of a run.
type Count struct {
	Started int64 // and ended
	Shed    int64 // were due and never started, because MaxInFlight others had not ended
}

// Limits bound a run. Whichever is reached first ends it.
type Limits struct {
	For         time.Duration // how long actions are started
	Actions     int64         // how many are started, 0 for any number
	MaxInFlight int           // how many run at a time
}

// reached reports whether n actions are all.
func (l Limits) reached(n int64) bool { return l.Actions > 0 && n >= l.Actions }

// Gaps returns the time from each action to the next.
type Gaps func() time.Duration

// Even returns equal gaps, perSecond of them in a second.
func Even(perSecond float64) Gaps {
	// Adding up a rounded gap would drift away from the rate: keep the rest.
	exact, carried := float64(time.Second)/perSecond, 0.0
	return func() time.Duration {
		carried += exact
		whole := time.Duration(carried)
		carried -= float64(whole)
		return whole
	}
}

// Random returns the gaps of many people who know nothing of each other: a
// Poisson process with a mean of perSecond actions a second.
func Random(perSecond float64, rng *rand.Rand) Gaps {
	return func() time.Duration { return time.Duration(rng.ExpFloat64() * float64(time.Second) / perSecond) }
}

// Open starts an action whenever one is due, whether or not those before it
// have ended, as people do. If MaxInFlight have not ended, the next starts late
// and its slot says when it was due; what could not start before the end of
// the run is shed and counted. Open returns when all that it started has ended.
func Open(ctx context.Context, gaps Gaps, limits Limits, do func(context.Context, Slot)) Count {
	begin := time.Now()
	end := begin.Add(limits.For)
	crew := newCrew(ctx, limits.MaxInFlight, do)
	defer crew.wait()
	var count Count
	timer := time.NewTimer(limits.For)
	defer timer.Stop()
	for due := begin; due.Before(end) && !limits.reached(count.Started); due = due.Add(gaps()) {
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return count
			case <-timer.C:
			}
		}
		timer.Reset(time.Until(end))
		if !crew.start(Slot{N: count.Started, Due: due}, timer.C) {
			if ctx.Err() == nil {
				count.Shed = rest(due, end, gaps, limits, count.Started)
			}
			return count
		}
		count.Started++
	}
	return count
}

// rest counts the actions that are due from now to the end.
func rest(due, end time.Time, gaps Gaps, limits Limits, started int64) (n int64) {
	for ; due.Before(end) && !limits.reached(started+n); due = due.Add(gaps()) {
		n++
	}
	return n
}

// Closed runs MaxInFlight loops that start an action as soon as their last one
// has ended: the most that a server can do, and nothing about how long people
// would wait for it. An action is due when it starts.
func Closed(ctx context.Context, limits Limits, do func(context.Context, Slot)) Count {
	end := time.Now().Add(limits.For)
	var next, started atomic.Int64
	var loops sync.WaitGroup
	for range limits.MaxInFlight {
		loops.Go(func() {
			for now := time.Now(); now.Before(end) && ctx.Err() == nil; now = time.Now() {
				n := next.Add(1) - 1
				if limits.reached(n) {
					return
				}
				started.Add(1)
				do(ctx, Slot{N: n, Due: now})
			}
		})
	}
	loops.Wait()
	return Count{Started: started.Load()}
}

// crew is at most max goroutines, which are kept: a new one for each action
// would grow its stack again each time.
type crew struct {
	ctx     context.Context // of the run, which the crew does not outlive
	do      func(context.Context, Slot)
	work    chan Slot
	hired   int
	max     int
	working sync.WaitGroup
}

func newCrew(ctx context.Context, size int, do func(context.Context, Slot)) *crew {
	return &crew{ctx: ctx, do: do, work: make(chan Slot), max: size}
}

// start gives an action to somebody, and waits for somebody if all are busy. It
// reports false if the run was over first.
func (c *crew) start(slot Slot, over <-chan time.Time) bool {
	select {
	case c.work <- slot:
		return true
	default:
	}
	if c.hired < c.max {
		c.hired++
		c.working.Go(func() {
			c.do(c.ctx, slot)
			for slot := range c.work {
				c.do(c.ctx, slot)
			}
		})
		return true
	}
	select {
	case c.work <- slot:
		return true
	case <-over:
	case <-c.ctx.Done():
	}
	return false
}

func (c *crew) wait() {
	close(c.work)
	c.working.Wait()
}
