package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"beffroi/matrix"
)

const (
	// maxWellKnownBytes is far beyond a server name.
	maxWellKnownBytes = 50 << 10
	// maxRedirects bounds a chain of redirects, and so a loop.
	maxRedirects = 10
	// wellKnownTimeout is short: a host that has only a homeserver may leave
	// port 443 unanswered, and each first request waits for it.
	wellKnownTimeout = 8 * time.Second
	// The specification recommends the three times; below the least one a
	// server that forbids caching would cost a request for each of ours.
	defaultWellKnownAge = 24 * time.Hour
	maxWellKnownAge     = 48 * time.Hour
	minWellKnownAge     = 5 * time.Minute
	// Failures are asked for again after twice the time of the one before.
	minWellKnownFailure = 30 * time.Second
	maxWellKnownFailure = time.Hour
	// maxWellKnownHosts bounds the memory of the cache.
	maxWellKnownHosts = 20000
)

// wellKnownCache keeps what hosts say at /.well-known/matrix/server.
type wellKnownCache struct {
	http   http.Client
	now    func() time.Time
	flight singleflight.Group

	mu    sync.Mutex
	hosts map[string]delegation // guarded by mu
}

// delegation is the answer of one host.
type delegation struct {
	to       matrix.ServerName // "" when there is none
	fetched  time.Time         // when to was valid
	until    time.Time         // asked again after
	failures int
}

func newWellKnownCache(transport *http.Transport) *wellKnownCache {
	return &wellKnownCache{
		http: http.Client{Transport: transport, CheckRedirect: checkRedirect},
		now:  time.Now, hosts: make(map[string]delegation),
	}
}

// checkRedirect bounds redirects. Their addresses are checked when they are
// dialled, like all others.
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case req.URL.Scheme != "https":
		return errors.New("redirect to what is not https")
	case req.URL.Port() == discoverPort:
		return errors.New("redirect to port 0")
	}
	return nil
}

// lookUp returns the server name that host delegates to, or "" if it does not.
// The only errors are those of ctx.
func (w *wellKnownCache) lookUp(ctx context.Context, host string) (matrix.ServerName, error) {
	w.mu.Lock()
	known, ok := w.hosts[host]
	w.mu.Unlock()
	if ok && w.now().Before(known.until) {
		return known.to, nil
	}
	done := w.flight.DoChan(host, func() (any, error) {
		// It serves everybody who waits, so it does not end with the first of them.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wellKnownTimeout)
		defer cancel()
		return w.refresh(ctx, host, known), nil
	})
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case result := <-done:
		return result.Val.(matrix.ServerName), nil
	}
}

func (w *wellKnownCache) refresh(ctx context.Context, host string, old delegation) matrix.ServerName {
	to, age, err := w.fetch(ctx, host)
	now := w.now()
	fresh := delegation{to: to, fetched: now, until: now.Add(age)}
	if err != nil {
		wait := min(minWellKnownFailure<<min(old.failures, 16), maxWellKnownFailure)
		fresh = delegation{until: now.Add(wait), failures: old.failures + 1}
		if old.to != "" && now.Sub(old.fetched) < maxWellKnownAge {
			fresh.to, fresh.fetched = old.to, old.fetched // a web server that is down does not cut the server off
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.makeRoom(now)
	w.hosts[host] = fresh
	return fresh.to
}

// makeRoom drops what has expired, or else anything.
func (w *wellKnownCache) makeRoom(now time.Time) {
	if len(w.hosts) < maxWellKnownHosts {
		return
	}
	for host, d := range w.hosts {
		if now.After(d.until) {
			delete(w.hosts, host)
		}
	}
	for host := range w.hosts {
		if len(w.hosts) < maxWellKnownHosts {
			return
		}
		delete(w.hosts, host)
	}
}

// fetch asks a host.
//
// https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
func (w *wellKnownCache) fetch(ctx context.Context, host string) (to matrix.ServerName, age time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/.well-known/matrix/server", nil)
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("User-Agent", "Beffroi")
	res, err := w.http.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return "", 0, fmt.Errorf("well-known of %s: %s", host, res.Status)
	}
	raw, err := io.ReadAll(&limitedReader{r: res.Body, left: maxWellKnownBytes})
	if err != nil {
		return "", 0, err
	}
	var answer map[string]json.RawMessage // a struct would take "M.Server" too
	var name string
	if err := json.Unmarshal(raw, &answer); err != nil {
		return "", 0, err
	}
	if err := json.Unmarshal(answer["m.server"], &name); err != nil {
		return "", 0, err
	}
	to, err = matrix.ParseServerName(name)
	return to, cacheAge(res.Header, w.now()), err
}

// cacheAge returns for how long an answer may be kept.
func cacheAge(h http.Header, now time.Time) time.Duration {
	age := defaultWellKnownAge
	if expires, err := http.ParseTime(h.Get("Expires")); err == nil {
		age = expires.Sub(now)
	}
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return minWellKnownAge
		case "max-age":
			seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32)
			if err == nil {
				age = time.Duration(seconds) * time.Second
			}
		}
	}
	return min(max(age, minWellKnownAge), maxWellKnownAge)
}
