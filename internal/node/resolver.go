package node

import (
	"bufio"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"

	"beffroi/matrix"
)

// readResolver reads the file of addresses for networks without DNS: a server
// name and an address with its port in a line, # before comments.
func readResolver(file string) (map[matrix.ServerName]string, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("federation.resolver: %w", err)
	}
	defer func() { _ = f.Close() }()
	out := make(map[matrix.ServerName]string)
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("%s:%d: a line is a server name and an address", file, n)
		}
		name, err := matrix.ParseServerName(fields[0])
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		if _, _, err := net.SplitHostPort(fields[1]); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		out[name.Normalise()] = fields[1]
	}
	return out, lines.Err()
}

// readRoots returns the certificate authorities that federation trusts: those
// of the system and those of a file. nil stands for the system's alone.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("trust_ca: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without authorities of its own
	}
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("trust_ca: %s holds no certificate in PEM", file)
	}
	return pool, nil
}
