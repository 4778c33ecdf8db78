package httpx_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"beffroi/internal/httpx"
)

func TestClientAddr(t *testing.T) {
	t.Parallel()
	rt := httpx.NewRouter(httpx.Options{TrustedProxies: []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"),
	}})
	rt.Handle("GET /", httpx.JSON(httpx.Anyone,
		func(_ context.Context, _ httpx.None, r *http.Request, _ httpx.None) (string, error) {
			return httpx.ClientAddr(r).String(), nil
		}))
	for name, tc := range map[string]struct {
		remote    string
		forwarded []string
		want      string
	}{
		"direct":              {"192.0.2.1:5", nil, "192.0.2.1"},
		"mapped":              {"[::ffff:192.0.2.1]:5", nil, "192.0.2.1"},
		"untrusted says":      {"192.0.2.1:5", []string{"198.51.100.7"}, "192.0.2.1"},
		"proxy":               {"10.0.0.1:5", []string{"198.51.100.7"}, "198.51.100.7"},
		"two proxies":         {"10.0.0.1:5", []string{"198.51.100.7, fd00::1"}, "198.51.100.7"},
		"two headers":         {"10.0.0.1:5", []string{"198.51.100.7", "10.0.0.2"}, "198.51.100.7"},
		"forged before":       {"10.0.0.1:5", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		"proxy says nothing":  {"10.0.0.1:5", nil, "10.0.0.1"},
		"proxy says nonsense": {"10.0.0.1:5", []string{"unknown"}, "10.0.0.1"},
		"endless":             {"10.0.0.1:5", []string{"198.51.100.7" + strings.Repeat(",10.0.0.2", 16)}, "10.0.0.2"},
		"no address":          {"@", nil, "invalid IP"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = tc.remote
			r.Header["X-Forwarded-For"] = tc.forwarded
			w := httptest.NewRecorder()
			rt.ServeHTTP(w, r)
			if w.Body.String() != `"`+tc.want+`"` {
				t.Errorf("%s, want %s", w.Body, tc.want)
			}
		})
	}
}
