package federation

import "github.com/prometheus/client_golang/prometheus"

// What becomes of an event or a message.
const (
	outcomeOK      = "ok"
	outcomeRefused = "refused"
	outcomeFailed  = "failed"
	outcomeDead    = "dead"
)

// metrics count what was received.
type metrics struct {
	pdus    *prometheus.CounterVec
	edus    *prometheus.CounterVec
	waiting prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		pdus: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beffroi_federation_received_pdus_total",
			Help: "Events of transactions of other servers, by outcome: ok (stored), refused, or dead (given up).",
		}, []string{"outcome"}),
		edus: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beffroi_federation_received_edus_total",
			Help: "Other messages of other servers, by type and outcome: ok, refused, or failed.",
		}, []string{"type", "outcome"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beffroi_federation_inbox_transactions",
			Help: "Transactions of other servers that are kept and not worked through.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.pdus, m.edus, m.waiting)
	}
	return m
}
