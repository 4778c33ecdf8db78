package homeserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidwall/gjson"
)

const (
	// maxCode is how much of an errcode is believed: codes are counted by name.
	maxCode = 64
	// maxDetail is how much of what a server said is kept as an example.
	maxDetail = 200
)

// Fault is a request that failed.
type Fault struct {
	// Cause is what faults are counted by: the status and the errcode, or what
	// became of the connection.
	Cause string
	// Detail is what was said, for people.
	Detail string
	// RetryAfter is how long the server asks to wait, 0 if it does not.
	RetryAfter time.Duration

	body []byte // of an answer that is no success
}

// Kind returns the cause.
func (f *Fault) Kind() string { return f.Cause }

// Error returns the cause and the detail.
func (f *Fault) Error() string {
	if f.Detail == "" {
		return f.Cause
	}
	return f.Cause + ": " + f.Detail
}

// refused describes an answer that is not a success.
func refused(resp *http.Response, raw []byte) *Fault {
	f := &Fault{Cause: strconv.Itoa(resp.StatusCode), body: raw}
	if gjson.ValidBytes(raw) {
		if code := gjson.GetBytes(raw, "errcode").String(); isCode(code) {
			f.Cause += " " + code
		}
		f.Detail = shorten(gjson.GetBytes(raw, "error").String())
		f.RetryAfter = time.Duration(gjson.GetBytes(raw, "retry_after_ms").Int()) * time.Millisecond
	} else {
		f.Cause += " without JSON"
		f.Detail = shorten(string(raw))
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		f.RetryAfter = time.Duration(s) * time.Second
	}
	return f
}

// isCode reports whether s can be an errcode, so that a server cannot make a
// new kind of every answer.
func isCode(s string) bool {
	other := func(r rune) bool {
		return r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}
	return s != "" && len(s) <= maxCode && !strings.ContainsFunc(s, other)
}

// lost describes a request that got no whole answer. A request that ended with
// the context of its run is context.Canceled and nobody's fault.
func lost(run context.Context, err error) error {
	var dns *net.DNSError
	var timeout net.Error
	kind := "connection failed"
	switch {
	case run.Err() != nil:
		return context.Canceled
	case errors.As(err, &timeout) && timeout.Timeout():
		kind = "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		kind = "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		kind = "connection closed"
	case errors.Is(err, syscall.EMFILE):
		kind = "too many open files here"
	case errors.As(err, &dns):
		kind = "name not found"
	}
	return &Fault{Cause: kind, Detail: shorten(err.Error())}
}

// unexpected is the fault of an answer that lacks what it must have.
func unexpected(what string, raw []byte) error {
	return &Fault{Cause: "200 without " + what, Detail: shorten(string(raw))}
}

func shorten(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > maxDetail {
		return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(s[:maxDetail], ""), len(s))
	}
	return s
}
