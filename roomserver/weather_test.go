package roomserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/storage"
)

// cluster is a PostgreSQL of this test's own, which it may treat badly.
type cluster struct {
	t    *testing.T
	bin  string
	data string
	port int
	as   []string // how to become somebody who is not root: PostgreSQL refuses to run as root
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 || os.Getenv("BEFFROI_SLOW") == "" && os.Getenv("BEFFROI_CI") == "" {
		t.Skip("needs PostgreSQL, and BEFFROI_SLOW or BEFFROI_CI")
	}
	dir, err := os.MkdirTemp("", "weather")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &cluster{t: t, bin: found[len(found)-1], data: filepath.Join(dir, "data")}
	if os.Getuid() == 0 {
		account, err := user.Lookup("postgres")
		must(t, err)
		uid, err := strconv.Atoi(account.Uid)
		must(t, err)
		must(t, os.Chown(dir, uid, -1))
		c.as = []string{"runuser", "-u", "postgres", "--"}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c.port = free.Addr().(*net.TCPAddr).Port
	must(t, free.Close())
	c.run("initdb", "-D", c.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
	options := fmt.Sprintf("-c listen_addresses=127.0.0.1 -p %d -k %s", c.port, dir)
	c.run("pg_ctl", "-D", c.data, "-l", filepath.Join(dir, "log"), "-w", "-o", options, "start")
	t.Cleanup(func() { c.run("pg_ctl", "-D", c.data, "-m", "immediate", "-w", "stop") })
	return c
}

// run runs a command of PostgreSQL.
func (c *cluster) run(name string, args ...string) {
	c.t.Helper()
	args = append(append(append([]string(nil), c.as...), filepath.Join(c.bin, name)), args...)
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...)
	cmd.Dir = filepath.Dir(c.data)
	// A server that pg_ctl starts keeps its output, so that it must be a file.
	out, err := os.CreateTemp(c.t.TempDir(), "out")
	must(c.t, err)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		c.t.Fatalf("%s: %v\n%s", name, err, said)
	}
	_ = out.Close()
}

// signal sends a signal to every process of the server.
func (c *cluster) signal(sig syscall.Signal) {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.data, "postmaster.pid"))
	must(c.t, err)
	first, _, _ := strings.Cut(string(text), "\n")
	master, err := strconv.Atoi(first)
	must(c.t, err)
	must(c.t, syscall.Kill(master, sig))
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent …
		_, rest, _ := strings.Cut(string(raw), ") ")
		fields := strings.Fields(rest)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if len(fields) > 1 && fields[1] == first && pid > 0 {
			_ = syscall.Kill(pid, sig)
		}
	}
}

// TestPostgresGoesAwayAndComesBack restarts and pauses the database under
// load. Clients repeat what fails, with the same transaction ID, as the
// specification says. In the end every message is there once.
func TestPostgresGoesAwayAndComesBack(t *testing.T) { //nolint:paralleltest // it wants the machine for itself
	c := startCluster(t)
	pause := 3 * time.Second
	if os.Getenv("BEFFROI_SLOW") != "" {
		pause = 35 * time.Second // longer than one transaction may take
	}
	db, err := storage.Open(t.Context(), fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", c.port))
	must(t, err)
	defer func() { must(t, db.Close()) }()
	one := newNetwork().startWith(t, db, "one.example", openGate(t, db, "one.example"))
	room := createRoom(t, one, alice, "", "private_chat")

	var refused, sent atomic.Int64
	stop := make(chan struct{})
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() { sent.Add(insist(t, one, room, w, stop, &refused)) })
	}
	progress := func() { // whatever was, messages go through again
		t.Helper()
		say(t, one, alice, room, "well")
	}
	progress()
	c.run("pg_ctl", "-D", c.data, "-m", "fast", "-w", "restart")
	insistOnce(t, one, room)
	c.run("pg_ctl", "-D", c.data, "-m", "immediate", "-w", "restart") // as after a crash
	insistOnce(t, one, room)
	c.signal(syscall.SIGSTOP)
	<-time.After(pause)
	c.signal(syscall.SIGCONT)
	insistOnce(t, one, room)
	progress()
	close(stop)
	group.Wait()
	if refused.Load() == 0 {
		t.Error("nothing was refused: nothing was tested")
	}
	t.Logf("%d sent, %d times refused", sent.Load(), refused.Load())
	if n := count(t, db, `SELECT COUNT(*) FROM events WHERE type = 'm.insisted'`); n != int(sent.Load()) {
		t.Errorf("%d messages are stored, %d were sent", n, sent.Load())
	}
	verify(t, one)
}

// insist sends messages, each until it is answered, and returns how many.
func insist(t *testing.T, nd *node, room matrix.RoomID, writer int, stop <-chan struct{}, refused *atomic.Int64) (sent int64) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return sent
		default:
		}
		req := roomserver.SendRequest{Sender: alice, Room: room, Type: "m.insisted", Device: "D",
			TxnID: fmt.Sprint(writer, "/", n), Content: json.RawMessage(`{}`)}
		for {
			_, err := nd.Send(context.Background(), req)
			if err == nil {
				sent++
				break
			}
			refused.Add(1)
			answer := matrix.Answer(err)
			if answer.Status != 503 || answer.Fields["retry_after_ms"] == nil {
				t.Errorf("a request was answered %d: %v", answer.Status, err)
				return sent
			}
			<-time.After(50 * time.Millisecond)
		}
	}
}

// insistOnce waits until a message goes through.
func insistOnce(t *testing.T, nd *node, room matrix.RoomID) {
	t.Helper()
	for {
		_, err := nd.Send(t.Context(), roomserver.SendRequest{Sender: alice, Room: room, Type: "m.room.message", Content: json.RawMessage(`{}`)})
		if err == nil {
			return
		}
		if matrix.Answer(err).Status != 503 {
			t.Fatal(err)
		}
		<-time.After(50 * time.Millisecond)
	}
}
