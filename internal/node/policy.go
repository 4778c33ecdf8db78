package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"beffroi/config"
	"beffroi/federation/keyring"
	"beffroi/matrix"
	"beffroi/policystore"
)

func (n *Node) openPolicy(ctx context.Context) error {
	c := &n.config
	identity, err := keyring.LoadOrCreate(c.SigningKeyFile(), c.ServerName)
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	trust, err := PolicyTrust(c)
	if err != nil {
		return err
	}
	feed := policystore.Feed{URL: c.PolicyFeed.URL, Interval: c.PolicyFeed.Interval, Ask: n.askPeer}
	if feed.Client, err = feedClient(c); err != nil {
		return err
	}
	if c.Development && c.Policy == "" {
		feed.URL = "" // everything is admitted, whatever a feed says
	}
	n.Policy, err = policystore.Open(ctx, policystore.Options{
		DB: n.DB, Self: c.ServerName, File: c.Policy, Folder: c.Data, Development: c.Development,
		Impact: c.PolicyImpact, Trust: trust, Feed: feed, Sign: &identity.Current, Publish: c.PolicyFeed.Publish,
		Log: n.log, Metrics: n.registry,
	})
	return err
}

// PolicyTrust returns whose bundles a configuration believes, nil for nobody's.
func PolicyTrust(c *config.Config) (*policystore.Trust, error) {
	if c.PolicyFeed.Issuer == "" {
		return nil, nil
	}
	trust, err := policystore.ParseTrust(c.PolicyFeed.Issuer, c.PolicyFeed.Keys)
	if err != nil {
		return nil, fmt.Errorf("policy_feed.keys: %w", err)
	}
	return trust, nil
}

// feedTimeout bounds a look at the feed.
const feedTimeout = time.Minute

// feedClient fetches from the place that the operator named, wherever that is,
// and follows it nowhere else.
func feedClient(c *config.Config) (*http.Client, error) {
	roots, err := readRoots(c.TrustCA)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, ForceAttemptHTTP2: true}
	if c.Federation.Proxy != "" {
		proxy, err := url.Parse(c.Federation.Proxy)
		if err != nil {
			return nil, fmt.Errorf("federation.proxy: %w", err)
		}
		transport.Proxy = http.ProxyURL(proxy)
	}
	return &http.Client{Transport: transport, Timeout: feedTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}, nil
}

// askPeer asks another server which documents it enforces.
func (n *Node) askPeer(ctx context.Context, peer matrix.ServerName) (out policystore.Enforced, err error) {
	err = n.remote.Do(ctx, peer, http.MethodGet, policystore.VersionPath, nil, &out)
	return out, err
}
