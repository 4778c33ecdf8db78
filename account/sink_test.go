package account_test

import (
	"bufio"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/account"
)

// sink is a mail server on loopback that keeps what it is sent.
type sink struct {
	listener net.Listener
	mails    chan letter // capacity: more than any test sends
	refuse   atomic.Bool
}

type letter struct{ to, from, subject, text string }

func startSink(t *testing.T) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{listener: l, mails: make(chan letter, 100)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(t, conn)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return s
}

// serve speaks as much SMTP as a client needs.
func (s *sink) serve(t *testing.T, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	say := func(line string) { _, _ = fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 sink")
	var l letter
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(strings.Fields(line + " x")[0]); verb {
		case "EHLO", "HELO":
			say("250 sink")
		case "MAIL":
			if s.refuse.Load() {
				say("451 not now")
				continue
			}
			say("250 ok")
		case "RCPT":
			l.to = strings.Trim(strings.TrimSpace(line[len("RCPT TO:"):]), "<>")
			say("250 ok")
		case "DATA":
			say("354 go on")
			var raw strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if strings.TrimRight(line, "\r\n") == "." {
					break
				}
				raw.WriteString(strings.TrimPrefix(line, "."))
			}
			if err := l.read(raw.String()); err != nil {
				t.Error(err)
			}
			s.mails <- l
			say("250 ok")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (l *letter) read(raw string) error {
	msg, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		return err
	}
	l.from, l.subject = msg.Header.Get("From"), msg.Header.Get("Subject")
	var body io.Reader = msg.Body
	if msg.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	l.text = string(text)
	return err
}

func (s *sink) mailer(t *testing.T) *account.Mailer {
	t.Helper()
	addr := s.listener.Addr().(*net.TCPAddr)
	m, err := account.NewMailer(account.MailOptions{
		Host: addr.IP.String(), Port: addr.Port, TLS: account.TLSNone, From: "Beffroi <noreply@interieur.example>"})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// next returns the mail that was just sent.
func (s *sink) next(t *testing.T) letter {
	t.Helper()
	select {
	case l := <-s.mails:
		return l
	case <-time.After(10 * time.Second):
		t.Fatal("no mail came")
		return letter{}
	}
}

var codePattern = regexp.MustCompile(`(?m)^    (\d{6})\r?$`)

func (l letter) code(t *testing.T) string {
	t.Helper()
	m := codePattern.FindStringSubmatch(l.text)
	if m == nil {
		t.Fatalf("no code in %q", l.text)
	}
	return m[1]
}

func (l letter) link(t *testing.T) url.Values {
	t.Helper()
	m := regexp.MustCompile(`(?m)^    (https://\S+)\r?$`).FindStringSubmatch(l.text)
	if m == nil {
		t.Fatalf("no link in %q", l.text)
	}
	u, err := url.Parse(m[1])
	if err != nil || u.Path != account.EmailLinkPath {
		t.Fatalf("link %s, %v", m[1], err)
	}
	return u.Query()
}
