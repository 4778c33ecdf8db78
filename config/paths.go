package config

import (
	"path/filepath"
	"strings"
)

// DatabaseSource returns the database to open: a postgres:// URL, or the path
// of an SQLite file.
func (c *Config) DatabaseSource() string {
	if c.Database != "" {
		return c.Database
	}
	return filepath.Join(c.Data, "beffroi.db")
}

// IsPostgres reports whether the database is PostgreSQL.
func (c *Config) IsPostgres() bool { return isPostgres(c.Database) }

func isPostgres(source string) bool {
	return strings.HasPrefix(source, "postgres://") || strings.HasPrefix(source, "postgresql://")
}

// PolicyFile returns the file of the policy document.
func (c *Config) PolicyFile() string {
	if c.Policy != "" {
		return c.Policy
	}
	return filepath.Join(c.Data, "policy.yaml")
}

// SigningKeyFile returns the file of the key that signs events and requests.
func (c *Config) SigningKeyFile() string { return filepath.Join(c.Data, "signing.key") }

// TLSFiles returns the certificate and the key of the federation listener.
// own reports that they are the self-signed ones in the data folder.
func (c *Config) TLSFiles() (cert, key string, own bool) {
	if c.TLS.Cert != "" {
		return c.TLS.Cert, c.TLS.Key, false
	}
	return filepath.Join(c.Data, "tls.crt"), filepath.Join(c.Data, "tls.key"), true
}

// MediaDir returns the folder of uploaded files.
func (c *Config) MediaDir() string { return filepath.Join(c.Data, "media") }

// ClientURL returns the base URL that clients are told to use, without a
// slash at its end. In development it is the address of the listener.
func (c *Config) ClientURL() string {
	switch {
	case c.PublicURL != "":
		return strings.TrimSuffix(c.PublicURL, "/")
	case c.Development:
		return "http://" + c.Client.Listen
	}
	return "https://" + c.ServerName.Host()
}
