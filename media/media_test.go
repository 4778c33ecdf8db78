package media_test

import (
	"bytes"
	"context"
	"io"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/media"
	"beffroi/media/blobs"
	"beffroi/storage"
)

const alice, bob matrix.UserID = "@alice:here.example", "@bob:here.example"

// house is an owner of files with a clock that a test turns.
type house struct {
	*media.Server
	db    *storage.DB
	store media.Store
	late  atomic.Int64 // how far the clock was turned, in nanoseconds
}

func (h *house) now() time.Time { return time.Now().Add(time.Duration(h.late.Load())) }

// everywhere runs a test on every engine and store.
func everywhere(t *testing.T, fn func(t *testing.T, h *house), change ...func(*media.Options)) {
	t.Helper()
	for name, open := range map[string]func(*testing.T) media.Store{
		"folder": func(t *testing.T) media.Store {
			dir, err := blobs.NewDir(t.TempDir())
			must(t, err)
			return dir
		},
		"object store": func(t *testing.T) media.Store {
			backend := s3mem.New()
			must(t, backend.CreateBucket("files"))
			server := httptest.NewServer(gofakes3.New(backend).Server())
			t.Cleanup(server.Close)
			s3, err := blobs.NewS3(t.Context(), blobs.S3Options{Endpoint: server.URL, Bucket: "files", AccessKey: "a", SecretKey: "s", Region: "eu"})
			must(t, err)
			return s3
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
				h := &house{db: db, store: open(t)}
				o := media.Options{DB: db, ServerName: "here.example", Store: h.store, Folder: t.TempDir(), MaxUpload: 1 << 20, MaxRemote: 1 << 20, Now: h.now}
				for _, fn := range change {
					fn(&o)
				}
				var err error
				h.Server, err = media.New(o)
				must(t, err)
				fn(t, h)
			})
		})
	}
}

func (h *house) uploads(t *testing.T, user matrix.UserID, room matrix.RoomID, content string) matrix.MXC {
	t.Helper()
	mxc, err := h.Upload(t.Context(), media.Upload{User: user, Room: room, ContentType: "text/plain", Size: -1, Body: strings.NewReader(content)})
	must(t, err)
	return mxc
}

// has returns what a file has, "" where it is not served.
func (h *house) has(t *testing.T, mxc matrix.MXC) string {
	t.Helper()
	f, err := h.Open(t.Context(), media.Query{MXC: mxc})
	if matrix.IsCode(err, "M_NOT_FOUND") {
		return ""
	}
	must(t, err)
	content, err := io.ReadAll(f.Content)
	must(t, err)
	must(t, f.Content.Close())
	return string(content)
}

// kept counts what the store has.
func (h *house) kept(t *testing.T) (n int) {
	t.Helper()
	must(t, h.store.Each(t.Context(), func(string, time.Time) error { n++; return nil }))
	return n
}

// works runs the server until fn reports that it has done what is waited for.
func (h *house) works(t *testing.T, done func() bool) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatal("it was not done in time")
		case <-tick.C:
		}
	}
	stop()
	must(t, <-ended)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBytesAreKeptOnceAndGoWithTheLast(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, h *house) {
		a, b, other := h.uploads(t, alice, "", "same"), h.uploads(t, bob, "", "same"), h.uploads(t, bob, "", "other")
		if n := h.kept(t); n != 2 {
			t.Errorf("%d kept", n)
		}
		n, err := media.Purge(t.Context(), h.db, media.Selection{User: alice})
		if err != nil || n != 1 || h.has(t, a) != "" || h.has(t, b) != "same" {
			t.Errorf("purged %d: %v", n, err)
		}
		h.works(t, func() bool { return true })
		if h.has(t, b) != "same" {
			t.Error("the other file with the same bytes is gone")
		}
		_, err = media.Purge(t.Context(), h.db, media.Selection{MXC: b})
		must(t, err)
		h.works(t, func() bool { return h.kept(t) == 1 })
		if again := h.uploads(t, alice, "", "same"); h.has(t, again) != "same" || h.has(t, other) != "other" {
			t.Error("what came again is not there")
		}
		if _, err := media.Purge(t.Context(), h.db, media.Selection{}); !matrix.IsCode(err, "M_INVALID_PARAM") {
			t.Errorf("purge of nothing named: %v", err)
		}
	})
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, h *house) {
		a, b, safe := h.uploads(t, alice, "", "bad"), h.uploads(t, bob, "", "bad"), h.uploads(t, bob, "", "good")
		if n, err := media.Quarantine(t.Context(), h.db, media.Selection{MXC: a}, "claire"); err != nil || n != 2 {
			t.Errorf("%d hidden: %v", n, err)
		}
		again := h.uploads(t, bob, "", "bad")
		name, _, err := h.Reserve(t.Context(), bob, "")
		must(t, err)
		must(t, h.Fill(t.Context(), name, media.Upload{User: bob, Size: 3, Body: strings.NewReader("bad")}))
		for _, mxc := range []matrix.MXC{a, b, again, name} {
			if h.has(t, mxc) != "" {
				t.Errorf("%s is served", mxc)
			}
		}
		if h.has(t, safe) != "good" {
			t.Error("another file is hidden as well")
		}
		list, err := media.List(t.Context(), h.db, media.Selection{User: alice}, matrix.MXC{}, 10)
		if err != nil || len(list) != 1 || list[0].Quarantined != "claire" {
			t.Errorf("%+v %v", list, err)
		}
		if n, err := media.Release(t.Context(), h.db, media.Selection{MXC: a}); err != nil || n != 4 || h.has(t, again) != "bad" {
			t.Errorf("%d shown: %v", n, err)
		}
		if n, err := media.Protect(t.Context(), h.db, media.Selection{MXC: b}, true); err != nil || n != 1 {
			t.Errorf("%d protected: %v", n, err)
		}
		if _, err := media.Quarantine(t.Context(), h.db, media.Selection{User: bob}, "claire"); err != nil || h.has(t, b) != "bad" || h.has(t, again) != "" {
			t.Errorf("a protected file is hidden: %v", err)
		}
		if _, err := media.Purge(t.Context(), h.db, media.Selection{User: bob}); err != nil || h.has(t, b) != "bad" {
			t.Errorf("a protected file is removed: %v", err)
		}
	})
}

