package client

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"beffroi/matrix"
)

// metrics counts the requests by their outcome.
type metrics struct {
	requests *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beffroi_federation_requests_total",
			Help: "Requests to other servers, by outcome: ok, denied by our policy, refused by the peer, unreachable, or failed here.",
		}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "beffroi_federation_request_duration_seconds",
			Help:    "How long requests to other servers took, with discovery and retries of connections.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.duration)
	}
	return m
}

func (m *metrics) count(err error, took time.Duration) {
	m.requests.WithLabelValues(outcome(err)).Inc()
	m.duration.Observe(took.Seconds())
}

func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	if Denied(err) {
		return "denied"
	}
	if _, ok := errors.AsType[*UnreachableError](err); ok {
		return "unreachable"
	}
	if _, ok := errors.AsType[*matrix.Error](err); ok {
		return "refused"
	}
	return "failed"
}
