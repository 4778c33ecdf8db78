package client_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"beffroi/federation/client"
	"beffroi/matrix"
	"beffroi/matrix/signing"
)

// peer starts a server named peer.example that answers with handler, and a
// client that speaks with it.
func peer(t *testing.T, handler http.HandlerFunc, change func(*client.Options)) *client.Client {
	t.Helper()
	n := &network{listens: map[string]bool{"9.1.1.1:8448": true}, names: []string{"peer.example"}, handler: handler}
	n.start(t)
	return n.client(t, func(o *client.Options) {
		o.Resolver = map[matrix.ServerName]string{"peer.example": "9.1.1.1:8448"}
		if change != nil {
			change(o)
		}
	})
}

func TestRequestsAreSigned(t *testing.T) {
	t.Parallel()
	key, err := signing.NewKey("self.example", "7")
	if err != nil {
		t.Fatal(err)
	}
	c := peer(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if len(body) == 0 {
			body = nil
		}
		x, err := signing.ParseXMatrix(r.Header.Get("Authorization"))
		if err != nil {
			t.Error(err)
		}
		if x.Destination != "peer.example" {
			t.Errorf("destination is %q", x.Destination)
		}
		if err := signing.VerifyRequest(x, r.Method, r.RequestURI, "peer.example", body, key.Public()); err != nil {
			t.Errorf("%s %s: %v", r.Method, r.RequestURI, err)
		}
		_, _ = fmt.Fprintf(w, `{"room_id":"!r:x","servers":["x","not a name"],"event":{},"uri":%q}`, r.RequestURI)
	}, func(o *client.Options) { o.Key = key })
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"make_join": func() error {
			_, _, err := c.MakeMembership(ctx, "make_join", "peer.example", "!a/b:x", "@é ü:self.example", []matrix.RoomVersion{"10", "12"})
			return err
		},
		"v3 event ID": func() error {
			_, err := c.EventAuth(ctx, "peer.example", "!r:x", "$a/+b")
			return err
		},
		"body": func() error {
			_, err := c.SendTransaction(ctx, "peer.example", "t 1", []json.RawMessage{[]byte(`{"a":"<&>\u2028"}`)}, nil)
			return err
		},
		"empty body": func() error { _, err := c.UserKeysQuery(ctx, "peer.example", struct{}{}); return err },
		"directory": func() error {
			room, servers, err := c.QueryDirectory(ctx, "peer.example", "#ä&b=c:peer.example")
			if room != "!r:x" || len(servers) != 1 {
				t.Errorf("directory answer is %q, %q", room, servers)
			}
			return err
		},
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestErrorsOfPeers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status     int
		body       string
		wantStatus int
		wantCode   string
	}{
		"error":                {404, `{"errcode":"M_NOT_FOUND","error":"gone"}`, 404, "M_NOT_FOUND"},
		"incompatible version": {400, `{"errcode":"M_INCOMPATIBLE_ROOM_VERSION","room_version":"3"}`, 400, "M_INCOMPATIBLE_ROOM_VERSION"},
		"rate limit":           {429, `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":7}`, 429, "M_LIMIT_EXCEEDED"},
		"session code":         {403, `{"errcode":"M_UNKNOWN_TOKEN","soft_logout":false}`, 403, "M_UNKNOWN"},
		"unauthorised":         {401, `{"errcode":"M_UNAUTHORIZED"}`, 502, "M_UNAUTHORIZED"},
		"page of a proxy":      {502, `<html>`, 502, "M_UNKNOWN"},
		"redirect":             {302, ``, 502, "M_UNKNOWN"},
		"other success":        {204, ``, 502, "M_UNKNOWN"},
		"strange code":         {400, `{"errcode":"M\nX"}`, 400, "M_UNKNOWN"},
		"wrong types":          {400, `{"errcode":7,"error":[]}`, 400, "M_UNKNOWN"},
		"huge":                 {400, `{"errcode":"M_FORBIDDEN","error":"` + strings.Repeat("é", 100000) + `"}`, 400, "M_UNKNOWN"},
		"not JSON":             {200, `{"a":`, 502, "M_BAD_JSON"},
		"not an object":        {200, `[]`, 502, "M_BAD_JSON"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := peer(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "https://peer.example/elsewhere")
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}, nil)
			_, err := c.QueryProfile(t.Context(), "peer.example", "@a:peer.example", "")
			got, ok := errors.AsType[*matrix.Error](err)
			if !ok || got.Status != test.wantStatus || got.Code != test.wantCode || len(got.Text) > 600 {
				t.Errorf("error is %#v, want %d %s", err, test.wantStatus, test.wantCode)
			}
			if client.Denied(err) {
				t.Error("a refusal of the peer counts as one of ours")
			}
			if ok && got.Fields["soft_logout"] != nil {
				t.Error("soft_logout came through")
			}
		})
	}
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	forever := func(w http.ResponseWriter, piece string) {
		for {
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
		}
	}
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	tests := map[string]struct {
		answer http.HandlerFunc
		code   string // "" where it must be unreachable
	}{
		"endless string": {func(w http.ResponseWriter, _ *http.Request) { forever(w, `{"a":"`+strings.Repeat("x", 1<<16)) }, "M_TOO_LARGE"},
		"gzip bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, `{"a":"`)
			zeros := strings.Repeat("0", 1<<20)
			for range 1024 {
				if _, err := io.WriteString(z, zeros); err != nil {
					return
				}
			}
		}, "M_TOO_LARGE"},
		"slow answer": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"a":`)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-stuck:
			case <-r.Context().Done():
			}
		}, ""},
		"no answer": {func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-stuck:
			case <-r.Context().Done():
			}
		}, ""},
		"endless header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 100<<10))
		}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := 2 * time.Second
			if test.code != "" {
				timeout = time.Minute // the length is what ends it
			}
			c := peer(t, test.answer, func(o *client.Options) { o.Timeout = timeout })
			_, err := c.QueryProfile(t.Context(), "peer.example", "@a:peer.example", "")
			if _, unreachable := errors.AsType[*client.UnreachableError](err); unreachable != (test.code == "") {
				t.Errorf("error is %v", err)
			}
			if test.code != "" && !matrix.IsCode(err, test.code) {
				t.Errorf("error is %v, want %s", err, test.code)
			}
		})
	}
}

