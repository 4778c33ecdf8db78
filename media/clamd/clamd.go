// Package clamd asks a ClamAV daemon about files.
package clamd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

const (
	// dialTimeout bounds the wait for a daemon that is down.
	dialTimeout = 5 * time.Second
	// maxReply bounds an answer: the name of one thing that was found.
	maxReply = 4 << 10
	// chunk is how much of a file is sent at a time.
	chunk = 64 << 10
	// maxThreat bounds the name of a threat as it is kept.
	maxThreat = 200
)

// Scanner asks one daemon. It is safe for concurrent use.
type Scanner struct {
	network, address string
	timeout          time.Duration
	slots            chan struct{}
}

// maxScans bounds the files that a daemon is asked about at a time: it has ten
// threads by default, and closes the door to those who wait too long.
const maxScans = 8

// New returns a scanner for a daemon at host:port, or at the path of a socket.
// One file may take it as long as timeout.
func New(address string, timeout time.Duration) *Scanner {
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	return &Scanner{network, address, timeout, make(chan struct{}, maxScans)}
}

// Scan sends a file and returns what was found in it, "" for nothing. All else
// is an error: a daemon that is down, slow, or says what nobody understands has
// found nothing out.
func (s *Scanner) Scan(ctx context.Context, file io.Reader) (threat string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return "", fmt.Errorf("wait for clamd: %w", ctx.Err())
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, s.network, s.address)
	if err != nil {
		return "", fmt.Errorf("clamd: %w", err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	sendErr := send(conn, file)
	if fault, ours := errors.AsType[*fileError](sendErr); ours {
		return "", fault.error
	}
	// A daemon that has enough of a file says so and hangs up: its answer tells
	// more than the error of sending does.
	reply, err := bufio.NewReader(io.LimitReader(conn, maxReply)).ReadString(0)
	if err != nil {
		return "", fmt.Errorf("clamd: %w", errors.Join(sendErr, err))
	}
	return parse(strings.TrimSuffix(reply, "\x00"))
}

// fileError says that the file could not be read.
type fileError struct{ error }

// send streams a file in chunks, each with its length before it.
func send(conn io.Writer, file io.Reader) error {
	if _, err := io.WriteString(conn, "zINSTREAM\x00"); err != nil {
		return err
	}
	buf := make([]byte, 4+chunk)
	for {
		n, err := file.Read(buf[4:])
		if n > 0 {
			binary.BigEndian.PutUint32(buf, uint32(n))
			if _, err := conn.Write(buf[:4+n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return &fileError{err}
		}
	}
	_, err := conn.Write([]byte{0, 0, 0, 0})
	return err
}

// parse reads an answer.
func parse(reply string) (threat string, err error) {
	verdict, ok := strings.CutPrefix(reply, "stream: ")
	if !ok {
		return "", fmt.Errorf("clamd answered %q", clip(reply))
	}
	if verdict == "OK" {
		return "", nil
	}
	if threat, found := strings.CutSuffix(verdict, " FOUND"); found && threat != "" {
		return clip(threat), nil
	}
	return "", fmt.Errorf("clamd answered %q", clip(verdict))
}

func clip(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s[:min(len(s), maxThreat)], "\x00", ""), "?")
}
