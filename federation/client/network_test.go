package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"beffroi/federation/client"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/policy"
)

// open is a gate that admits all but the servers named.
type gate struct{ denied []matrix.ServerName }

func (g gate) Check(_ context.Context, req *policy.Request) error {
	if req.Action != policy.ActionFederateOut || slices.Contains(g.denied, req.Server) {
		return matrix.Forbidden("%s is not a partner", req.Server)
	}
	return nil
}

// network is a small Internet: a DNS server with records, and one HTTPS
// server that has every address at which something listens.
type network struct {
	ca      *testkit.CA
	records map[string][]string // "name. TYPE" to the data of records
	listens map[string]bool     // ip:port
	names   []string            // for which the HTTPS server has certificates
	handler http.Handler

	server   *httptest.Server
	resolver *net.Resolver

	mu      sync.Mutex
	dialled []string // guarded by mu
	asked   []string // guarded by mu: names
}

func (n *network) start(t *testing.T) {
	t.Helper()
	n.ca = testkit.NewCA(t)
	n.server = httptest.NewUnstartedServer(n.handler)
	n.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	certificate := n.ca.Certificate(t, n.names...)
	n.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	n.server.StartTLS()
	t.Cleanup(n.server.Close)

	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	server := &dns.Server{PacketConn: conn, Handler: n, NotifyStartedFunc: func() { close(started) }}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = server.ActivateAndServe()
	}()
	<-started
	t.Cleanup(func() {
		_ = server.Shutdown()
		<-stopped
	})
	n.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// ServeDNS answers from the records.
func (n *network) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	q := query.Question[0]
	n.mu.Lock()
	n.asked = append(n.asked, q.Name)
	n.mu.Unlock()
	reply := new(dns.Msg)
	reply.SetReply(query)
	for _, data := range n.records[strings.ToLower(q.Name)+" "+dns.TypeToString[q.Qtype]] {
		rr, err := dns.NewRR(q.Name + " 60 IN " + dns.TypeToString[q.Qtype] + " " + data)
		if err == nil {
			reply.Answer = append(reply.Answer, rr)
		}
	}
	if len(reply.Answer) == 0 {
		reply.Rcode = dns.RcodeNameError
		for key := range n.records {
			if strings.HasPrefix(key, strings.ToLower(q.Name)+" ") {
				reply.Rcode = dns.RcodeSuccess // there is the name, with other types
			}
		}
	}
	_ = w.WriteMsg(reply)
}

// dial leads to the HTTPS server from each address that listens.
func (n *network) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	n.dialled = append(n.dialled, addr)
	n.mu.Unlock()
	if !n.listens[addr] {
		return nil, errors.New("connection refused: " + addr)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, n.server.Listener.Addr().String())
}

func (n *network) client(t *testing.T, change func(*client.Options)) *client.Client {
	t.Helper()
	key, err := signing.NewKey("self.example", "1")
	if err != nil {
		t.Fatal(err)
	}
	o := client.Options{Name: "self.example", Key: key, Gate: gate{}, RootCAs: n.ca.Pool(), DNS: n.resolver, Dial: n.dial}
	if change != nil {
		change(&o)
	}
	c := client.New(o)
	t.Cleanup(c.Close)
	return c
}
