package blobs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http/httptest"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"beffroi/media/blobs"
)

type store interface {
	Put(ctx context.Context, name string, file *os.File, size int64) error
	Open(ctx context.Context, name string) (io.ReadSeekCloser, error)
	Delete(ctx context.Context, name string) error
	Each(ctx context.Context, fn func(name string, written time.Time) error) error
}

func TestStores(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) store{
		"folder": func(t *testing.T) store {
			dir, err := blobs.NewDir(t.TempDir())
			must(t, err)
			return dir
		},
		"object store": func(t *testing.T) store {
			backend := s3mem.New()
			must(t, backend.CreateBucket("ministry"))
			server := httptest.NewServer(gofakes3.New(backend).Server())
			t.Cleanup(server.Close)
			_, err := blobs.NewS3(t.Context(), blobs.S3Options{Endpoint: server.URL, Bucket: "nothing", AccessKey: "a", SecretKey: "s", Region: "eu"})
			if err == nil {
				t.Error("a bucket that is not there was taken")
			}
			s3, err := blobs.NewS3(t.Context(), blobs.S3Options{Endpoint: server.URL, Bucket: "ministry", Prefix: "media/", AccessKey: "a", SecretKey: "s", Region: "eu"})
			must(t, err)
			return s3
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			exercise(t, open(t))
		})
	}
}

func exercise(t *testing.T, s store) {
	ctx := t.Context()
	long := bytes.Repeat([]byte("0123456789"), 2<<20) // several parts
	for name, content := range map[string][]byte{"abcdefgh1": []byte("hello"), "abcdefgh2": nil, "zzzzzzzz3": long} {
		if err := s.Put(ctx, name, tempFile(t, content), int64(len(content))); err != nil {
			t.Fatalf("put %s of %d bytes: %v", name, len(content), err)
		}
		got, err := s.Open(ctx, name)
		must(t, err)
		if _, err := got.Seek(min(3, int64(len(content))), io.SeekStart); err != nil {
			t.Error(err)
		}
		rest, err := io.ReadAll(got)
		if err != nil || !bytes.Equal(rest, content[min(3, len(content)):]) {
			t.Errorf("%s: %d bytes from the fourth, %v", name, len(rest), err)
		}
		must(t, got.Close())
	}
	var names []string
	must(t, s.Each(ctx, func(name string, written time.Time) error {
		if time.Since(written).Abs() > time.Hour {
			t.Errorf("%s was written at %v", name, written)
		}
		names = append(names, name)
		return nil
	}))
	if slices.Sort(names); !slices.Equal(names, []string{"abcdefgh1", "abcdefgh2", "zzzzzzzz3"}) {
		t.Errorf("names %v", names)
	}
	stop := errors.New("enough")
	if err := s.Each(ctx, func(string, time.Time) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped: %v", err)
	}
	must(t, s.Delete(ctx, "abcdefgh1"))
	must(t, s.Delete(ctx, "abcdefgh1"))
	if _, err := s.Open(ctx, "abcdefgh1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("deleted: %v", err)
	}
}

func TestFolderTakesNoPaths(t *testing.T) {
	t.Parallel()
	dir, err := blobs.NewDir(t.TempDir())
	must(t, err)
	for _, name := range []string{"", "abc", "../../../etc/passwd", "abcd/../../x", "ABCDEFGH", "abcdefg\x00"} {
		if err := dir.Put(t.Context(), name, tempFile(t, nil), 0); err == nil {
			t.Errorf("%q was put", name)
		}
		if _, err := dir.Open(t.Context(), name); err == nil {
			t.Errorf("%q was opened", name)
		}
		if err := dir.Delete(t.Context(), name); err == nil {
			t.Errorf("%q was deleted", name)
		}
	}
}

func tempFile(t *testing.T, content []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	_, err = f.Write(content)
	must(t, err)
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
