package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"beffroi/matrix"
)

const (
	// federationPort is the port of servers that name no other.
	federationPort = "8448"
	// discoverPort stands in the URL of a request for "the port that DNS
	// says". Nothing can listen on it, so no server name needs it.
	discoverPort = "0"
	// maxTargets is how many targets of an SRV record are tried.
	maxTargets = 8
	// connectTimeout bounds all that together: the transport lets a dial go on
	// when the request that wanted it has ended.
	connectTimeout = 30 * time.Second
	// handshakeTimeout bounds the TLS handshake, and the answer of a proxy.
	handshakeTimeout = 10 * time.Second
)

// dialer opens TLS connections. The address it is given is that of a server
// name after delegation; DNS is asked here and not before each request,
// because SRV records change neither the Host header nor the certificate.
type dialer struct {
	guard  Guard
	static map[string]string // host:port or host:0, in lower case, to address
	proxy  *url.URL
	tls    *tls.Config
}

func newDialer(o Options) *dialer {
	d := &dialer{
		guard:  Guard{Allow: o.AllowRanges, DNS: o.DNS, Dial: o.Dial},
		static: make(map[string]string, len(o.Resolver)),
		proxy:  o.Proxy,
		tls: &tls.Config{
			RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
			ClientSessionCache: tls.NewLRUClientSessionCache(maxIdleConns),
		},
	}
	for name, addr := range o.Resolver {
		d.static[dialAddr(name)] = addr
	}
	if o.Certificate != nil {
		d.tls.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.Certificate() }
	}
	return d
}

// dialAddr returns the host:port under which a server name is dialled.
func dialAddr(name matrix.ServerName) string {
	host, port := string(name.Normalise()), name.Port()
	if port == "" {
		if port = discoverPort; name.IsIP() {
			port = federationPort
		}
		return host + ":" + port
	}
	return host
}

// refusePlain stands where a transport would open a connection without TLS.
func refusePlain(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("servers are spoken with over TLS only")
}

// dialTLS connects to a server. The certificate must be for the host of addr,
// whatever DNS makes of it.
//
// https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
func (d *dialer) dialTLS(ctx context.Context, _, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if static, ok := d.static[addr]; ok {
		return d.dialOne(ctx, host, static, true)
	}
	targets, srvErr := []string{addr}, error(nil)
	if port == discoverPort {
		if targets, srvErr = d.targets(ctx, host); len(targets) == 0 {
			return nil, srvErr
		}
	}
	errs := make([]error, 0, len(targets)+1)
	for _, target := range targets {
		conn, err := d.dialOne(ctx, host, target, false)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(append(errs, srvErr)...)
}

// targets returns where the SRV records of a host lead, or the host and the
// federation port where there are none. The error says that they could not be
// read, for the case that the guess does not work.
//
// The resolver of the system will do for SRV: TTLs do not matter, since DNS is
// asked for each new connection and connections are kept.
func (d *dialer) targets(ctx context.Context, host string) ([]string, error) {
	var failed error
	for _, service := range []string{"matrix-fed", "matrix"} { // the second is deprecated
		_, records, err := d.guard.resolver().LookupSRV(ctx, service, "tcp", absolute(host))
		if notFound, ok := errors.AsType[*net.DNSError](err); err != nil && !(ok && notFound.IsNotFound) {
			failed = errors.Join(failed, err)
		}
		if len(records) == 0 {
			continue
		}
		if records[0].Target == "." {
			return nil, fmt.Errorf("%s says that it has no federation service", host)
		}
		targets := make([]string, 0, len(records))
		for _, r := range records[:min(len(records), maxTargets)] {
			targets = append(targets, net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))))
		}
		return targets, nil
	}
	return []string{net.JoinHostPort(host, federationPort)}, failed
}

// absolute ends a host with a dot, so that no search list is applied to it.
func absolute(host string) string {
	if strings.HasSuffix(host, ".") || !strings.Contains(host, ".") { // localhost is in no DNS
		return host
	}
	return host + "."
}

// dialOne connects to one target and shakes hands for host.
func (d *dialer) dialOne(ctx context.Context, host, target string, trusted bool) (net.Conn, error) {
	conn, err := d.connect(ctx, target, trusted)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	config := d.tls.Clone()
	config.ServerName = host // of an IP address no SNI is sent
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", host, err)
	}
	return secure, nil
}

// connect opens a plain connection to target, by way of the proxy if there is one.
func (d *dialer) connect(ctx context.Context, target string, trusted bool) (net.Conn, error) {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	literal, err := netip.ParseAddr(host)
	isLiteral := err == nil
	switch {
	case d.proxy != nil:
		if isLiteral && !trusted {
			if err := d.guard.Check(literal); err != nil {
				return nil, err
			}
		}
		return d.connectByProxy(ctx, target)
	case isLiteral && trusted:
		return d.guard.dial(ctx, target)
	}
	return d.guard.DialContext(ctx, "tcp", target)
}

// connectByProxy asks the proxy for a tunnel. The address of the proxy is the
// operator's choice and not checked.
func (d *dialer) connectByProxy(ctx context.Context, target string) (_ net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	port := d.proxy.Port()
	if port == "" {
		if port = "80"; d.proxy.Scheme == "https" {
			port = "443"
		}
	}
	addr := net.JoinHostPort(d.proxy.Hostname(), port)
	conn, err := d.dialProxy(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("dial proxy: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			_ = conn.Close()
		}
	}()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target, Header: http.Header{}}
	if user := d.proxy.User; user != nil {
		password, _ := user.Password()
		req.Header.Set("Proxy-Authorization",
			"Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := req.Write(conn); err != nil {
		return nil, fmt.Errorf("ask proxy: %w", err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), req) // nothing comes after it: in TLS the client speaks first
	if err != nil {
		return nil, fmt.Errorf("read answer of proxy: %w", err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the proxy answered %s for %s", res.Status, target)
	}
	return conn, nil
}

func (d *dialer) dialProxy(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := d.guard.dial(ctx, addr)
	if err != nil || d.proxy.Scheme != "https" {
		return conn, err
	}
	config := d.tls.Clone()
	config.ServerName = d.proxy.Hostname()
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}
