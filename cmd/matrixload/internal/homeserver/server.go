// Package homeserver is what the load asks of a Matrix homeserver: its client
// API, as any client uses it, and nothing that only one implementation has.
package homeserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// maxAnswer bounds the body of an ordinary answer.
	maxAnswer = 4 << 20
	// maxSyncAnswer bounds what a sync may answer: the first one of an account
	// in hundreds of rooms has tens of megabytes.
	maxSyncAnswer = 256 << 20
	// idleConnections is how many connections are kept for the next request.
	// With fewer than the users of a run, every request would open its own.
	idleConnections = 10_000
	dialTimeout     = 10 * time.Second
)

// Options is how a server is reached. The zero value reaches a server on this
// machine.
type Options struct {
	// Owned lets the load leave this machine. See [CheckTarget].
	Owned bool
	// Timeout is how long a request may take. Zero means a minute.
	Timeout time.Duration
	// Roots are the authorities that HTTPS is checked against. Nil means those
	// of the system.
	Roots *x509.CertPool
}

// Server is a homeserver under load. It is safe for concurrent use.
type Server struct {
	Base    string // the base URL, without a slash at its end
	client  *http.Client
	timeout time.Duration
}

// Open returns the server at a base URL and does not ask it anything yet. It
// is an error if the load may not go there.
func Open(base string, options Options) (*Server, error) {
	target, err := CheckTarget(base, options.Owned)
	if err != nil {
		return nil, err
	}
	if options.Timeout == 0 {
		options.Timeout = time.Minute
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	if !options.Owned {
		dialer.Control = onlyLoopback
	}
	return &Server{
		Base: strings.TrimSuffix(target.String(), "/"), timeout: options.Timeout,
		client: &http.Client{
			// A redirect would load somebody that nobody named.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			// No proxy of the environment either: it would be measured too.
			Transport: &http.Transport{
				DialContext: dialer.DialContext, MaxIdleConns: idleConnections, MaxIdleConnsPerHost: idleConnections,
				IdleConnTimeout: time.Minute, DisableCompression: true, ForceAttemptHTTP2: true,
				TLSClientConfig: &tls.Config{RootCAs: options.Roots, MinVersion: tls.VersionTLS12},
			},
		},
	}, nil
}

// Close gives up the connections that no request holds.
func (s *Server) Close() { s.client.CloseIdleConnections() }

// Ready asks which versions of the specification the server speaks, which
// every server answers to anybody.
func (s *Server) Ready(ctx context.Context) error {
	_, err := s.do(ctx, request{method: http.MethodGet, path: "/_matrix/client/versions"})
	return err
}

// request is one call of the client API.
type request struct {
	method, path string
	token        string // of the user that asks, "" for nobody
	body         []byte // JSON unless contentType says otherwise, nil for none
	contentType  string
	patience     time.Duration
	maxBytes     int64
}

// do sends a request and returns the body of the answer. Any status but 200 is
// a [*Fault].
func (s *Server) do(ctx context.Context, r request) ([]byte, error) {
	if r.maxBytes == 0 {
		r.maxBytes = maxAnswer
	}
	run := ctx
	ctx, cancel := context.WithTimeout(run, s.timeout+r.patience)
	defer cancel()
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, s.Base+r.path, body)
	if err != nil {
		return nil, err
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	} else if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, lost(run, err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, r.maxBytes+1))
	switch {
	case err != nil:
		return nil, lost(run, err)
	case int64(len(raw)) > r.maxBytes:
		return nil, &Fault{Cause: "answer too long", Detail: fmt.Sprintf("%s %s: more than %d bytes", r.method, req.URL.Path, r.maxBytes)}
	case resp.StatusCode != http.StatusOK:
		return nil, refused(resp, raw)
	}
	return raw, nil
}

// api joins segments of a path below the client API, each escaped.
func api(segments ...string) string {
	var b strings.Builder
	b.WriteString("/_matrix/client/v3")
	for _, segment := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(segment))
	}
	return b.String()
}
