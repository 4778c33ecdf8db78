package media

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"beffroi/matrix"
)

// metrics count files.
type metrics struct {
	uploads    *prometheus.CounterVec
	downloads  *prometheus.CounterVec
	fetches    *prometheus.CounterVec
	scans      *prometheus.CounterVec
	scanTime   prometheus.Histogram
	thumbnails *prometheus.CounterVec
	makeTime   prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	times := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 30}
	m := &metrics{
		uploads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beffroi_media_uploads_total",
			Help: "Files that clients sent, by outcome: ok, refused, or failed.",
		}, []string{"outcome"}),
		downloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beffroi_media_downloads_total",
			Help: "Files that were asked for, by whose they are (local or remote) and outcome: ok, refused, or failed.",
		}, []string{"origin", "outcome"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beffroi_media_fetches_total",
			Help: "Files that were fetched from other servers, by outcome: ok, refused, or failed.",
		}, []string{"outcome"}),
		scans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beffroi_media_scans_total",
			Help: "Files that were given to the scanner, by outcome: clean, infected, or failed.",
		}, []string{"outcome"}),
		scanTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "beffroi_media_scan_duration_seconds", Help: "Time that the scanner took for a file.", Buckets: times,
		}),
		thumbnails: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beffroi_media_thumbnails_total",
			Help: "Thumbnails that were asked for, by outcome: made, kept (made before), original, refused, or failed.",
		}, []string{"outcome"}),
		makeTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "beffroi_media_thumbnail_duration_seconds", Help: "Time that making a thumbnail took.", Buckets: times,
		}),
	}
	if reg != nil {
		reg.MustRegister(m.uploads, m.downloads, m.fetches, m.scans, m.scanTime, m.thumbnails, m.makeTime)
	}
	return m
}

// outcome tells a refusal from a failure.
func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case matrix.Answer(err).Status < 500:
		return "refused"
	}
	return "failed"
}

func (m *metrics) upload(err error) { m.uploads.WithLabelValues(outcome(err)).Inc() }

func (m *metrics) fetch(err error) { m.fetches.WithLabelValues(outcome(err)).Inc() }

func (m *metrics) download(own bool, err error) {
	origin := "remote"
	if own {
		origin = "local"
	}
	m.downloads.WithLabelValues(origin, outcome(err)).Inc()
}

func (m *metrics) scan(threat string, err error, took time.Duration) {
	what := "clean"
	switch {
	case err != nil:
		what = "failed"
	case threat != "":
		what = "infected"
	}
	m.scans.WithLabelValues(what).Inc()
	m.scanTime.Observe(took.Seconds())
}
