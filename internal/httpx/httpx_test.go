package httpx_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

type input struct {
	Name  string          `json:"name"`
	Count int             `json:"count"`
	Inner struct{ X int } `json:"inner"`
	User  strictUser      `json:"user"`
}

// strictUser refuses what is not a user ID while it is decoded.
type strictUser matrix.UserID

func (u *strictUser) UnmarshalText(b []byte) error {
	id, err := matrix.ParseUserID(string(b))
	*u = strictUser(id)
	return err
}

// serve runs one handler on POST /x of a router and returns the answer.
func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	rt := httpx.NewRouter(httpx.Options{Log: slog.New(slog.DiscardHandler)})
	rt.Handle(r.Method+" /x", h)
	w := httptest.NewRecorder()
	rt.ServeHTTP(w, r)
	return w
}

func echo(_ context.Context, _ httpx.None, _ *http.Request, in input) (map[string]any, error) {
	return map[string]any{"name": in.Name, "count": in.Count}, nil
}

func TestBody(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, canonicaljson.EnvelopeDepth+1) + "1" + strings.Repeat("}", canonicaljson.EnvelopeDepth+1)
	for name, tc := range map[string]struct {
		body   string
		status int
		want   string // part of the answer
	}{
		"decoded":         {`{"name":"a","count":2}`, 200, `{"count":2,"name":"a"}`},
		"empty":           {``, 200, `{"count":0,"name":""}`},
		"white space":     {" \n", 200, `{"count":0,"name":""}`},
		"not JSON":        {`{"name":`, 400, `M_NOT_JSON`},
		"trailing data":   {`{} {}`, 400, `M_NOT_JSON`},
		"invalid UTF-8":   {"{\"name\":\"\xff\"}", 400, `errcode`},
		"NaN":             {`{"count":NaN}`, 400, `M_NOT_JSON`},
		"null":            {`null`, 400, `M_BAD_JSON`},
		"array":           {`[]`, 400, `M_BAD_JSON`},
		"wrong type":      {`{"count":"two"}`, 400, `"error":"count must not be a string"`},
		"wrong inner":     {`{"inner":{"X":[]}}`, 400, `inner.X must not be an array`},
		"fraction":        {`{"count":1.5}`, 400, `count must not be a number 1.5`},
		"refused by type": {`{"user":"nobody"}`, 400, `M_INVALID_PARAM`},
		"duplicate key":   {`{"name":"a","name":"b"}`, 400, `errcode`},
		"too deep":        {deep, 400, `errcode`},
		"longest":         {`{"name":"` + strings.Repeat("a", httpx.MaxBody-11) + `"}`, 200, `"name":"aaa`},
		"too long":        {`{"name":"` + strings.Repeat("a", httpx.MaxBody-10) + `"}`, 413, `M_TOO_LARGE`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(tc.body))
			w := serve(httpx.JSON(httpx.Anyone, echo), r)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) {
				t.Errorf("%d %.200s, want %d %s", w.Code, w.Body, tc.status, tc.want)
			}
			if got := w.Header().Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type %q", got)
			}
		})
	}
}

func TestTooLargeWithoutLength(t *testing.T) {
	t.Parallel()
	body := io.MultiReader(strings.NewReader(`{"name":"`), strings.NewReader(strings.Repeat("a", 64)+`"}`))
	r := httptest.NewRequest(http.MethodPost, "/x", body)
	if r.ContentLength != -1 {
		t.Fatal("the length is known")
	}
	if w := serve(httpx.JSONWithLimit(64, httpx.Anyone, echo), r); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestBodyIsNotReadWhereNobodyWantsIt(t *testing.T) {
	t.Parallel()
	fail := func(context.Context, httpx.None, *http.Request, httpx.None) (httpx.None, error) {
		return httpx.None{}, nil
	}
	r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader("not JSON"))
	if w := serve(httpx.JSON(httpx.Anyone, fail), r); w.Code != 200 || w.Body.String() != "{}" {
		t.Errorf("None: %d %s", w.Code, w.Body)
	}
	r = httptest.NewRequest(http.MethodGet, "/x", strings.NewReader("not JSON"))
	if w := serve(httpx.JSON(httpx.Anyone, echo), r); w.Code != 200 {
		t.Errorf("GET: %d %s", w.Code, w.Body)
	}
	r = httptest.NewRequest(http.MethodDelete, "/x", strings.NewReader(`{"count":3}`))
	if w := serve(httpx.JSON(httpx.Anyone, echo), r); !strings.Contains(w.Body.String(), `"count":3`) {
		t.Errorf("DELETE: %d %s", w.Code, w.Body)
	}
}

