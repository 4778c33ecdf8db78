package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"beffroi/config"
)

// The manual of the settings and the schema of the policy are compared here, so that nobody forgets it; the
// other documents are compared by the build, with -check.
func TestSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	src, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range documents[:3] {
		want, err := doc.make(src)
		if err != nil {
			t.Fatal(err)
		}
		if have, err := os.ReadFile(filepath.Join(root, doc.path)); err != nil || string(have) != string(want) {
			t.Errorf("%s differs from the code: run make generate (%v)", doc.path, err)
		}
	}
}

func TestExampleIsTheDefault(t *testing.T) {
	t.Parallel()
	name := filepath.Join("..", "..", "config", "example.yaml")
	got, err := config.Load(nil, []string{"BEFFROI_CONFIG=" + name})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Client.TrustedProxies, want.Federation.AllowRanges = []netip.Prefix{}, []netip.Prefix{} // written as []
	want.PolicyFeed.Keys = []string{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestDocumentsFromCode(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, "a/a.go", `package a

// Send sends.
//
// Divergence: it is late,
// on purpose.
//
// https://spec.matrix.org/v1.19/client-server-api/#sending.
func (s *Server[T]) Send() {
	prometheus.NewCounterVec(prometheus.CounterOpts{Name: "a_" + "total", Help: "All."}, []string{"x"})
}

const (
	// A is one.
	//
	// https://spec.matrix.org/v1.19/rooms/v12/#limits
	A = 1
)
`)
	write(t, root, "a/a_test.go", "package a // https://spec.matrix.org/v1.19/rooms/v1/\n")
	write(t, root, "config/config.go", "package config\n")
	src, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		make func(*source) ([]byte, error)
		want string
	}{
		{metrics, "| `a_total` | counter | x | All. |"},
		{justSections, "| [sending](https://spec.matrix.org/v1.19/client-server-api/#sending) | `a.Server.Send` |"},
		{justSections, "## rooms/v12\n\n| section | code |\n|---|---|\n| [limits](https://spec.matrix.org/v1.19/rooms/v12/#limits) | `a.A` |"},
		{divergences, "- `a.Server.Send`: it is late, on purpose.\n"},
	} {
		got, err := tc.make(src)
		if err != nil || !strings.Contains(string(got), tc.want) {
			t.Errorf("%v\n%s\nlacks %s", err, got, tc.want)
		}
		if strings.Contains(string(got), "rooms/v1/") {
			t.Error("a test counts as code")
		}
	}
	if err := run(root, true); err == nil {
		t.Error("a setting without a comment is not noticed")
	}
	write(t, root, "a/b.go", `package a

var x = prometheus.NewGauge(prometheus.GaugeOpts{Name: name})
`)
	if src, err = load(root); err != nil {
		t.Fatal(err)
	}
	if _, err := metrics(src); err == nil || !strings.Contains(err.Error(), "must be literals") {
		t.Errorf("%v", err)
	}
}

func justSections(src *source) ([]byte, error) {
	var out bytes.Buffer
	sections(src, &out)
	return out.Bytes(), nil
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
