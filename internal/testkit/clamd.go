package testkit

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// EICAR is the file that every scanner takes for malware by agreement. It is in
// two pieces here, so that no scanner takes this file for it.
const EICAR = `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + `EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`

// clamdStart bounds the start of the daemon on a busy machine.
const clamdStart = 60 * time.Second

// Clamd starts ClamAV's daemon with a signature of [EICAR], which it calls
// Beffroi.Test.EICAR, and returns the path of its socket. It takes files of 2 MB.
// Where it is not installed the test is skipped, and fails in CI.
func Clamd(t testing.TB) (socket string) {
	t.Helper()
	program, err := exec.LookPath("clamd")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/clamd") // where users who are not root do not look
	}
	if err != nil {
		if os.Getenv("BEFFROI_CI") != "" {
			t.Fatal("clamd must be installed in CI")
		}
		t.Skip("clamd is not installed")
	}
	dir, err := os.MkdirTemp("", "clamd") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	signature := "Beffroi.Test.EICAR:0:*:" + hex.EncodeToString([]byte(EICAR)) + "\n"
	config := fmt.Sprintf("Foreground yes\nLocalSocket %s\nDatabaseDirectory %s\nStreamMaxLength 2M\nMaxThreads 4\nLogFile %s\n",
		socket, dir, filepath.Join(dir, "log"))
	if os.Getuid() == 0 {
		config += "User root\n"
	}
	for name, content := range map[string]string{"test.ndb": signature, "clamd.conf": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var output bytes.Buffer
	daemon := exec.Command(program, "--config-file="+filepath.Join(dir, "clamd.conf"))
	daemon.Stdout, daemon.Stderr = &output, &output
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = daemon.Wait()
	}()
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		<-ended
	})
	awaitSocket(t, socket, ended, &output)
	return socket
}

// awaitSocket waits until somebody answers at a socket.
func awaitSocket(t testing.TB, socket string, ended <-chan struct{}, output fmt.Stringer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clamdStart)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var d net.Dialer
		if conn, err := d.DialContext(ctx, "unix", socket); err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("clamd ended: %s", output)
		case <-ctx.Done():
			t.Fatal("clamd did not start in time")
		case <-tick.C:
		}
	}
}
