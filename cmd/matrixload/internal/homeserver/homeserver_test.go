package homeserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// serve answers every request by its method and path with fn.
func serve(t *testing.T, fn http.HandlerFunc) *Server {
	t.Helper()
	remote := httptest.NewServer(fn)
	t.Cleanup(remote.Close)
	s, err := Open(remote.URL+"/", Options{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestRegister(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ flows, err string }{
		"open":        {flows: `[{"stages":["m.login.dummy"]}]`},
		"one of many": {flows: `[{"stages":["m.login.email.identity"]},{"stages":["m.login.dummy"]}]`},
		"closed":      {flows: `[{"stages":["m.login.email.identity","m.login.dummy"]}]`, err: "registration is not open"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				var form struct {
					Username string
					Auth     struct{ Type, Session string }
				}
				if err := json.NewDecoder(r.Body).Decode(&form); err != nil || r.URL.Path != "/_matrix/client/v3/register" {
					t.Errorf("%s: %v", r.URL.Path, err)
				}
				if form.Auth.Type != "m.login.dummy" || form.Auth.Session != "s" {
					w.WriteHeader(http.StatusUnauthorized)
					fmt.Fprintf(w, `{"session":"s","flows":%s}`, tc.flows)
					return
				}
				fmt.Fprintf(w, `{"user_id":"@%s:one.example:8448","access_token":"t"}`, form.Username)
			})
			u, err := s.Register(t.Context(), "alice", "secret")
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil || u.ID != "@alice:one.example:8448" || u.Host() != "one.example:8448" {
				t.Errorf("got %+v, %v", u, err)
			}
		})
	}
}

func TestRegisterWithSecret(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			io.WriteString(w, `{"nonce":"thisisanonce"}`)
			return
		}
		var form struct{ Nonce, Username, Password, Mac string }
		_ = json.NewDecoder(r.Body).Decode(&form)
		// Made with: printf 'thisisanonce\0pepper_roni\0pizza\0notadmin' | openssl sha1 -hmac shared_secret
		if form.Nonce != "thisisanonce" || form.Mac != "cf2391885316861a8e3871bfdcd223ab3913221d" {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"errcode":"M_FORBIDDEN","error":%q}`, form.Mac)
			return
		}
		io.WriteString(w, `{"user_id":"@pepper_roni:one.example","access_token":"t"}`)
	})
	if _, err := s.RegisterWithSecret(t.Context(), "shared_secret", "pepper_roni", "pizza"); err != nil {
		t.Error(err)
	}
	if _, err := s.RegisterWithSecret(t.Context(), "another", "pepper_roni", "pizza"); err == nil {
		t.Error("a wrong secret makes accounts")
	}
}

func TestFaultsHaveKinds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		kind   string
	}{
		"rate limit": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTooManyRequests)
			io.WriteString(w, `{"errcode":"M_LIMIT_EXCEEDED","error":"slower","retry_after_ms":1500}`)
		}, "429 M_LIMIT_EXCEEDED"},
		"proxy": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			io.WriteString(w, "<html>")
		}, "502 without JSON"},
		"made-up code": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"errcode":"M_%s"}`, strings.Repeat("X", maxCode))
		}, "403"},
		"nothing said": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{}`) }, "200 without event_id"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}, "302 without JSON"},
		"cut off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "connection closed"},
		"endless": {func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, maxAnswer+1)) }, "answer too long"},
		"half a header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			w.Write([]byte("{"))
		}, "connection closed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := &User{Server: serve(t, tc.answer), ID: "@a:one.example", token: "t"}
			_, err := u.Send(t.Context(), "!r:one.example", "1", []byte("{}"))
			fault, ok := errors.AsType[*Fault](err)
			if !ok || fault.Cause != tc.kind {
				t.Errorf("got %v, want the kind %q", err, tc.kind)
			}
			if len(fault.Detail) > maxDetail+50 {
				t.Errorf("a detail of %d bytes", len(fault.Detail))
			}
			if name == "rate limit" && fault.RetryAfter != 1500*time.Millisecond {
				t.Errorf("retry after %v", fault.RetryAfter)
			}
		})
	}
}

func TestTimeoutIsAFaultAndCancelIsNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		expired, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		<-expired.Done()
		if err := lost(t.Context(), expired.Err()); err.(*Fault).Kind() != "timeout" {
			t.Errorf("got %v", err)
		}
		if err := lost(expired, expired.Err()); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := lost(ended, ended.Err()); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestRequestsOfAUser(t *testing.T) {
	t.Parallel()
	var got []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.RequestURI())
		if r.Header.Get("Authorization") != "Bearer t" {
			t.Error("no token")
		}
		io.WriteString(w, `{"room_id":"!r:one.example","event_id":"$e","next_batch":"n","chunk":[]}`)
	})
	u := &User{Server: s, ID: "@a:one.example", token: "t"}
	ctx := t.Context()
	for _, ask := range []func() error{
		func() error { _, err := u.CreateRoom(ctx, "a room"); return err },
		func() error { return u.Join(ctx, "!r/x:one.example", "two.example") },
		func() error { _, err := u.Send(ctx, "!r:one.example", "7", []byte("{}")); return err },
		func() error { return u.Type(ctx, "!r:one.example") },
		func() error { return u.Read(ctx, "!r:one.example", "$e/x") },
		func() error {
			_, _, err := u.Sync(ctx, Sync{Since: "s", Wait: time.Second, Filter: `{"a":1}`})
			return err
		},
		func() error { _, err := u.History(ctx, "!r:one.example", 5); return err },
	} {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	const base = " /_matrix/client/v3/"
	want := []string{
		"POST" + base + "createRoom",
		"POST" + base + "join/%21r%2Fx:one.example?server_name=two.example&via=two.example",
		"PUT" + base + "rooms/%21r:one.example/send/m.room.message/7",
		"PUT" + base + "rooms/%21r:one.example/typing/@a:one.example",
		"POST" + base + "rooms/%21r:one.example/receipt/m.read/$e%2Fx",
		"GET" + base + "sync?filter=%7B%22a%22%3A1%7D&since=s&timeout=1000",
		"GET" + base + "rooms/%21r:one.example/messages?dir=b&limit=5",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
