package federation_test

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/media"
)

// uploads keeps a file of a user of a host.
func (h *host) uploads(t *testing.T, user matrix.UserID, contentType, name string, content []byte) matrix.MXC {
	t.Helper()
	mxc, err := h.media.Upload(t.Context(), media.Upload{User: user, ContentType: contentType, Name: name,
		Size: int64(len(content)), Body: bytes.NewReader(content)})
	must(t, err)
	return mxc
}

// reads returns a file as a host has it.
func (h *host) reads(t *testing.T, mxc matrix.MXC) (*media.File, string, error) {
	t.Helper()
	f, err := h.media.Open(t.Context(), media.Query{MXC: mxc})
	if err != nil {
		return nil, "", err
	}
	content, err := io.ReadAll(f.Content)
	must(t, err)
	must(t, f.Content.Close())
	return f, string(content), nil
}

func TestFileOfAnotherServer(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			a, b := n.start(t, engine, one, ministries), n.start(t, engine, two, ministries)
			mxc := b.uploads(t, bob, "text/plain", "été.txt", []byte("from two"))
			f, content, err := a.reads(t, mxc)
			if err != nil || content != "from two" || f.ContentType != "text/plain" || f.Name != "été.txt" || f.Uploader != "" {
				t.Fatalf("%+v %q %v", f, content, err)
			}
			var picture bytes.Buffer
			must(t, png.Encode(&picture, image.NewRGBA(image.Rect(0, 0, 200, 200))))
			local := a.uploads(t, alice, "image/png", "", picture.Bytes())
			parts := a.signedBy(t, b, "/_matrix/federation/v1/media/thumbnail/"+local.ID+"?width=30&height=30&method=crop")
			if parts.Code != 200 || !strings.HasPrefix(parts.Header().Get("Content-Type"), "multipart/mixed; boundary=") ||
				!strings.Contains(parts.Body.String(), "Content-Type: application/json\r\n\r\n{}\r\n--") || !strings.Contains(parts.Body.String(), "Content-Type: image/png") {
				t.Errorf("thumbnail: %d %v %q", parts.Code, parts.Header(), parts.Body)
			}
			if got := a.signedBy(t, b, "/_matrix/federation/v1/media/download/nothing"); got.Code != 404 || !strings.Contains(got.Body.String(), "M_NOT_FOUND") {
				t.Errorf("a file that is not there: %d %s", got.Code, got.Body)
			}
			b.server.Close()
			if _, content, err = a.reads(t, mxc); err != nil || content != "from two" {
				t.Errorf("when the other server is away: %q %v", content, err)
			}
		})
	}
}

// teller answers like the server evil, which one fetches from.
func teller(t *testing.T, answer http.HandlerFunc) *host {
	t.Helper()
	n := newNetwork(t)
	n.serve(t, evil, answer)
	return n.start(t, "sqlite", one, ministries)
}

func inParts(w http.ResponseWriter, second string) {
	w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
	_, _ = fmt.Fprintf(w, "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n%s", second)
}

