package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"beffroi/config"
	"beffroi/internal/node"
	"beffroi/internal/testkit"
	"beffroi/matrix"
)

// names are the servers that federate with each other.
var names = []matrix.ServerName{"one.example", "two.example"}

// startServers starts whole servers on an engine that federate over TLS, and
// returns the base URLs of their clients and the URL of the first one's
// metrics. They end with the test.
func startServers(t testing.TB, engine string) (urls []string, metrics string) {
	t.Helper()
	folder := t.TempDir()
	certFile, keyFile := selfSigned(t, folder)
	var listeners []node.Listeners
	resolver := ""
	for _, name := range names {
		l := node.Listeners{Client: listen(t), Federation: listen(t), Metrics: listen(t)}
		listeners = append(listeners, l)
		resolver += fmt.Sprintf("%s %s\n", name, l.Federation.Addr())
	}
	resolverFile := filepath.Join(folder, "resolver")
	if err := os.WriteFile(resolverFile, []byte(resolver), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		c := config.Default()
		c.ServerName, c.Data, c.Development, c.Database = name, filepath.Join(folder, string(name)), true, testkit.DSN(t, engine)
		c.Registration.Secret = registrationSecret
		c.TLS.Cert, c.TLS.Key, c.TrustCA, c.Federation.Resolver = certFile, keyFile, certFile, resolverFile
		c.Client.Listen, c.Federation.Listen = listeners[i].Client.Addr().String(), listeners[i].Federation.Addr().String()
		c.Metrics.Listen = listeners[i].Metrics.Addr().String()
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		run(t, c, listeners[i])
		urls = append(urls, "http://"+c.Client.Listen)
	}
	return urls, "http://" + listeners[0].Metrics.Addr().String() + "/metrics"
}

const registrationSecret = "the secret of a test"

func run(t testing.TB, c config.Config, l node.Listeners) {
	t.Helper()
	n, err := node.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- n.Run(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// selfSigned writes a certificate for all names, which is its own authority.
func selfSigned(t testing.TB, folder string) (certFile, keyFile string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		template.DNSNames = append(template.DNSNames, string(name))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
}

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // servers warn that they are for tests
	os.Exit(m.Run())
}
