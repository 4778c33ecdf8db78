package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix/canonicaljson"
)

// collector takes syslog over TLS until the other side ends.
type collector struct {
	addr, ca string
	messages chan []string // of each connection
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	authority := testkit.NewCA(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{authority.Certificate(t, "127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{addr: l.Addr().String(), ca: filepath.Join(t.TempDir(), "ca.pem"), messages: make(chan []string)}
	if err := os.WriteFile(c.ca, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if list, err := readFrames(conn); err == nil {
				_ = conn.Close()
				c.messages <- list
			} else {
				_ = conn.Close()
			}
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return c
}

// readFrames reads the frames of RFC 5425: a length, a space, a message.
func readFrames(conn net.Conn) (list []string, err error) {
	r := bufio.NewReader(conn)
	for {
		text, err := r.ReadString(' ')
		if err == io.EOF && text == "" {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		message := make([]byte, n)
		if _, err := io.ReadFull(r, message); err != nil {
			return nil, err
		}
		list = append(list, string(message))
	}
}

// header is that of RFC 5424: no structured data, and a message.
var header = regexp.MustCompile(`^<(\d{1,3})>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z localhost beffroi - ([!-~]{1,32}) - (\{.*\})$`)

func TestTheAuditTrailIsSentBySyslog(t *testing.T) {
	t.Parallel()
	folder, decision := dataFolder(t)
	c := startCollector(t)
	cursor := filepath.Join(t.TempDir(), "cursor")
	export := func(args ...string) (string, error) {
		return runCommand(t, auditCommand(), append([]string{"export", "--data", folder, "--cursor", cursor, "--syslog", c.addr}, args...)...)
	}
	if out, err := export(); err == nil {
		t.Fatalf("a collector that nobody vouches for is believed\n%s", out)
	}
	if _, err := os.Stat(cursor); err == nil {
		t.Fatal("the cursor has moved and nothing was taken")
	}
	out := make(chan string, 1)
	go func() {
		text, err := export("--ca", c.ca)
		if err != nil {
			text = err.Error()
		}
		out <- text
	}()
	messages := <-c.messages
	if text := <-out; !strings.Contains(text, "2 lines sent, the last is 2") || len(messages) != 2 {
		t.Fatalf("%s\n%q", text, messages)
	}
	kinds := make(map[string]string)
	before := ""
	for i, m := range messages {
		parts := header.FindStringSubmatch(m)
		if parts == nil {
			t.Fatalf("%q is not of RFC 5424", m)
		}
		kinds[parts[2]] = parts[1]
		before = follows(t, parts[3], int64(i+1), before)
	}
	if kinds["refusal"] != "109" || kinds["activation"] != "110" || !strings.Contains(strings.Join(messages, ""), decision) {
		t.Errorf("%v", kinds)
	}
	go func() {
		text, err := export("--ca", c.ca)
		if err != nil {
			text = err.Error()
		}
		out <- text
	}()
	if again := <-c.messages; len(again) != 0 {
		t.Errorf("given again: %q", again)
	}
	if text := <-out; !strings.Contains(text, "0 lines sent") {
		t.Error(text)
	}
}

// follows proves by its hash that a line is whole and follows the one before,
// as a collector can, and returns its hash.
func follows(t *testing.T, line string, seq int64, before string) string {
	t.Helper()
	var e map[string]any
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		t.Fatal(err)
	}
	hash, _ := e["hash"].(string)
	delete(e, "hash")
	bare, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if bare, err = canonicaljson.Canonicalise(bare, canonicaljson.Strict); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(bare)
	if prev, _ := e["prev"].(string); prev != before || e["seq"] != float64(seq) || hex.EncodeToString(sum[:]) != hash {
		t.Errorf("%s does not follow %q", line, before)
	}
	return hash
}

func TestTheAuditTrailIsExportedAsLines(t *testing.T) {
	t.Parallel()
	folder, decision := dataFolder(t)
	cursor := filepath.Join(t.TempDir(), "cursor")
	for name, test := range map[string]struct {
		args []string
		ok   bool
		want string
	}{
		"all":           {nil, true, decision},
		"bad cursor":    {[]string{"--cursor", filepath.Join(folder, "policy.yaml")}, false, "does not hold the number of a line"},
		"no collector":  {[]string{"--syslog", "nowhere"}, false, "--syslog"},
		"nobody there":  {[]string{"--syslog", "127.0.0.1:1"}, false, "collector"},
		"no authority":  {[]string{"--syslog", "127.0.0.1:1", "--ca", cursor}, false, "--ca"},
		"no such place": {[]string{"--cursor", filepath.Join(folder, "no", "cursor")}, false, "--cursor"},
	} {
		out, err := runCommand(t, auditCommand(), append([]string{"export", "--data", folder}, test.args...)...)
		if err != nil {
			out += err.Error()
		}
		if (err == nil) != test.ok || !strings.Contains(out, test.want) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	first, err := runCommand(t, auditCommand(), "export", "--data", folder, "--cursor", cursor)
	if err != nil || strings.Count(first, "\n") != 2 {
		t.Fatalf("%v\n%s", err, first)
	}
	before := ""
	for i, line := range strings.Split(strings.TrimSpace(first), "\n") {
		before = follows(t, line, int64(i+1), before)
	}
	if again, err := runCommand(t, auditCommand(), "export", "--data", folder, "--cursor", cursor); err != nil || strings.TrimSpace(again) != "" {
		t.Errorf("%v\n%s", err, again)
	}
}
