package event_test

import (
	"testing"

	"beffroi/matrix/event"
)

// TestAllocations holds the budget of what is done for every event. It must
// not run in parallel with other tests: they would be counted too.
func TestAllocations(t *testing.T) {
	p := baseProto()
	e := p.build(t, "12")
	dst := make([]byte, 0, 4096)
	for name, test := range map[string]struct {
		most float64
		fn   func() error
	}{
		"ParseUntrusted": {6, func() error { _, err := event.ParseUntrusted(e.JSON(), e.Rules()); return err }},
		"ParseStored":    {2, func() error { _, err := event.ParseStored(e.JSON(), e.ID(), e.Rules()); return err }},
		"AppendClient":   {0, func() error { dst = e.AppendClient(dst[:0], event.ClientForm{}); return nil }},
	} {
		var err error
		if got := testing.AllocsPerRun(100, func() { err = test.fn() }); got > test.most || err != nil {
			t.Errorf("%s: %v allocations, want at most %v (%v)", name, got, test.most, err)
		}
	}
}
