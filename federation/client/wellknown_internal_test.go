package client

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestCacheAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"nothing":           {http.Header{}, 24 * time.Hour},
		"max-age":           {http.Header{"Cache-Control": {"public, Max-Age=7200"}}, 2 * time.Hour},
		"two headers":       {http.Header{"Cache-Control": {"public", "max-age=7200"}}, 2 * time.Hour},
		"too long":          {http.Header{"Cache-Control": {"max-age=31536000"}}, 48 * time.Hour},
		"overflow":          {http.Header{"Cache-Control": {"max-age=99999999999999999999"}}, 24 * time.Hour},
		"too short":         {http.Header{"Cache-Control": {"max-age=0"}}, 5 * time.Minute},
		"negative":          {http.Header{"Cache-Control": {"max-age=-5"}}, 5 * time.Minute},
		"no-store":          {http.Header{"Cache-Control": {"no-store, max-age=7200"}}, 5 * time.Minute},
		"nonsense":          {http.Header{"Cache-Control": {"max-age=soon"}}, 24 * time.Hour},
		"expires":           {http.Header{"Expires": {now.Add(3 * time.Hour).Format(http.TimeFormat)}}, 3 * time.Hour},
		"expired":           {http.Header{"Expires": {now.Add(-time.Hour).Format(http.TimeFormat)}}, 5 * time.Minute},
		"expires malformed": {http.Header{"Expires": {"0"}}, 24 * time.Hour},
	}
	for name, test := range tests {
		if got := cacheAge(test.header, now); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestFailedWellKnownIsAskedForLessAndLess(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	asked, valid := 0, false
	w := newWellKnownCache(nil)
	w.now = func() time.Time { return now }
	w.http.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
		asked++
		if !valid {
			return nil, fmt.Errorf("connection refused")
		}
		rec := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Cache-Control": {"max-age=600"}}}
		rec.Body = body(`{"m.server":"b.example"}`)
		return rec, nil
	})
	var waits []time.Duration
	for range 10 {
		before := asked
		waited := time.Duration(0)
		for asked == before {
			if to, err := w.lookUp(t.Context(), "a.example"); to != "" || err != nil {
				t.Fatal(to, err)
			}
			now, waited = now.Add(10*time.Second), waited+10*time.Second
		}
		waits = append(waits, waited)
	}
	if waits[1] >= time.Minute || waits[5] < 8*time.Minute || waits[9] < 59*time.Minute || waits[9] > 61*time.Minute {
		t.Errorf("waited %v", waits)
	}
	valid, now = true, now.Add(time.Hour)
	if to, _ := w.lookUp(t.Context(), "a.example"); to != "b.example" {
		t.Errorf("delegated to %q", to)
	}
	valid, now = false, now.Add(11*time.Minute) // a web server that is down for a while changes nothing
	if to, _ := w.lookUp(t.Context(), "a.example"); to != "b.example" {
		t.Errorf("delegated to %q", to)
	}
	now = now.Add(49 * time.Hour)
	if to, _ := w.lookUp(t.Context(), "a.example"); to != "" {
		t.Errorf("delegated to %q after two days", to)
	}
}

func TestWellKnownCacheIsBounded(t *testing.T) {
	t.Parallel()
	w := newWellKnownCache(nil)
	w.http.Transport = roundTripper(func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("no") })
	for i := range maxWellKnownHosts + 100 {
		if _, err := w.lookUp(t.Context(), fmt.Sprintf("h%d.example", i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.hosts) > maxWellKnownHosts {
		t.Errorf("%d hosts are kept", len(w.hosts))
	}
}
