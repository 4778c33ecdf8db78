package httpx_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"beffroi/internal/httpx"
	"beffroi/matrix"
)

// params answers with what the pattern took from the path.
func params(_ context.Context, _ httpx.None, r *http.Request, _ httpx.None) ([]string, error) {
	return []string{r.PathValue("room"), r.PathValue("type"), r.PathValue("key")}, nil
}

func newRouter(log io.Writer, reg prometheus.Registerer) *httpx.Router {
	rt := httpx.NewRouter(httpx.Options{Listener: "client", Metrics: reg, Log: slog.New(slog.NewTextHandler(log, nil))})
	h := httpx.JSON(httpx.Anyone, params)
	rt.Handle("GET /rooms/{room}/state", h)
	rt.Handle("GET /rooms/{room}/state/{type}", h)
	rt.Handle("GET /rooms/{room}/state/{type}/{$}", h)
	rt.Handle("GET /rooms/{room}/state/{type}/{key}", h)
	rt.Handle("PUT /rooms/{room}/state/{type}/{key}", h)
	rt.Handle("GET /panic", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret") }))
	rt.Handle("GET /late", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic("secret")
	}))
	rt.Handle("GET /file", httpx.JSON(httpx.Anyone,
		func(context.Context, httpx.None, *http.Request, httpx.None) (httpx.Content, error) {
			body := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("disk")))
			return httpx.Content{Size: -1, Body: io.NopCloser(body)}, nil
		}))
	rt.Handle("GET /private", httpx.JSON(
		func(*http.Request) (httpx.None, error) { return httpx.None{}, matrix.MissingToken() }, params))
	return rt
}

