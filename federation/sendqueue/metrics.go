package sendqueue

import "github.com/prometheus/client_golang/prometheus"

// metrics count what was sent.
type metrics struct {
	transactions *prometheus.CounterVec
	pdus         prometheus.Counter
	edus         prometheus.Counter
	refused      prometheus.Counter
	denied       prometheus.Counter
	backingOff   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		transactions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beffroi_federation_transactions_total",
			Help: "Transactions to other servers, by outcome: ok, failed, denied by our policy, or refused: narrowed down to one message that was given up.",
		}, []string{"outcome"}),
		pdus: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beffroi_federation_sent_pdus_total",
			Help: "Events that other servers have received from us, once for each server.",
		}),
		edus: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beffroi_federation_sent_edus_total",
			Help: "Other messages that other servers have received from us.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beffroi_federation_refused_pdus_total",
			Help: "Events that other servers have received and told us were wrong.",
		}),
		denied: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "beffroi_federation_denied_pdus_total",
			Help: "Events that were not queued for a server that our policy denies.",
		}),
		backingOff: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "beffroi_federation_destinations_backing_off",
			Help: "Servers for which something waits and that did not take the last transaction.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.transactions, m.pdus, m.edus, m.refused, m.denied, m.backingOff)
	}
	return m
}

func (m *metrics) sent(pdus, edus, refused int) {
	m.transactions.WithLabelValues("ok").Inc()
	m.pdus.Add(float64(pdus))
	m.edus.Add(float64(edus))
	m.refused.Add(float64(refused))
}
