package config

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"beffroi/matrix"
)

// mistake is what is wrong with one setting.
type mistake struct {
	key string
	err error
}

// Check returns every mistake at once, each with the key it is about. [Load]
// has checked already; it is for a Config that a program made.
func (c *Config) Check() error {
	var errs []error
	for _, m := range c.mistakes() {
		errs = append(errs, fmt.Errorf("%s: %w", m.key, m.err))
	}
	return errors.Join(errs...)
}

// checker collects mistakes.
type checker struct{ found []mistake }

func (k *checker) bad(key, format string, args ...any) {
	k.found = append(k.found, mistake{key, fmt.Errorf(format, args...)})
}

// oneOf notes a value that is none of the words.
func (k *checker) oneOf(key, value string, words ...string) {
	if !slices.Contains(words, value) {
		k.bad(key, "%q is none of %v", value, words)
	}
}

// The bounds of the settings that are numbers.
const (
	minMemory        Size = 8 << 20 // below it nothing stays cached long enough to be read twice
	minTimeout            = time.Second
	maxTimeout            = 10 * time.Minute // a join of the largest room
	minRetention          = time.Hour        // how exactly the server knows the age of a message
	minInterval           = time.Second
	minValidity           = 70 * 24 * time.Hour // the first mail goes out 60 days before the end
	minTokenLifetime      = time.Minute         // a refresh is a commit
)

func (c *Config) mistakes() []mistake {
	var k checker
	if _, err := matrix.ParseServerName(string(c.ServerName)); err != nil {
		k.bad("server_name", "%q is not a server name", c.ServerName)
	}
	if c.Data == "" {
		k.bad("data", "is empty")
	}
	if isPostgres(c.Database) {
		if _, err := url.Parse(c.Database); err != nil {
			k.bad("database", "is not a URL") // the error would show the password
		}
	}
	if c.PublicURL != "" {
		k.url("public_url", c.PublicURL)
	}
	if c.Memory != 0 && c.Memory < minMemory {
		k.bad("memory", "must be 0 or at least %s", minMemory)
	}
	if _, err := c.RoomVersion.Rules(); c.RoomVersion != "" && err != nil {
		k.bad("room_version", "%q is not a version of rooms that this server knows", c.RoomVersion)
	}
	if c.PolicyImpact < 1 || c.PolicyImpact > 100 {
		k.bad("policy_impact", "is a percentage, 1 to 100")
	}
	c.checkPolicyFeed(&k)
	c.checkListeners(&k)
	c.checkFederation(&k)
	c.checkMail(&k)
	c.checkRetention(&k)
	c.checkMedia(&k)
	c.checkSupport(&k)
	if c.Validity.Period != 0 && c.Validity.Period < minValidity {
		k.bad("validity.period", "must be 0 or at least %s", minValidity)
	}
	if c.Validity.DeactivateAfter < 0 {
		k.bad("validity.deactivate_after", "must not be negative")
	}
	if c.Sessions.TokenLifetime < minTokenLifetime {
		k.bad("sessions.token_lifetime", "must be at least %s", minTokenLifetime)
	}
	if c.Registration.Secret != "" && !c.Development {
		k.bad("registration.secret", "is only allowed with development")
	}
	k.oneOf("log.format", c.Log.Format, "text", "json")
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	return k.found
}

func (k *checker) url(key, value string) {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		k.bad(key, "%q is not an http:// or https:// URL", value)
	}
}

func (c *Config) checkPolicyFeed(k *checker) {
	f := &c.PolicyFeed
	if f.URL != "" {
		k.url("policy_feed.url", f.URL)
	}
	if f.URL != "" && f.Issuer == "" {
		k.bad("policy_feed.issuer", "is missing: policy_feed.url is set")
	}
	if (f.Issuer == "") != (len(f.Keys) == 0) {
		k.bad("policy_feed.keys", "policy_feed.issuer and policy_feed.keys belong together")
	}
	if f.Interval < minInterval {
		k.bad("policy_feed.interval", "must be at least %s", minInterval)
	}
}