func TestRouter(t *testing.T) {
	t.Parallel()
	rt := newRouter(io.Discard, nil)
	const unknown = `{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request"}`
	for name, tc := range map[string]struct {
		method, path string
		status       int
		body         string
	}{
		"route":            {"GET", "/rooms/!r:x/state", 200, `["!r:x","",""]`},
		"no key":           {"GET", "/rooms/!r:x/state/m.t", 200, `["!r:x","m.t",""]`},
		"empty key":        {"GET", "/rooms/!r:x/state/m.t/", 200, `["!r:x","m.t",""]`},
		"key":              {"GET", "/rooms/!r:x/state/m.t/k", 200, `["!r:x","m.t","k"]`},
		"escaped slash":    {"GET", "/rooms/!r%3Ax/state/a%2Fb/%2F%23%20%25", 200, `["!r:x","a/b","/# %"]`},
		"escaped dots":     {"GET", "/rooms/!r:x/state/m.t/%2E%2E%2F", 200, `["!r:x","m.t","../"]`},
		"unknown path":     {"GET", "/nowhere", 404, unknown},
		"trailing slash":   {"GET", "/rooms/!r:x/state/", 404, unknown},
		"empty segment":    {"GET", "/rooms//state", 404, unknown},
		"dots":             {"GET", "/rooms/../rooms/!r:x/state", 404, unknown},
		"double slash":     {"GET", "//rooms/!r:x/state", 404, unknown},
		"wrong method":     {"POST", "/rooms/!r:x/state/m.t/k", 405, `{"errcode":"M_UNRECOGNIZED","error":"This path takes GET, HEAD, PUT"}`},
		"odd method":       {"BREW", "/rooms/!r:x/state", 405, `{"errcode":"M_UNRECOGNIZED","error":"This path takes GET, HEAD"}`},
		"options":          {"OPTIONS", "/private", 204, ""},
		"options, unknown": {"OPTIONS", "/nowhere", 204, ""},
		"auth":             {"GET", "/private", 401, `{"errcode":"M_MISSING_TOKEN","error":"Missing access token"}`},
		"panic":            {"GET", "/panic", 500, `{"errcode":"M_UNKNOWN","error":"Internal server error"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			rt.ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, nil))
			if w.Code != tc.status || w.Body.String() != tc.body {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, tc.status, tc.body)
			}
			if allow := w.Header().Get("Allow"); (tc.status == 405) != (allow != "") {
				t.Errorf("Allow %q", allow)
			}
			if w.Header().Get("Location") != "" {
				t.Error("redirected")
			}
			for header, want := range map[string]string{
				"Access-Control-Allow-Origin":  "*",
				"Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
				"Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization",
			} {
				if got := w.Header().Get(header); got != want {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
		})
	}
	if want := "GET /rooms/{room}/state/{type}/{$}"; !slices.Contains(rt.Routes(), want) {
		t.Errorf("Routes lacks %s", want)
	}
}

func TestMetricsByRoute(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	rt := newRouter(io.Discard, reg)
	for _, path := range []string{"/rooms/!a:x/state", "/rooms/!b:x/state", "/nowhere", "/panic"} {
		rt.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	for _, want := range []string{
		`beffroi_http_requests_total{listener="client",route="GET /panic",status="500"} 1`,
		`beffroi_http_requests_total{listener="client",route="GET /rooms/{room}/state",status="200"} 2`,
		`beffroi_http_requests_total{listener="client",route="unmatched",status="404"} 1`,
		`beffroi_http_request_duration_seconds_count{listener="client",route="GET /rooms/{room}/state"} 2`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("the metrics lack %s:\n%s", want, w.Body)
		}
	}
}

func TestPanicIsLoggedOnceWithItsStack(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	newRouter(&log, nil).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/panic", nil))
	for _, want := range []string{"handler panicked", "secret", "router_test.go"} {
		if strings.Count(log.String(), "handler panicked") != 1 || !strings.Contains(log.String(), want) {
			t.Errorf("%q lacks %q", log.String(), want)
		}
	}
}

// The peer must not take half an answer for a whole one.
func TestBrokenAnswerEndsTheConnection(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/late", "/file"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			srv := httpx.NewServer(newRouter(&log, nil), slog.New(slog.DiscardHandler))
			done := make(chan error)
			go func() { done <- srv.Serve(ln) }()
			resp, err := http.Get("http://" + ln.Addr().String() + path)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if err == nil {
				t.Error("the answer looked whole")
			}
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-done; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
			if strings.Count(log.String(), "\n") != 1 {
				t.Errorf("logged %q, want one line", log.String())
			}
		})
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/?n=7&big=99999999999999999999&neg=-1&yes=true&no=false&dir=b&word=x", nil)
	for name, tc := range map[string]struct {
		got  func() (any, error)
		want any
		code string
	}{
		"int":            {func() (any, error) { return httpx.QueryInt(r, "n", 1, 0, 9) }, int64(7), ""},
		"absent int":     {func() (any, error) { return httpx.QueryInt(r, "m", 1, 0, 9) }, int64(1), ""},
		"above":          {func() (any, error) { return httpx.QueryInt(r, "n", 1, 0, 6) }, int64(0), "M_INVALID_PARAM"},
		"below":          {func() (any, error) { return httpx.QueryInt(r, "n", 1, 8, 9) }, int64(0), "M_INVALID_PARAM"},
		"overflow":       {func() (any, error) { return httpx.QueryInt(r, "big", 1, 0, 9) }, int64(0), "M_INVALID_PARAM"},
		"no int":         {func() (any, error) { return httpx.QueryInt(r, "word", 1, 0, 9) }, int64(0), "M_INVALID_PARAM"},
		"limit":          {func() (any, error) { return httpx.QueryLimit(r, "n", 1, 9) }, 7, ""},
		"limit clamped":  {func() (any, error) { return httpx.QueryLimit(r, "n", 1, 5) }, 5, ""},
		"limit absent":   {func() (any, error) { return httpx.QueryLimit(r, "m", 3, 5) }, 3, ""},
		"limit negative": {func() (any, error) { return httpx.QueryLimit(r, "neg", 1, 5) }, 0, "M_INVALID_PARAM"},
		"true":           {func() (any, error) { return httpx.QueryBool(r, "yes", false) }, true, ""},
		"false":          {func() (any, error) { return httpx.QueryBool(r, "no", true) }, false, ""},
		"absent bool":    {func() (any, error) { return httpx.QueryBool(r, "m", true) }, true, ""},
		"no bool":        {func() (any, error) { return httpx.QueryBool(r, "n", true) }, false, "M_INVALID_PARAM"},
		"enum":           {func() (any, error) { return httpx.QueryEnum(r, "dir", "f", "f", "b") }, "b", ""},
		"absent enum":    {func() (any, error) { return httpx.QueryEnum(r, "m", "f", "f", "b") }, "f", ""},
		"no enum":        {func() (any, error) { return httpx.QueryEnum(r, "word", "f", "f", "b") }, "", "M_INVALID_PARAM"},
		"required":       {func() (any, error) { return httpx.QueryRequired(r, "word") }, "x", ""},
		"missing":        {func() (any, error) { return httpx.QueryRequired(r, "m") }, "", "M_MISSING_PARAM"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.got()
			if got != tc.want || (err != nil) != (tc.code != "") || err != nil && !matrix.IsCode(err, tc.code) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}
