package client

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"beffroi/matrix"
)

const (
	// maxErrorBytes is how much of an error is read.
	maxErrorBytes = 64 << 10
	// maxErrorText is how much of its text is passed on.
	maxErrorText = 512
)

// UnreachableError says that a server could not be found, or did not answer
// in time. It is also a *matrix.Error, for callers that only pass it on.
type UnreachableError struct {
	Destination matrix.ServerName
	Err         error
}

// Error is for the log; the cause may name addresses.
func (e *UnreachableError) Error() string { return string(e.Destination) + ": " + e.Err.Error() }

// Unwrap returns what a user is told, and the cause.
func (e *UnreachableError) Unwrap() []error {
	return []error{
		matrix.NewError(http.StatusBadGateway, "M_UNKNOWN", "The server %s cannot be reached", e.Destination), e.Err,
	}
}

// deniedError is a refusal of our own policy, told from one of the peer's.
type deniedError struct{ err error }

func (e *deniedError) Error() string { return e.err.Error() }
func (e *deniedError) Unwrap() error { return e.err }

// Denied reports whether err is a refusal of our own policy: nothing was sent.
func Denied(err error) bool {
	_, ok := errors.AsType[*deniedError](err)
	return ok
}

// sessionCodes are about the access token of a client. From a server they
// make no sense, and passed on they would log out one of our users.
var sessionCodes = map[string]bool{
	"M_UNKNOWN_TOKEN": true, "M_MISSING_TOKEN": true, "M_USER_LOCKED": true, "M_USER_SUSPENDED": true,
	"M_USER_DEACTIVATED": true, "M_CONSENT_NOT_GIVEN": true,
}

// passedFields are the members of an error that callers and users need.
var passedFields = map[string]bool{
	"room_version": true, "retry_after_ms": true, "org.beffroi.policy": true,
}

// remoteError reads what a peer answered instead of 200.
func remoteError(destination matrix.ServerName, status int, body *limitedReader) error {
	body.left = min(body.left, maxErrorBytes)
	raw, err := io.ReadAll(body)
	var fields map[string]json.RawMessage
	if err != nil || json.Unmarshal(raw, &fields) != nil || status < http.StatusBadRequest {
		fields = nil
	}
	out := &matrix.Error{Status: status, Code: text(fields["errcode"]), Text: text(fields["error"])}
	if status < http.StatusBadRequest || status > 599 || status == http.StatusUnauthorized {
		out.Status = http.StatusBadGateway
	}
	if !validCode(out.Code) || sessionCodes[out.Code] {
		out.Code = "M_UNKNOWN"
	}
	if out.Text == "" {
		out.Text = "The server " + string(destination) + " answered " + http.StatusText(status)
	}
	for name, value := range fields {
		if passedFields[name] {
			out = out.With(name, value)
		}
	}
	return out
}

// text returns a JSON string, cut to what is shown to users.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	for len(s) > maxErrorText || !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s[:min(len(s), maxErrorText)], "")
	}
	return s
}

// validCode accepts M_SOMETHING and dotted vendor codes.
func validCode(code string) bool {
	if code == "" || len(code) > 64 {
		return false
	}
	for i := range len(code) {
		c := code[i]
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// badAnswer tells an answer that stopped or is too long from one that is not
// what it should be.
func badAnswer(destination matrix.ServerName, body *limitedReader, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(body.err, errTooLong):
		return matrix.NewError(http.StatusBadGateway, "M_TOO_LARGE", "The answer of %s is too long", destination)
	case body.err != nil:
		return &UnreachableError{Destination: destination, Err: body.err}
	}
	if _, ok := errors.AsType[*matrix.Error](err); ok {
		return err
	}
	return matrix.NewError(http.StatusBadGateway, "M_BAD_JSON", "The answer of %s is malformed", destination)
}
