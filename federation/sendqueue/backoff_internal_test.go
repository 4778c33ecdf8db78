package sendqueue

import (
	"encoding/json"
	"testing"
	"time"

	"beffroi/matrix"
)

func TestBackoffGrowsToAnHour(t *testing.T) {
	t.Parallel()
	want := time.Second
	for failures := 1; failures < 100; failures++ {
		low, high := time.Hour, time.Duration(0)
		for range 200 {
			d := defaultBackoff(failures)
			low, high = min(low, d), max(high, d)
		}
		if low < want*3/4 || high > want*5/4 || low == high {
			t.Errorf("after %d failures between %v and %v, want about %v", failures, low, high, want)
		}
		want = min(2*want, time.Hour)
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	q := &Queue{backoff: func(failures int) time.Duration { return time.Duration(failures) * time.Second }}
	tests := map[string]struct {
		cause error
		want  time.Duration
	}{
		"unreachable":           {matrix.NewError(502, "M_UNKNOWN", ""), time.Second},
		"refused":               {matrix.Forbidden("no"), 6 * time.Second},
		"rate limit":            {matrix.LimitExceeded(7 * time.Second), 7 * time.Second},
		"rate limit of a peer":  {matrix.NewError(429, "M_LIMIT_EXCEEDED", "").With("retry_after_ms", json.RawMessage(`9000`)), 9 * time.Second},
		"rate limit of a month": {matrix.NewError(429, "M_LIMIT_EXCEEDED", "").With("retry_after_ms", json.RawMessage(`2592000000`)), time.Hour},
		"negative":              {matrix.NewError(429, "M_LIMIT_EXCEEDED", "").With("retry_after_ms", json.RawMessage(`-5`)), time.Second},
		"nonsense":              {matrix.NewError(429, "M_LIMIT_EXCEEDED", "").With("retry_after_ms", json.RawMessage(`"soon"`)), time.Second},
	}
	for name, test := range tests {
		if got := q.delay(1, test.cause); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