func TestAuthComesFirstAndMayReadTheBody(t *testing.T) {
	t.Parallel()
	signed := func(r *http.Request) (string, error) {
		for range 2 { // reading twice gives the same
			body, err := httpx.Body(r, httpx.MaxBody)
			if err != nil || !bytes.Contains(body, []byte("signature")) {
				return "", matrix.Unauthorized("unsigned: %v", err)
			}
		}
		return "peer", nil
	}
	fn := func(_ context.Context, who string, _ *http.Request, in json.RawMessage) (httpx.Raw, error) {
		return httpx.Raw(fmt.Sprintf("[%q,%s]", who, in)), nil
	}
	r := httptest.NewRequest(http.MethodPut, "/x", strings.NewReader(`{"signature":1}`))
	if w := serve(httpx.JSON(signed, fn), r); w.Body.String() != `["peer",{"signature":1}]` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	r = httptest.NewRequest(http.MethodPut, "/x", strings.NewReader(`broken`))
	if w := serve(httpx.JSON(signed, fn), r); w.Code != http.StatusUnauthorized {
		t.Errorf("%d %s, want the refusal of auth before that of the body", w.Code, w.Body)
	}
	r = httptest.NewRequest(http.MethodPut, "/x", strings.NewReader(`{"signature":"1234567890"}`))
	if w := serve(httpx.JSONWithLimit(20, signed, fn), r); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s, want the limit of the route to hold for a body in memory", w.Code, w.Body)
	}
}

func TestOut(t *testing.T) {
	t.Parallel()
	type out = httpx.Status[any]
	for name, tc := range map[string]struct {
		out    out
		status int
		body   string
		typ    string
	}{
		"none":      {out{Body: httpx.None{}}, 200, "{}", "application/json"},
		"raw":       {out{Body: httpx.Raw("[1]")}, 200, "[1]", "application/json"},
		"status":    {out{Code: 201, Body: map[string]int{"a": 1}}, 201, `{"a":1}`, "application/json"},
		"no escape": {out{Body: "<&>"}, 200, `"<&>"`, "application/json"},
		"content": {out{Body: httpx.Content{Code: 202, Size: 2, Body: io.NopCloser(strings.NewReader("hi")),
			Header: http.Header{"content-type": {"text/plain"}}}}, 202, "hi", "text/plain"},
		"redirect": {out{Body: &httpx.Content{Code: 302, Header: http.Header{"Location": {"/y"}}}}, 302, "", ""},
		"does not marshal": {out{Body: make(chan int)}, 500,
			`{"errcode":"M_UNKNOWN","error":"Internal server error"}`, "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fn := func(context.Context, httpx.None, *http.Request, httpx.None) (out, error) { return tc.out, nil }
			w := serve(httpx.JSON(httpx.Anyone, fn), httptest.NewRequest(http.MethodGet, "/x", nil))
			if w.Code != tc.status || w.Body.String() != tc.body || w.Header().Get("Content-Type") != tc.typ {
				t.Errorf("%d %s %s, want %d %s %s", w.Code, w.Header().Get("Content-Type"), w.Body, tc.status, tc.typ, tc.body)
			}
		})
	}
}