func TestUsage(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, h *house) {
		h.uploads(t, alice, "", "12345")
		h.uploads(t, alice, "", "12345")
		h.uploads(t, bob, "", "123")
		u, err := media.UsageOf(t.Context(), h.db, "HERE.example", 10)
		if err != nil || u.Local.Files != 3 || u.Local.Bytes != 13 || u.Stored.Files != 2 || u.Stored.Bytes != 8 || u.Remote.Files != 0 ||
			len(u.Largest) != 2 || u.Largest[0].User != alice || u.Largest[0].Bytes != 10 {
			t.Errorf("%+v %v", u, err)
		}
	})
}

func TestFilesOfARoom(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, h *house) {
		in, out := h.uploads(t, alice, "!room:here.example", "in the room"), h.uploads(t, alice, "", "elsewhere")
		list, err := media.List(t.Context(), h.db, media.Selection{Room: "!room:here.example"}, matrix.MXC{}, 10)
		if err != nil || len(list) != 1 || list[0].MXC != in {
			t.Errorf("%+v %v", list, err)
		}
		if n, err := media.Purge(t.Context(), h.db, media.Selection{Room: "!room:here.example"}); err != nil || n != 1 || h.has(t, in) != "" || h.has(t, out) == "" {
			t.Errorf("purged %d: %v", n, err)
		}
	})
}

func TestReservedNameExpires(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, h *house) {
		name, expires, err := h.Reserve(t.Context(), alice, "")
		must(t, err)
		h.late.Store(int64(time.Until(expires) + time.Second))
		if err := h.Fill(t.Context(), name, media.Upload{User: alice, Size: 1, Body: strings.NewReader("x")}); !matrix.IsCode(err, "M_NOT_FOUND") {
			t.Errorf("filled too late: %v", err)
		}
		if _, err := h.Open(t.Context(), media.Query{MXC: name}); !matrix.IsCode(err, "M_NOT_FOUND") {
			t.Errorf("read too late: %v", err)
		}
	})
}

func TestTwoUploadsOfOneNameAndOfTheSameBytes(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, h *house) {
		name, _, err := h.Reserve(t.Context(), alice, "")
		must(t, err)
		const uploads = 6
		ended := make(chan error, 2*uploads)
		content := bytes.Repeat([]byte("shared"), 5000)
		for range uploads {
			go func() {
				ended <- h.Fill(t.Context(), name, media.Upload{User: alice, Size: int64(len(content)), Body: bytes.NewReader(content)})
			}()
			go func() {
				_, err := h.Upload(t.Context(), media.Upload{User: bob, Size: int64(len(content)), Body: bytes.NewReader(content)})
				ended <- err
			}()
		}
		good := 0
		for range 2 * uploads {
			if err := <-ended; err == nil {
				good++
			} else if !matrix.IsCode(err, "M_CANNOT_OVERWRITE_MEDIA") {
				t.Error(err)
			}
		}
		if good != uploads+1 || h.kept(t) != 1 || h.has(t, name) != string(content) {
			t.Errorf("%d went up, %d kept", good, h.kept(t))
		}
	})
}
