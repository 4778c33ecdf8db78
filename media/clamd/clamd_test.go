package clamd_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/media/clamd"
)

func TestRealDaemon(t *testing.T) {
	t.Parallel()
	s := clamd.New(testkit.Clamd(t), 20*time.Second)
	for name, tc := range map[string]struct{ file, want string }{
		"clean":         {"nothing to see", ""},
		"empty":         {"", ""},
		"the test file": {testkit.EICAR, "Beffroi.Test.EICAR"},
		"in a long one": {strings.Repeat("x", 200<<10) + testkit.EICAR, "Beffroi.Test.EICAR"},
	} {
		if got, err := s.Scan(t.Context(), strings.NewReader(tc.file)); err != nil || !strings.HasPrefix(got, tc.want) || (tc.want == "") != (got == "") {
			t.Errorf("%s: %q %v, want %q", name, got, err, tc.want)
		}
	}
	if threat, err := s.Scan(t.Context(), strings.NewReader(strings.Repeat("x", 3<<20))); err == nil {
		t.Errorf("a file longer than the daemon takes: %q", threat)
	}
	broken := errors.New("the disk is gone")
	if _, err := s.Scan(t.Context(), io.MultiReader(strings.NewReader("x"), faulty{broken})); !errors.Is(err, broken) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

type faulty struct{ error }

func (f faulty) Read([]byte) (int, error) { return 0, f.error }

// TestUselessDaemons asks those that are down, slow, or say nonsense.
func TestUselessDaemons(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]string{
		"silence": "", "nonsense": "stream: MAYBE\x00", "another protocol": "HTTP/1.1 200 OK\r\n\r\n\x00", "no end": "stream: OK",
		"endless": strings.Repeat("stream: OK", 1000), "error": "INSTREAM size limit exceeded. ERROR\x00", "nameless": "stream:  FOUND\x00",
		"lists two": "stream: OK\nstream: OK\x00",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if threat, err := clamd.New(daemon(t, reply), 5*time.Second).Scan(t.Context(), strings.NewReader("x")); err == nil {
				t.Errorf("%q", threat)
			}
		})
	}
	t.Run("down", func(t *testing.T) {
		t.Parallel()
		if _, err := clamd.New("/nowhere/clamd.sock", time.Second).Scan(t.Context(), strings.NewReader("x")); err == nil {
			t.Error("found something out")
		}
	})
	t.Run("slow", func(t *testing.T) {
		t.Parallel()
		if _, err := clamd.New(daemon(t, "hang"), 100*time.Millisecond).Scan(t.Context(), strings.NewReader("x")); err == nil {
			t.Error("found something out")
		}
	})
}

// daemon answers everything with one reply, or not at all.
func daemon(t *testing.T, reply string) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() {
		stop()
		_ = l.Close()
	})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.ReadFull(conn, make([]byte, len("zINSTREAM\x00")+5+4))
				if reply == "hang" {
					<-ctx.Done()
					return
				}
				_, _ = io.WriteString(conn, reply)
			}()
		}
	}()
	return l.Addr().String()
}
