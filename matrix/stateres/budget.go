package stateres

import (
	"fmt"
	"time"
)

// The limits that a zero [Budget] stands for. A room of 100,000 members whose
// states differ in a few events stays within them; a graph that was made to
// be slow does not keep a core for longer.
const (
	DefaultEvents   = 250_000
	DefaultDuration = 20 * time.Second
)

// Budget bounds one resolution.
type Budget struct {
	// Events is how many events may be looked at, each as often as it is.
	// Zero means DefaultEvents.
	Events int
	// Duration is how long it may take, the store included. Zero means
	// DefaultDuration.
	Duration time.Duration
}

// BudgetError says that a resolution was given up. It is no verdict on the
// events: with a larger budget the same call may succeed.
type BudgetError struct {
	Budget  Budget        // as it was applied
	Visited int           // events looked at
	Elapsed time.Duration // until it was given up
}

// Error makes *BudgetError an error.
func (e *BudgetError) Error() string {
	return fmt.Sprintf("state resolution given up after %d events of %d and %v of %v",
		e.Visited, e.Budget.Events, e.Elapsed.Round(time.Millisecond), e.Budget.Duration)
}

// meter measures a resolution against its budget.
type meter struct {
	budget  Budget
	start   time.Time
	visited int
	checked int // visited when the clock was last read
}

func newMeter(b Budget) *meter {
	if b.Events <= 0 {
		b.Events = DefaultEvents
	}
	if b.Duration <= 0 {
		b.Duration = DefaultDuration
	}
	return &meter{budget: b, start: time.Now()}
}

// clockEvery is how many visits pass between two looks at the clock. A visit
// may be a check with dozens of signatures.
const clockEvery = 16

// visit counts n events and fails when the budget is spent.
func (m *meter) visit(n int) error {
	m.visited += n
	late := false
	if m.visited-m.checked >= clockEvery {
		m.checked = m.visited
		late = time.Since(m.start) > m.budget.Duration
	}
	if late || m.visited > m.budget.Events {
		return &BudgetError{Budget: m.budget, Visited: m.visited, Elapsed: time.Since(m.start)}
	}
	return nil
}
