// Package client sends signed requests to other homeservers, and finds out
// where they are.
//
// The policy is asked about a server before its name is resolved. Every
// address is checked after it was resolved and before it is dialled, again
// after each redirect. Everything a peer sends has a limit.
package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/policy"
)

const (
	// defaultTimeout is how long one request may take where nothing is set.
	defaultTimeout = 30 * time.Second
	// joinTimeout is for answers that carry the state of a room: a big room
	// took a public server 37 seconds to send, and slow lines exist.
	joinTimeout = 5 * time.Minute
	// maxConnsPerServer bounds what one peer can make us hold open.
	maxConnsPerServer = 16
	// maxIdleConns bounds the connections that are kept for the next request.
	maxIdleConns = 512
	// idleTimeout is below the minute after which many proxies hang up.
	idleTimeout = 50 * time.Second
	// maxHeaderBytes bounds the header of an answer.
	maxHeaderBytes = 64 << 10
)

// Gate decides with which servers this one speaks.
type Gate interface {
	// Check returns nil, or the refusal as a *matrix.Error.
	Check(ctx context.Context, req *policy.Request) error
}

// Options are what a client needs.
type Options struct {
	// Name is the name of this server, and Key what it signs with.
	Name matrix.ServerName
	Key  signing.Key
	// Gate is asked federate_out before the name of a server is resolved.
	Gate Gate
	// RootCAs are the certificate authorities; nil means those of the system.
	RootCAs *x509.CertPool
	// AllowRanges are the private and special address ranges that servers may have.
	AllowRanges []netip.Prefix
	// Resolver has the address, host:port, of servers that are not to be looked
	// up. Their certificate must still be for their name. An IP address in it
	// may be private: the operator has written it down.
	Resolver map[matrix.ServerName]string
	// Proxy is an http:// or https:// proxy that all connections go through, by
	// CONNECT; nil means none. The proxy then resolves names and has to refuse
	// private addresses; what is checked here are addresses in server names.
	Proxy *url.URL
	// Timeout is how long one request may take; 0 means 30 s. Requests that
	// carry the state of a room may take 5 min or ten times this, whichever is less.
	Timeout time.Duration
	// Certificate returns what is presented to servers that ask for a
	// certificate; nil means none.
	Certificate func() (*tls.Certificate, error)
	// DNS resolves names; nil means the resolver of the system.
	DNS *net.Resolver
	// Dial opens connections to addresses that were checked; nil means the
	// network. Tests put a network of their own here.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Metrics takes the metrics of the client; nil means none.
	Metrics prometheus.Registerer
}

// Client sends requests to other homeservers. It is safe for concurrent use.
type Client struct {
	name      matrix.ServerName
	key       signing.Key
	gate      Gate
	timeout   time.Duration
	http      http.Client // never follows redirects
	transport *http.Transport
	dialer    *dialer
	wellKnown *wellKnownCache
	metrics   *metrics
}

// New returns a client.
func New(o Options) *Client {
	d := newDialer(o)
	transport := &http.Transport{
		DialTLSContext:         d.dialTLS,
		DialContext:            refusePlain,
		MaxConnsPerHost:        maxConnsPerServer,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	c := &Client{
		name: o.Name, key: o.Key, gate: o.Gate, timeout: o.Timeout,
		transport: transport,
		dialer:    d,
		wellKnown: newWellKnownCache(transport),
		metrics:   newMetrics(o.Metrics),
	}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	c.http = http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a signature is for one server and one path
	}}
	return c
}

// Close closes the connections that wait for the next request.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Name returns the name of this server.
func (c *Client) Name() matrix.ServerName { return c.name }
