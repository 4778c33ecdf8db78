package policystore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// Feed is where the national document comes from, and how peers are asked.
type Feed struct {
	URL      string        // of the bundle; empty is no feed
	Interval time.Duration // between two looks; zero is 5 minutes
	Client   *http.Client  // nil is http.DefaultClient
	// Ask asks a peer which documents it enforces; nil asks nobody.
	Ask AskFunc
	// AskEvery is the time between two rounds; zero is 10 minutes.
	AskEvery time.Duration
}

// feed is a Feed that is followed.
type feed struct {
	Feed
	etag     string       // of the one who follows
	answered atomic.Int64 // milliseconds; 0: never
}

const (
	feedInterval = 5 * time.Minute
	// feedTimeout bounds one look: the largest bundle at 300 KB a second.
	feedTimeout = 30 * time.Second
)

func (f *feed) age(now time.Time) float64 {
	ms := f.answered.Load()
	if ms == 0 {
		return -1
	}
	return now.Sub(time.UnixMilli(ms)).Seconds()
}

// followFeed looks at the feed until ctx ends. A feed that is down changes
// nothing: the floor stays in force, and its own dates say for how long.
func (s *Store) followFeed(ctx context.Context) {
	interval := s.feed.Interval
	if interval <= 0 {
		interval = feedInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last := ""
	for {
		err := s.LookAtFeed(ctx)
		text := ""
		if err != nil && ctx.Err() == nil {
			text = err.Error()
		}
		if text != "" && text != last {
			s.log.Warn("the policy feed brought nothing; the floor stays as it is", "url", s.feed.URL, "err", err)
		}
		last = text
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// LookAtFeed fetches the bundle of the feed now and puts it in force if it is
// new. It must not run twice at once.
func (s *Store) LookAtFeed(ctx context.Context) error {
	raw, etag, err := s.feed.fetch(ctx)
	if err != nil {
		s.metrics.feed.WithLabelValues("unreachable").Inc()
		return err
	}
	s.feed.answered.Store(s.now().UnixMilli())
	if raw == nil {
		s.metrics.feed.WithLabelValues("unchanged").Inc()
		return nil
	}
	before := s.Active().Floor.Version
	if err := s.Import(ctx, raw, Editor{Actor: ActorSystem, Way: WayFeed}); err != nil {
		s.metrics.feed.WithLabelValues("refused").Inc()
		return err
	}
	s.feed.etag = etag
	if s.Active().Floor.Version == before {
		s.metrics.feed.WithLabelValues("unchanged").Inc()
		return nil
	}
	s.metrics.feed.WithLabelValues("new").Inc()
	return nil
}

// fetch returns the bundle, or nil where it is the one fetched last.
func (f *feed) fetch(ctx context.Context) (raw []byte, etag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, feedTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return nil, "", fmt.Errorf("policy feed: %w", err)
	}
	if f.etag != "" {
		req.Header.Set("If-None-Match", f.etag)
	}
	client := f.Client
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, "", fmt.Errorf("policy feed: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	switch res.StatusCode {
	case http.StatusNotModified:
		return nil, "", nil
	case http.StatusOK:
	default:
		return nil, "", fmt.Errorf("policy feed: it answers with status %d", res.StatusCode)
	}
	raw, err = io.ReadAll(io.LimitReader(res.Body, MaxBundleBytes+1))
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("policy feed: %w", err)
	case len(raw) == 0:
		return nil, "", errors.New("policy feed: its answer is empty")
	}
	return raw, res.Header.Get("ETag"), nil
}
