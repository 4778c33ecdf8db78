package sendqueue

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"beffroi/matrix"
)

const (
	minBackoff = time.Second
	maxBackoff = time.Hour
	// refusedFailures is the number of failures from which one counts that is
	// a refusal (4xx): the server is there, and the same request will hardly
	// please it a second later.
	refusedFailures = 6
)

// defaultBackoff doubles from a second to an hour. The jitter keeps many
// queues from coming back at the same moment.
func defaultBackoff(failures int) time.Duration {
	wait := maxBackoff
	if failures < 13 { // 2^12 s are more than an hour
		wait = min(minBackoff<<max(failures-1, 0), maxBackoff)
	}
	return time.Duration(float64(wait) * (0.75 + 0.5*rand.Float64()))
}

// delay says how long to wait after a failure.
func (q *Queue) delay(failures int, cause error) time.Duration {
	status := statusOf(cause)
	if status >= 400 && status < 500 && status != http.StatusTooManyRequests {
		failures = max(failures, refusedFailures)
	}
	return max(q.backoff(failures), min(retryAfter(cause), maxBackoff))
}

// retryAfter returns for how long a peer asks us to wait.
func retryAfter(err error) time.Duration {
	e, ok := errors.AsType[*matrix.Error](err)
	if !ok {
		return 0
	}
	var ms int64
	switch v := e.Fields["retry_after_ms"].(type) {
	case json.RawMessage:
		if json.Unmarshal(v, &ms) != nil {
			return 0
		}
	case int64:
		ms = v
	}
	return time.Duration(min(max(ms, 0), maxBackoff.Milliseconds())) * time.Millisecond
}
