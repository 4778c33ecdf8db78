package preview_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"

	"beffroi/federation/client"
	"beffroi/matrix"
	"beffroi/media/preview"
)

// shelf keeps pictures that begin like one.
type shelf struct{ kept atomic.Int64 }

func (s *shelf) Picture(_ context.Context, _ matrix.UserID, _ string, body io.Reader) (preview.Picture, error) {
	raw, err := io.ReadAll(body)
	if err != nil || !bytes.HasPrefix(raw, []byte("PIC")) {
		return preview.Picture{}, errors.New("no picture")
	}
	s.kept.Add(1)
	return preview.Picture{MXC: matrix.MXC{Server: "here.example", ID: "pic"}, Size: int64(len(raw)), ContentType: "image/png", Width: 2, Height: 3}, nil
}

// web is pages at public addresses, which lead to a server on loopback.
func web(t *testing.T, pages map[string]string) (*preview.Server, *shelf, *atomic.Int64) {
	t.Helper()
	asked := new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		content, ok := pages[r.Host+r.URL.Path]
		kind, body, _ := strings.Cut(content, "|")
		switch {
		case !ok:
			http.NotFound(w, r)
		case kind == "to":
			http.Redirect(w, r, body, http.StatusFound)
		default:
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, body)
		}
	}))
	t.Cleanup(server.Close)
	guard := &client.Guard{DNS: nil, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, server.Listener.Addr().String())
	}, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	pictures := new(shelf)
	s := preview.New(preview.Options{Dial: guard.DialContext, Pictures: pictures})
	t.Cleanup(s.Close)
	return s, pictures, asked
}

func TestPages(t *testing.T) {
	t.Parallel()
	const at = "192.0.2.1"
	s, _, _ := web(t, map[string]string{
		at + "/og": `text/html; charset=utf-8|<html><head><title>T</title><meta property="og:title" content="Bonjour &amp; bienvenue">` +
			`<meta property="og:description" content="a` + "\u202e" + `b"><meta property="og:image" content="/pic"><meta property="og:image:width" content="9999"></head>`,
		at + "/plain":    `text/html|<title> A  title </title><meta name=description content="What it is"><body><meta property="og:title" content="late">`,
		at + "/latin":    "text/html; charset=iso-8859-1|<title>\xe9t\xe9</title>",
		at + "/embed":    `text/html|<link rel=alternate type=application/json+oembed href="/oembed.json"><body>`,
		at + "/badimage": `text/html|<title>x</title><meta property="og:image" content="http://192.0.2.1/plain">`,
		at + "/inside":   `text/html|<title>x</title><meta property="og:image" content="http://127.0.0.1/pic">`,
		at + "/pic":      "image/png|PICTURE", at + "/oembed.json": `application/json|{"title":"Video","provider_name":"Tube","thumbnail_url":"/pic"}`,
		at + "/pdf": "application/pdf|%PDF", at + "/moved": "to|/plain", at + "/svg": "image/svg+xml|<svg/>",
	})
	for path, want := range map[string]map[string]string{
		"/og":       {"og:title": "Bonjour & bienvenue", "og:description": "ab", "og:image": "mxc://here.example/pic", "og:image:width": "2", "matrix:image:size": "7", "og:image:type": "image/png"},
		"/plain":    {"og:title": "A title", "og:description": "What it is"},
		"/latin":    {"og:title": "été"},
		"/embed":    {"og:title": "Video", "og:site_name": "Tube", "og:image": "mxc://here.example/pic"},
		"/badimage": {"og:title": "x", "og:image": ""},
		"/inside":   {"og:title": "x", "og:image": ""},
		"/pic":      {"og:image": "mxc://here.example/pic", "og:title": "pic"},
		"/pdf":      {"og:title": ""},
		"/moved":    {"og:title": "A title"},
		"/svg":      {"og:image": ""},
	} {
		raw, err := s.Preview(t.Context(), "@a:here.example", "http://"+at+path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		for name, value := range want {
			if got := gjson.GetBytes(raw, gjson.Escape(name)).String(); got != value {
				t.Errorf("%s: %s is %q, want %q", path, name, got, value)
			}
		}
	}
}

func TestAddressesThatAreNotAsked(t *testing.T) {
	t.Parallel()
	pages := map[string]string{"192.0.2.1/in": "to|http://127.0.0.1/x", "192.0.2.1/cloud": "to|http://169.254.169.254/latest", "192.0.2.1/file": "to|file:///etc/passwd",
		"192.0.2.1/loop": "to|/loop", "192.0.2.1/port": "to|http://192.0.2.1:22/"}
	s, _, _ := web(t, pages)
	for address, status := range map[string]int{
		"": 400, "x": 400, "file:///etc/passwd": 400, "ftp://192.0.2.1/": 400, "http://": 400, "http://a:b@192.0.2.1/": 400,
		"http://192.0.2.1:22/": 400, "http://192.0.2.1/" + strings.Repeat("x", 3000): 400,
		"http://127.0.0.1/": 502, "http://10.0.0.1/": 502, "http://[::1]/": 502, "http://169.254.169.254/latest/meta-data": 502,
		"http://[::ffff:127.0.0.1]/": 502, "http://192.0.2.1/in": 502, "http://192.0.2.1/cloud": 502, "http://192.0.2.1/file": 502,
		"http://192.0.2.1/loop": 502, "http://192.0.2.1/port": 502, "http://192.0.2.1/nothing": 502,
	} {
		if raw, err := s.Preview(t.Context(), "@a:here.example", address); matrix.Answer(err).Status != status || err == nil {
			t.Errorf("%s: %s %v", address, raw, err)
		}
	}
}

func TestPreviewIsKept(t *testing.T) {
	t.Parallel()
	s, _, asked := web(t, map[string]string{"192.0.2.1/a": "text/html|<title>A</title>"})
	for i := range 3 {
		if _, err := s.Preview(t.Context(), "@a:here.example", fmt.Sprintf("http://192.0.2.1/a#%d", i)); err != nil {
			t.Error(err)
		}
		if _, err := s.Preview(t.Context(), "@a:here.example", "http://192.0.2.1/none"); err == nil {
			t.Error("something is there")
		}
	}
	if asked.Load() != 2 {
		t.Errorf("asked %d times", asked.Load())
	}
}

func TestLongPages(t *testing.T) {
	t.Parallel()
	s, _, _ := web(t, map[string]string{
		"192.0.2.1/long":  "text/html|<title>" + strings.Repeat("x", 5<<20) + "</title>",
		"192.0.2.1/many":  "text/html|" + strings.Repeat(`<meta property="og:x" content="y">`, 100_000),
		"192.0.2.1/names": "text/html|" + manyNames(),
	})
	for _, path := range []string{"long", "many", "names"} {
		raw, err := s.Preview(t.Context(), "@a:here.example", "http://192.0.2.1/"+path)
		if err != nil || len(raw) > 64<<10 {
			t.Errorf("%s: %d bytes, %v", path, len(raw), err)
		}
	}
}

func manyNames() string {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, `<meta property="og:x%d" content="%s">`, i, strings.Repeat("y", 100))
	}
	return b.String()
}
