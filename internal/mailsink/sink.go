// Package mailsink is a mail server that delivers to memory: for tests, and for
// the demo, whose mails must not leave the machine.
package mailsink

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"sync"
)

const (
	// maxMail bounds a mail, and maxKept how many are kept for one address.
	maxMail = 256 << 10
	maxKept = 100
)

// Sink takes mail for everybody.
type Sink struct {
	listener net.Listener
	conns    sync.WaitGroup

	mu      sync.Mutex
	mails   map[string][]string // guarded by mu; by recipient, oldest first
	arrived chan struct{}       // guarded by mu; closed and replaced when a mail comes
}

// Start listens on a free port of the loopback address until ctx ends.
func Start(ctx context.Context) (*Sink, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for mail: %w", err)
	}
	s := &Sink{listener: listener, mails: make(map[string][]string), arrived: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	s.conns.Go(func() {
		defer stop()
		s.accept(ctx)
	})
	return s, nil
}

// Addr returns the host and port that the sink listens on.
func (s *Sink) Addr() *net.TCPAddr { return s.listener.Addr().(*net.TCPAddr) }

// Wait returns the first mail for an address that is not among the first n.
func (s *Sink) Wait(ctx context.Context, address string, n int) (string, error) {
	for {
		s.mu.Lock()
		mails, arrived := s.mails[strings.ToLower(address)], s.arrived
		s.mu.Unlock()
		if len(mails) > n {
			return mails[n], nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return "", fmt.Errorf("no mail for %s: %w", address, ctx.Err())
		}
	}
}

// Count returns how many mails an address has got.
func (s *Sink) Count(address string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mails[strings.ToLower(address)])
}

func (s *Sink) accept(ctx context.Context) {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		s.conns.Go(func() {
			defer stop()
			defer func() { _ = conn.Close() }()
			s.serve(conn)
		})
	}
}

// serve speaks as much of SMTP (RFC 5321) as a sender of mail needs.
func (s *Sink) serve(conn net.Conn) {
	text := textproto.NewReader(bufio.NewReader(io.LimitReader(conn, maxKept*maxMail)))
	say := func(line string) bool {
		_, err := io.WriteString(conn, line+"\r\n")
		return err == nil
	}
	var to []string
	for ok := say("220 mailsink"); ok; {
		line, err := text.ReadLine()
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			ok = say("250-mailsink") && say("250 8BITMIME")
		case "RCPT":
			to = append(to, address(rest))
			ok = say("250 OK")
		case "DATA":
			if ok = say("354 go on"); ok {
				mail, err := io.ReadAll(io.LimitReader(text.DotReader(), maxMail))
				if err != nil {
					return
				}
				s.deliver(to, string(mail))
				to = nil
				ok = say("250 OK")
			}
		case "RSET":
			to = nil
			ok = say("250 OK")
		case "QUIT":
			say("221 bye")
			return
		case "HELO", "MAIL", "NOOP":
			ok = say("250 OK")
		default:
			ok = say("502 not known here")
		}
	}
}

// address reads "TO:<a@b> …".
func address(rest string) string {
	_, after, _ := strings.Cut(rest, "<")
	name, _, _ := strings.Cut(after, ">")
	return strings.ToLower(name)
}

func (s *Sink) deliver(to []string, mail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range to {
		if len(s.mails[name]) < maxKept {
			s.mails[name] = append(s.mails[name], mail)
		}
	}
	close(s.arrived)
	s.arrived = make(chan struct{})
}