func TestStatusHeader(t *testing.T) {
	t.Parallel()
	fn := func(context.Context, httpx.None, *http.Request, httpx.None) (httpx.Status[httpx.None], error) {
		return httpx.Status[httpx.None]{Header: http.Header{"Etag": {`"7"`}, "Cache-Control": {"max-age=60"}}}, nil
	}
	w := serve(httpx.JSON(httpx.Anyone, fn), httptest.NewRequest(http.MethodGet, "/x", nil))
	if w.Header().Get("ETag") != `"7"` || w.Header().Get("Cache-Control") != "max-age=60" {
		t.Errorf("%v", w.Header())
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	long := `"` + strings.Repeat("beffroi ", 400) + `"`
	for name, tc := range map[string]struct {
		accept, body string
		zipped       bool
	}{
		"accepted":        {"gzip", long, true},
		"among others":    {"br, gzip;q=0.5", long, true},
		"refused":         {"gzip;q=0, br", long, false},
		"malformed":       {"gzip;q=x", long, false},
		"not named":       {"br", long, false},
		"absent":          {"", long, false},
		"not worth while": {"gzip", `"short"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fn := func(context.Context, httpx.None, *http.Request, httpx.None) (httpx.Raw, error) {
				return httpx.Raw(tc.body), nil
			}
			r := httptest.NewRequest(http.MethodGet, "/x", nil)
			r.Header.Set("Accept-Encoding", tc.accept)
			w := serve(httpx.JSON(httpx.Anyone, fn), r)
			var body io.Reader = w.Body
			if zipped := w.Header().Get("Content-Encoding") == "gzip"; zipped != tc.zipped {
				t.Fatalf("compressed: %v, want %v", zipped, tc.zipped)
			}
			if tc.zipped {
				var err error
				if body, err = gzip.NewReader(w.Body); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := io.ReadAll(body); err != nil || string(got) != tc.body {
				t.Errorf("%v %.60s", err, got)
			}
		})
	}
}

func TestFail(t *testing.T) {
	t.Parallel()
	refusal := matrix.Forbidden("Not allowed").With("org.beffroi.policy", map[string]any{"reason": "x"})
	refusal.Texts = map[string]string{"fr": "Interdit"}
	for name, tc := range map[string]struct {
		err    error
		accept string
		status int
		body   string
		retry  string
		logged bool
	}{
		"matrix error": {matrix.NotFound("no such room"), "", 404, `{"errcode":"M_NOT_FOUND","error":"no such room"}`, "", false},
		"wrapped":      {fmt.Errorf("read: %w", matrix.NotFound("no room")), "", 404, `{"errcode":"M_NOT_FOUND","error":"no room"}`, "", false},
		"language": {refusal, "de, fr-FR;q=0.8, en;q=0.5", 403,
			`{"errcode":"M_FORBIDDEN","error":"Interdit","org.beffroi.policy":{"reason":"x"}}`, "", false},
		"English preferred": {refusal, "en-GB, fr;q=0.8", 403,
			`{"errcode":"M_FORBIDDEN","error":"Not allowed","org.beffroi.policy":{"reason":"x"}}`, "", false},
		"unknown language": {refusal, "de", 403,
			`{"errcode":"M_FORBIDDEN","error":"Not allowed","org.beffroi.policy":{"reason":"x"}}`, "", false},
		"malformed language": {refusal, "fr;;;q", 403,
			`{"errcode":"M_FORBIDDEN","error":"Not allowed","org.beffroi.policy":{"reason":"x"}}`, "", false},
		"language header too long": {refusal, "fr" + strings.Repeat(", de", 100), 403,
			`{"errcode":"M_FORBIDDEN","error":"Not allowed","org.beffroi.policy":{"reason":"x"}}`, "", false},
		"retry": {matrix.LimitExceeded(1500 * time.Millisecond), "", 429,
			`{"errcode":"M_LIMIT_EXCEEDED","error":"Too many requests","retry_after_ms":1500}`, "2", false},
		"retry as int": {matrix.NewError(429, "M_LIMIT_EXCEEDED", "slow").With("retry_after_ms", 1), "", 429,
			`{"errcode":"M_LIMIT_EXCEEDED","error":"slow","retry_after_ms":1}`, "1", false},
		"our fault": {errors.New("secret path"), "", 500,
			`{"errcode":"M_UNKNOWN","error":"Internal server error"}`, "", true},
		"cancelled by ourselves": {context.Canceled, "", 500,
			`{"errcode":"M_UNKNOWN","error":"Internal server error"}`, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			w := failing(t.Context(), tc.err, tc.accept, &log)
			if w.Code != tc.status || w.Body.String() != tc.body || w.Header().Get("Retry-After") != tc.retry {
				t.Errorf("%d %s, Retry-After %q", w.Code, w.Body, w.Header().Get("Retry-After"))
			}
			if lines := strings.Count(log.String(), "\n"); lines > 1 || (lines == 1) != tc.logged {
				t.Errorf("logged %q, want %v", log.String(), tc.logged)
			}
		})
	}
}

func TestGonePeerIsNotLogged(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var log bytes.Buffer
	failing(ctx, fmt.Errorf("query: %w", context.Canceled), "", &log)
	if log.Len() != 0 {
		t.Errorf("logged %s", &log)
	}
}

// failing runs a handler that returns err.
func failing(ctx context.Context, err error, accept string, log io.Writer) *httptest.ResponseRecorder {
	rt := httpx.NewRouter(httpx.Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	rt.Handle("GET /x", httpx.JSON(httpx.Anyone,
		func(context.Context, httpx.None, *http.Request, httpx.None) (httpx.None, error) {
			return httpx.None{}, err
		}))
	r := httptest.NewRequest(http.MethodGet, "/x", nil).WithContext(ctx)
	r.Header.Set("Accept-Language", accept)
	w := httptest.NewRecorder()
	rt.ServeHTTP(w, r)
	return w
}
