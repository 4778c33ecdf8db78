package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"beffroi/config"
)

// federationTLS returns how the federation listener shakes hands.
func federationTLS(c *config.Config, own *certificate) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: own.get, NextProtos: []string{"h2", "http/1.1"}}
	if !c.Federation.MutualTLS {
		return t, nil
	}
	raw, err := os.ReadFile(c.TrustCA)
	if err != nil {
		return nil, fmt.Errorf("trust_ca: %w", err)
	}
	roots := x509.NewCertPool() // not those of the system: any web site has a certificate of theirs
	if !roots.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("trust_ca: %s holds no certificate in PEM", c.TrustCA)
	}
	t.ClientAuth, t.ClientCAs = tls.RequireAnyClientCert, roots
	t.VerifyConnection = func(state tls.ConnectionState) error { return verifyClient(state.PeerCertificates, roots) }
	return t, nil
}

// verifyClient checks the certificate that a server shows as a client. It is
// the one that it serves with, and need not say that it is for clients too.
func verifyClient(chain []*x509.Certificate, roots *x509.CertPool) error {
	if len(chain) == 0 {
		return errors.New("a certificate is needed")
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}
