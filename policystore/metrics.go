package policystore

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	refusals    *prometheus.CounterVec
	activations *prometheus.CounterVec
	floors      *prometheus.CounterVec
	feed        *prometheus.CounterVec
	lines       prometheus.Counter
	failures    prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beffroi_policy_refusals_total", Help: "Requests and events that the policy refused.",
		}, []string{"action", "reason"}),
		activations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beffroi_policy_activations_total",
			Help: "Policy documents that were activated, and those that were refused.",
		}, []string{"result"}),
		floors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beffroi_policy_floors_total",
			Help: "National documents that came into force as the floor, and bundles that were refused.",
		}, []string{"result"}),
		feed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beffroi_policy_feed_checks_total",
			Help: "Looks at the feed of the national document: new, unchanged, refused or unreachable.",
		}, []string{"result"}),
		lines: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beffroi_audit_lines_total", Help: "Lines written to the audit trail.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beffroi_audit_write_failures_total",
			Help: "Attempts to write the audit trail that failed; the lines wait for the next one.",
		}),
	}
}

// register shows the metrics of an open store to reg.
func (m *metrics) register(s *Store, reg prometheus.Registerer) {
	reg.MustRegister(m.refusals, m.activations, m.floors, m.feed, m.lines, m.failures,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "beffroi_policy_document_version", Help: "The version of the active policy document.",
		}, func() float64 { return float64(s.Active().Version) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "beffroi_policy_document_age_seconds", Help: "How long ago the active policy document was activated.",
		}, func() float64 { return s.now().Sub(s.Active().Since).Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "beffroi_policy_document_freshness",
			Help: "0 while the active policy document is fresh, 1 after it expired, 2 when it is stale, 3 when it blocks.",
		}, func() float64 { return float64(s.engine.Snapshot().Freshness(s.now())) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "beffroi_policy_floor_version", Help: "The version of the national document in force, 0 where there is none.",
		}, func() float64 { return float64(s.Active().Floor.Version) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "beffroi_policy_feed_age_seconds", Help: "How long ago the feed answered last, -1 where it never did.",
		}, func() float64 { return s.feed.age(s.now()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "beffroi_audit_pending_lines", Help: "Lines of the audit trail that wait to be written.",
		}, func() float64 { return float64(s.recorder.waiting()) }))
}