func TestHostileFiles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		status int
		code   string
	}{
		"too long": {func(w http.ResponseWriter, _ *http.Request) {
			inParts(w, "\r\n"+strings.Repeat("x", maxFile+1)+"\r\n--b--")
		}, 502, "M_TOO_LARGE"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			inParts(w, "\r\n")
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<16)); err != nil {
					return
				}
			}
		}, 502, "M_TOO_LARGE"},
		"endless header": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
			_, _ = io.WriteString(w, "--b\r\n")
			for i := 0; r.Context().Err() == nil; i++ {
				if _, err := fmt.Fprintf(w, "X-%d: %s\r\n", i, strings.Repeat("x", 1<<10)); err != nil {
					return
				}
			}
		}, 502, ""},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) { inParts(w, "\r\nhalf a fi") }, 502, ""},
		"one part": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
			_, _ = io.WriteString(w, "--b\r\n\r\n{}\r\n--b--")
		}, 502, ""},
		"no parts": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, 502, ""},
		"long metadata": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
			_, _ = io.WriteString(w, "--b\r\n\r\n"+strings.Repeat("x", 70<<10)+"\r\n--b\r\n\r\nfile\r\n--b--")
		}, 502, ""},
		"not there": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"errcode":"M_NOT_FOUND","error":"no"}`, http.StatusNotFound)
		}, 404, "M_NOT_FOUND"},
		"still to come": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"errcode":"M_NOT_YET_UPLOADED","error":"no"}`, http.StatusGatewayTimeout)
		}, 504, "M_NOT_YET_UPLOADED"},
		"its session": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"errcode":"M_UNKNOWN_TOKEN","error":"no"}`, http.StatusUnauthorized)
		}, 502, "M_UNKNOWN"},
		"elsewhere, plain": {func(w http.ResponseWriter, _ *http.Request) {
			inParts(w, "Location: http://evil.example/x\r\n\r\n\r\n--b--")
		}, 502, "M_UNKNOWN"},
		"on this machine": {func(w http.ResponseWriter, _ *http.Request) {
			inParts(w, "Location: https://127.0.0.1:22/x\r\n\r\n\r\n--b--")
		}, 502, "M_UNKNOWN"},
		"in the cloud": {func(w http.ResponseWriter, _ *http.Request) {
			inParts(w, "Location: https://169.254.169.254/latest\r\n\r\n\r\n--b--")
		}, 502, "M_UNKNOWN"},
		"a local file": {func(w http.ResponseWriter, _ *http.Request) {
			inParts(w, "Location: file:///etc/passwd\r\n\r\n\r\n--b--")
		}, 502, "M_UNKNOWN"},
		"with a password": {func(w http.ResponseWriter, _ *http.Request) {
			inParts(w, "Location: https://a:b@evil.example/\r\n\r\n\r\n--b--")
		}, 502, "M_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := teller(t, tc.answer)
			_, content, err := h.reads(t, matrix.MXC{Server: evil, ID: "abc"})
			if answer := matrix.Answer(err); answer.Status != tc.status || tc.code != "" && answer.Code != tc.code {
				t.Errorf("%q %v, want %d %s", content, err, tc.status, tc.code)
			}
		})
	}
}

func TestPeerThatLiesAboutItsFile(t *testing.T) {
	t.Parallel()
	h := teller(t, func(w http.ResponseWriter, _ *http.Request) {
		inParts(w, "Content-Type: image/png\r\nContent-Length: 3\r\nContent-Disposition: attachment; filename=\"../../x\\\"\u202egnp.html\"\r\n\r\n<script>\r\n--b--")
	})
	f, content, err := h.reads(t, matrix.MXC{Server: evil, ID: "abc"})
	if err != nil || content != "<script>" || f.ContentType != "image/png" || strings.ContainsAny(f.Name, "/\u202e") {
		t.Errorf("%+v %q %v", f, content, err)
	}
}

func TestOldPeerIsAskedTheOldWay(t *testing.T) {
	t.Parallel()
	var asked atomic.Value
	h := teller(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_matrix/federation/v1/media/") {
			http.Error(w, `{"errcode":"M_UNRECOGNIZED","error":"no"}`, http.StatusNotFound)
			return
		}
		asked.Store(r.URL.Path + "?" + r.URL.RawQuery + " " + r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "image/gif")
		_, _ = io.WriteString(w, "old")
	})
	f, content, err := h.reads(t, matrix.MXC{Server: evil, ID: "abc"})
	if err != nil || content != "old" || f.ContentType != "image/gif" {
		t.Fatalf("%q %v", content, err)
	}
	if got := asked.Load(); got != "/_matrix/media/v3/download/evil.example/abc?allow_redirect=true&allow_remote=false&timeout_ms=0 " {
		t.Errorf("asked %q", got)
	}
}

func TestFileIsFetchedOnceForAllWhoWant(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	begin := make(chan struct{})
	h := teller(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		<-begin
		inParts(w, "\r\nshared\r\n--b--")
	})
	var all sync.WaitGroup
	var got atomic.Int64
	for range 8 {
		all.Go(func() {
			if f, err := h.media.Open(t.Context(), media.Query{MXC: matrix.MXC{Server: evil, ID: "abc"}}); err == nil {
				got.Add(f.Size)
				_ = f.Content.Close()
			}
		})
	}
	time.AfterFunc(50*time.Millisecond, func() { close(begin) })
	all.Wait()
	if asked.Load() != 1 || got.Load() != 8*int64(len("shared")) {
		t.Errorf("asked %d times, and %d bytes came", asked.Load(), got.Load())
	}
}

func TestAbsenceIsRemembered(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	h := teller(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.Error(w, `{"errcode":"M_NOT_FOUND","error":"no"}`, http.StatusNotFound)
	})
	for range 3 {
		if _, _, err := h.reads(t, matrix.MXC{Server: evil, ID: "abc"}); !matrix.IsCode(err, "M_NOT_FOUND") {
			t.Error(err)
		}
	}
	if _, _, err := h.reads(t, matrix.MXC{Server: "stranger.example", ID: "abc"}); !matrix.IsCode(err, "M_FORBIDDEN") {
		t.Errorf("a server that the policy does not know: %v", err)
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

// signedBy asks a host as another one does.
func (h *host) signedBy(t *testing.T, by *host, path string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	header, err := signing.SignRequest(by.key, r.Method, r.URL.RequestURI(), h.name, nil)
	must(t, err)
	r.Header.Set("Authorization", header)
	w := httptest.NewRecorder()
	h.router.ServeHTTP(w, r)
	return w
}