func (c *Config) checkListeners(k *checker) {
	seen := make(map[string]string)
	for _, l := range []struct {
		key, address string
		optional     bool
	}{
		{"client.listen", c.Client.Listen, false},
		{"federation.listen", c.Federation.Listen, false},
		{"metrics.listen", c.Metrics.Listen, true},
	} {
		if l.address == "" && l.optional {
			continue
		}
		host, port, err := net.SplitHostPort(l.address)
		if _, numErr := strconv.ParseUint(port, 10, 16); err != nil || numErr != nil {
			k.bad(l.key, "%q is not an address such as 127.0.0.1:8008", l.address)
			continue
		}
		if c.Development && !isLoopback(host) {
			k.bad(l.key, "%q is not a loopback address, and development listens on nothing else", l.address)
		}
		if other := seen[l.address]; other != "" && port != "0" {
			k.bad(l.key, "%s is the address of %s already", l.address, other)
		}
		seen[l.address] = l.key
	}
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback() || host == "localhost"
}

func (c *Config) checkFederation(k *checker) {
	f := &c.Federation
	if f.Proxy != "" {
		k.url("federation.proxy", f.Proxy)
	}
	if f.Timeout < minTimeout || f.Timeout > maxTimeout {
		k.bad("federation.timeout", "must be between %s and %s", minTimeout, maxTimeout)
	}
	if f.MutualTLS && (c.TrustCA == "" || c.TLS.Cert == "") {
		k.bad("federation.mutual_tls", "needs trust_ca and a certificate under tls")
	}
	if c.TLS.Cert != "" && c.TLS.Key == "" {
		k.bad("tls.key", "is missing: tls.cert is set")
	}
	if c.TLS.Key != "" && c.TLS.Cert == "" {
		k.bad("tls.cert", "is missing: tls.key is set")
	}
}

func (c *Config) checkMail(k *checker) {
	m := &c.SMTP
	k.oneOf("smtp.tls", m.TLS, SMTPStartTLS, SMTPImplicit, SMTPPlain)
	if m.Port < 1 || m.Port > 65535 {
		k.bad("smtp.port", "%d is not a port", m.Port)
	}
	if m.Host == "" {
		return
	}
	if _, err := mail.ParseAddress(m.From); err != nil {
		k.bad("smtp.from", "%q is not an e-mail address", m.From)
	}
	if (m.Username == "") != (m.PasswordFile == "") {
		k.bad("smtp.password_file", "smtp.username and smtp.password_file belong together")
	}
	if m.Username != "" && m.TLS == SMTPPlain && !isLoopback(m.Host) {
		k.bad("smtp.tls", "no password is sent to %s in the clear", m.Host)
	}
}

func (c *Config) checkSupport(k *checker) {
	if c.FederationAddress != "" {
		if _, err := matrix.ParseServerName(string(c.FederationAddress)); err != nil {
			k.bad("federation_address", "%q is not a host, with or without a port", c.FederationAddress)
		}
	}
	if c.Support.Page != "" {
		k.url("support.page", c.Support.Page)
	}
	for _, at := range []struct {
		key   string
		email string
		user  matrix.UserID
	}{{"admin", c.Support.AdminEmail, c.Support.AdminUser}, {"security", c.Support.SecurityEmail, c.Support.SecurityUser}} {
		if at.email != "" {
			if a, err := mail.ParseAddress(at.email); err != nil || a.Address != at.email {
				k.bad("support."+at.key+"_email", "%q is not an e-mail address", at.email)
			}
		}
		if at.user != "" {
			if _, err := matrix.ParseUserID(string(at.user)); err != nil {
				k.bad("support."+at.key+"_user", "%q is not a user ID", at.user)
			}
		}
	}
}

func (c *Config) checkRetention(k *checker) {
	p := c.Retention
	for _, at := range []struct {
		key  string
		time time.Duration
	}{{"default", p.Default}, {"min", p.Min}, {"max", p.Max}} {
		if at.time != 0 && at.time < minRetention {
			k.bad("retention."+at.key, "must be 0 or at least %s", minRetention)
		}
	}
	if p.Max > 0 && p.Min > p.Max {
		k.bad("retention.min", "is more than retention.max")
	}
}
