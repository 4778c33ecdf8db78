package httpx

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"beffroi/matrix"
)

// Options say what a router reports to. The zero value is a router without
// metrics that logs to the default logger.
type Options struct {
	// Listener names the router in metrics, such as "client".
	Listener string
	// Metrics is where the router registers its metrics, if anywhere.
	Metrics prometheus.Registerer
	// Log gets failed requests and panics; nil means slog.Default.
	Log *slog.Logger
	// TrustedProxies are the peers whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
}

// Router is an [http.ServeMux] that answers as Matrix wants it: an unknown
// path is 404 and a wrong method 405, both as M_UNRECOGNIZED; every answer
// has CORS headers and OPTIONS asks nobody; a panic is a 500. It redirects
// nothing. Handlers are added before the first request.
//
// Path segments are unescaped for PathValue after the match, so that %2F in an
// identifier cuts nothing. An empty last segment (the empty state key) needs a
// pattern that ends in {$}.
type Router struct {
	mux      http.ServeMux
	routes   []string
	log      *slog.Logger
	proxies  []netip.Prefix
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewRouter returns a router without routes.
func NewRouter(o Options) *Router {
	rt := &Router{
		log: o.Log, proxies: o.TrustedProxies,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "beffroi_http_requests_total",
			Help: "Requests answered, by route and status.",
		}, []string{"route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "beffroi_http_request_duration_seconds",
			Help:    "Time from the header of a request to the end of its answer, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 30},
		}, []string{"route"}),
	}
	if rt.log == nil {
		rt.log = slog.Default()
	}
	if o.Metrics != nil {
		prometheus.WrapRegistererWith(prometheus.Labels{"listener": o.Listener}, o.Metrics).
			MustRegister(rt.requests, rt.duration)
	}
	return rt
}

// Handle adds a route, with the patterns of [http.ServeMux]. It panics on a
// pattern that is malformed or in conflict with another.
func (rt *Router) Handle(pattern string, h http.Handler) {
	rt.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if rec, ok := w.(*recorder); ok {
			rec.route, rec.open = pattern, true
		}
		h.ServeHTTP(w, r)
	})
	rt.routes = append(rt.routes, pattern)
}

// Routes returns the patterns in the order in which they were added.
func (rt *Router) Routes() []string { return rt.routes }

// ServeHTTP answers one request.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	commonHeaders(w.Header())
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	rec := &recorder{ResponseWriter: w}
	r = r.WithContext(context.WithValue(r.Context(), loggerKey{}, rt.log))
	throughProxies(r, rt.proxies)
	defer func() {
		if value := recover(); value != nil {
			rt.recovered(rec, r, value)
		}
		rt.observe(rec, r, time.Since(start))
	}()
	rt.mux.ServeHTTP(rec, r)
	if !rec.open {
		rec.refuse(r)
	}
}

// commonHeaders are right on every answer. Matrix clients run in browsers
// under any origin.
//
// https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients
func commonHeaders(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "X-Requested-With, Content-Type, Authorization")
	h.Set("Access-Control-Expose-Headers", "Content-Disposition, ETag, Retry-After")
	h.Set("X-Content-Type-Options", "nosniff")
}

// recovered answers for a handler that panicked. Once an answer has begun all
// that is left is to cut the connection.
func (rt *Router) recovered(rec *recorder, r *http.Request, value any) {
	if value == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
		rec.status = statusAborted
		panic(value)
	}
	rt.log.ErrorContext(r.Context(), "handler panicked", "route", r.Pattern,
		"panic", fmt.Sprint(value), "stack", string(debug.Stack()))
	if rec.status != 0 {
		panic(http.ErrAbortHandler)
	}
	respond(rec, r, Status[map[string]any]{Code: http.StatusInternalServerError,
		Body: map[string]any{"errcode": "M_UNKNOWN", "error": "Internal server error"}})
}

func (rt *Router) observe(rec *recorder, r *http.Request, took time.Duration) {
	route := rec.route
	if route == "" {
		route = "unmatched"
	}
	rt.requests.WithLabelValues(route, statusText(rec.status)).Inc()
	rt.duration.WithLabelValues(route).Observe(took.Seconds())
	rt.log.DebugContext(r.Context(), "request", "route", route, "status", rec.status, "duration", took)
}

// statusAborted stands in metrics for an answer that was cut off.
const statusAborted = 499

func statusText(status int) string {
	if status == 0 {
		status = http.StatusOK // net/http's own default
	}
	return fmt.Sprint(status)
}

// recorder remembers the status, and swallows what ServeMux writes by itself:
// its 404 and 405 are text, and its redirects to "clean" paths would change
// identifiers.
type recorder struct {
	http.ResponseWriter
	route  string // the pattern that matched
	open   bool   // what is written goes to the peer
	status int
	own    http.Header // the header of an answer by ServeMux itself
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) Header() http.Header {
	if w.open {
		return w.ResponseWriter.Header()
	}
	if w.own == nil {
		w.own = make(http.Header)
	}
	return w.own
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 || w.status < http.StatusOK { // an informational one may come first
		w.status = status
	}
	if w.open {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	if !w.open {
		return len(b), nil
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// ReadFrom lets a file go to the connection by way of the kernel.
func (w *recorder) ReadFrom(from io.Reader) (int64, error) {
	if !w.open {
		return io.Copy(io.Discard, from)
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return io.Copy(w.ResponseWriter, from)
}

// refuse answers a request that no route took.
//
// https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
func (w *recorder) refuse(r *http.Request) {
	answer := matrix.Unrecognized()
	status, allow := w.status, w.own.Get("Allow")
	w.status = 0
	if status == http.StatusMethodNotAllowed {
		answer = matrix.NewError(status, "M_UNRECOGNIZED", "This path takes %s", allow)
		w.ResponseWriter.Header().Set("Allow", allow)
	}
	w.open = true
	Fail(w, r, answer)
}