func TestSendJoinReadsAStream(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body  string
		state int
		event bool
		code  string // of the error
	}{
		"good":            {`{"origin":"x","state":[{"a":1},{"b":2}],"auth_chain":[{}],"event":{"c":3},"unknown":[[1]]}`, 2, true, ""},
		"null lists":      {`{"state":null,"auth_chain":[],"event":null}`, 0, false, ""},
		"too many events": {`{"state":[` + strings.Repeat("{},", 200000) + `{}]}`, 0, false, "M_TOO_LARGE"},
		"event too long":  {`{"state":["` + strings.Repeat("x", 600<<10) + `"]}`, 0, false, "M_TOO_LARGE"},
		"not a list":      {`{"state":{}}`, 0, false, "M_BAD_JSON"},
		"ends early":      {`{"state":[{}`, 0, false, "M_BAD_JSON"},
		"more after it":   {`{"state":[]} {}`, 0, false, "M_BAD_JSON"},
		"an array":        {`[]`, 0, false, "M_BAD_JSON"},
		"deep":            {`{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, 0, false, "M_BAD_JSON"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := peer(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPut || r.URL.Path != "/_matrix/federation/v2/send_join/!r:x/$e" {
					t.Errorf("%s %s", r.Method, r.URL.Path)
				}
				_, _ = io.WriteString(w, test.body)
			}, nil)
			answer, err := c.SendJoin(t.Context(), "peer.example", "!r:x", "$e", []byte(`{}`))
			if test.code != "" {
				if !matrix.IsCode(err, test.code) {
					t.Errorf("error is %v, want %s", err, test.code)
				}
				return
			}
			if err != nil || len(answer.State) != test.state || (answer.Event != nil) != test.event {
				t.Errorf("%+v, %v", answer, err)
			}
		})
	}
}

func TestRequestToThisServerIsRefused(t *testing.T) {
	t.Parallel()
	c := peer(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") }, func(o *client.Options) {
		o.Resolver["self.example"] = "9.1.1.1:8448"
	})
	if _, err := c.Version(t.Context(), "Self.Example"); err == nil {
		t.Error("no error")
	}
}

func TestProxy(t *testing.T) {
	t.Parallel()
	n := &network{names: []string{"peer.example"}, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"server":{"name":%q}}`, r.Host)
	})}
	n.start(t)
	tests := map[string]struct {
		destination matrix.ServerName
		password    string
		want        string // what the proxy is asked for, "" for nothing
		ok          bool
	}{
		"by name":         {"peer.example:8448", "secret", "peer.example:8448", true},
		"wrong password":  {"peer.example:8448", "guess", "peer.example:8448", false},
		"private address": {"10.0.0.1", "secret", "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan string, 4) // one for each connection the client may try
			proxy := startProxy(t, n.server.Listener.Addr().String(), "user", "secret", asked)
			c := n.client(t, func(o *client.Options) {
				o.Dial = nil
				o.Proxy = &url.URL{Scheme: "http", Host: proxy, User: url.UserPassword("user", test.password)}
			})
			_, err := c.Version(t.Context(), test.destination)
			if (err == nil) != test.ok {
				t.Errorf("error is %v", err)
			}
			got := ""
			select {
			case got = <-asked:
			default:
			}
			if got != test.want {
				t.Errorf("the proxy was asked for %q, want %q", got, test.want)
			}
		})
	}
}

// startProxy starts a proxy that leads everybody to backend.
func startProxy(t *testing.T, backend, user, password string, asked chan<- string) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go tunnel(t.Context(), conn, backend, user, password, asked)
		}
	}()
	return listener.Addr().String()
}

func tunnel(ctx context.Context, conn net.Conn, backend, user, password string, asked chan<- string) {
	defer func() { _ = conn.Close() }()
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil || req.Method != http.MethodConnect {
		return
	}
	asked <- req.RequestURI
	req.Header.Set("Authorization", req.Header.Get("Proxy-Authorization"))
	if u, p, ok := req.BasicAuth(); !ok || u != user || p != password {
		_, _ = io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		return
	}
	var d net.Dialer
	back, err := d.DialContext(ctx, "tcp", backend)
	if err != nil {
		return
	}
	defer func() { _ = back.Close() }()
	_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() { _, _ = io.Copy(back, conn) }()
	_, _ = io.Copy(conn, back)
}
