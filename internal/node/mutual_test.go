package node

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"

	"beffroi/config"
	"beffroi/internal/testkit"
)

func TestMutualTLSAdmitsOnlyItsAuthority(t *testing.T) {
	t.Parallel()
	ours, theirs := testkit.NewCA(t), testkit.NewCA(t)
	c := config.Default()
	c.TrustCA = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(c.TrustCA, ours.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	own, err := loadCertificate(ours.Files(t, "self.example"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		mutual bool
		show   []tls.Certificate
		max    uint16
		good   bool
	}{
		"off":                   {good: true},
		"on, none shown":        {mutual: true},
		"on, one of ours":       {mutual: true, show: []tls.Certificate{ours.Certificate(t, "peer.example")}, good: true},
		"on, one of a stranger": {mutual: true, show: []tls.Certificate{theirs.Certificate(t, "peer.example")}},
		"TLS 1.1":               {max: tls.VersionTLS11},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := c
			c.Federation.MutualTLS = test.mutual
			settings, err := federationTLS(&c, own)
			if err != nil {
				t.Fatal(err)
			}
			here, there := net.Pipe()
			done := make(chan error, 1)
			go func() {
				server := tls.Server(there, settings)
				err := server.Handshake()
				_ = there.Close()
				done <- err
			}()
			client := tls.Client(here, &tls.Config{RootCAs: ours.Pool(), ServerName: "self.example", Certificates: test.show,
				MinVersion: tls.VersionTLS10, MaxVersion: test.max})
			if client.Handshake() == nil {
				_, _ = client.Read(make([]byte, 1)) // in TLS 1.3 the server says no after the handshake
			}
			_ = here.Close()
			if err := <-done; (err == nil) != test.good {
				t.Errorf("handshake: %v", err)
			}
		})
	}
}
