package httpx_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"beffroi/internal/httpx"
)

// pipe is a listener for one connection in memory, whose deadlines follow the
// clock of a synctest bubble.
type pipe struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conn:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipe) Close() error   { close(p.closed); return nil }
func (p *pipe) Addr() net.Addr { return &net.UnixAddr{} }

// talk sends a request to a server as it stands, and returns the whole answer
// and how long it took by the clock of the bubble.
func talk(t *testing.T, rt http.Handler, request string) (answer string, took time.Duration) {
	t.Helper()
	here, there := net.Pipe()
	ln := &pipe{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	ln.conn <- there
	srv := httpx.NewServer(rt, slog.New(slog.DiscardHandler))
	go func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	go func() { _, _ = io.WriteString(here, request) }()
	start := time.Now()
	raw, _ := io.ReadAll(bufio.NewReader(here)) // until the server closes
	took = time.Since(start)
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	here.Close()
	return string(raw), took
}

func TestSlowPeersAreCutOff(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		request, want string
		took          time.Duration
	}{
		"half a header": {"POST /echo HTTP/1.1\r\nHost:", "", 10 * time.Second},
		"half a body":   {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{", "M_NOT_JSON", 60 * time.Second},
		"idle":          {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", `"count":0`, 3 * time.Minute},
		"long poll":     {"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", "waited: <nil>", 5 * time.Minute},
		"long header":   {"GET /echo HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 80<<10) + "\r\n\r\n", "431 ", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rt := httpx.NewRouter(httpx.Options{Log: slog.New(slog.DiscardHandler)})
				rt.Handle("POST /echo", httpx.JSON(httpx.Anyone, echo))
				rt.Handle("POST /wait", httpx.JSON(httpx.Anyone,
					func(ctx context.Context, _ httpx.None, _ *http.Request, _ input) (string, error) {
						select {
						case <-ctx.Done():
						case <-time.After(5 * time.Minute):
						}
						return fmt.Sprintf("waited: %v", ctx.Err()), nil
					}))
				answer, took := talk(t, rt, tc.request)
				if !strings.Contains(answer, tc.want) || took.Truncate(time.Second) != tc.took {
					t.Errorf("after %s: %q", took, answer)
				}
			})
		})
	}
}

// A peer that does not read must not hold an answer for ever.
func TestSlowReaderIsCutOff(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/json", "/file"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rt := httpx.NewRouter(httpx.Options{Log: slog.New(slog.DiscardHandler)})
				rt.Handle("GET /json", httpx.JSON(httpx.Anyone,
					func(context.Context, httpx.None, *http.Request, httpx.None) (string, error) {
						return strings.Repeat("a", 1<<20), nil
					}))
				rt.Handle("GET /file", httpx.JSON(httpx.Anyone,
					func(context.Context, httpx.None, *http.Request, httpx.None) (httpx.Content, error) {
						return httpx.Content{Size: -1, Body: io.NopCloser(strings.NewReader(strings.Repeat("a", 1<<20)))}, nil
					}))
				done := make(chan time.Duration, 1)
				start := time.Now()
				here, there := net.Pipe()
				ln := &pipe{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
				ln.conn <- there
				srv := httpx.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer func() { done <- time.Since(start) }()
					rt.ServeHTTP(w, r)
				}), slog.New(slog.DiscardHandler))
				go func() { _ = srv.Serve(ln) }()
				if _, err := io.WriteString(here, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				if took := <-done; took.Round(time.Second) != time.Minute {
					t.Errorf("held for %s", took)
				}
				_ = srv.Close()
				here.Close()
			})
		})
	}
}
