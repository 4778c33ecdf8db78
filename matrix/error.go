package matrix

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Error is an answer meant for a client or a remote server. Any other error
// is our own fault: it is logged, and the peer sees M_UNKNOWN.
//
// https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
type Error struct {
	Status int    // HTTP status
	Code   string // such as M_FORBIDDEN
	Text   string // shown to the peer, in English: no secrets, no internals

	// Texts are the same sentence in other languages, by language tag ("fr").
	Texts map[string]string

	// Fields are further top-level members of the body, such as
	// retry_after_ms or soft_logout. Their values must marshal to JSON.
	Fields map[string]any
}

// Error makes *Error an error. The text is for logs.
func (e *Error) Error() string { return e.Code + ": " + e.Text }

// With returns a copy of e that has one more field in its body.
func (e *Error) With(key string, value any) *Error {
	out := *e
	out.Fields = make(map[string]any, len(e.Fields)+1)
	for k, v := range e.Fields {
		out.Fields[k] = v
	}
	out.Fields[key] = value
	return &out
}

// NewError returns an answer with any status and code.
//
// https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
func NewError(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Text: fmt.Sprintf(format, args...)}
}

// Forbidden says that the peer may not do this, and never may by trying again.
//
// https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
func Forbidden(format string, args ...any) *Error {
	return NewError(http.StatusForbidden, "M_FORBIDDEN", format, args...)
}

// NotFound says that there is no such thing, or none the peer may know of.
//
// https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
func NotFound(format string, args ...any) *Error {
	return NewError(http.StatusNotFound, "M_NOT_FOUND", format, args...)
}

// BadJSON says that the body is JSON, but not of the form this call takes.
//
// https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
func BadJSON(format string, args ...any) *Error {
	return NewError(http.StatusBadRequest, "M_BAD_JSON", format, args...)
}

// NotJSON says that the body is not JSON at all.
//
// https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
func NotJSON(format string, args ...any) *Error {
	return NewError(http.StatusBadRequest, "M_NOT_JSON", format, args...)
}

// InvalidParam says that the request is well formed JSON with a wrong value in it.
//
// https://spec.matrix.org/v1.19/client-server-api/#other-error-codes
func InvalidParam(format string, args ...any) *Error {
	return NewError(http.StatusBadRequest, "M_INVALID_PARAM", format, args...)
}

// MissingParam says that a value the call needs is absent.
//
// https://spec.matrix.org/v1.19/client-server-api/#other-error-codes
func MissingParam(format string, args ...any) *Error {
	return NewError(http.StatusBadRequest, "M_MISSING_PARAM", format, args...)
}

// TooLarge says that what the peer sent is over a limit.
//
// https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
func TooLarge(format string, args ...any) *Error {
	return NewError(http.StatusRequestEntityTooLarge, "M_TOO_LARGE", format, args...)
}

// MissingToken says that the call needs an access token and had none.
//
// https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
func MissingToken() *Error {
	return NewError(http.StatusUnauthorized, "M_MISSING_TOKEN", "Missing access token")
}

// UnknownToken says that the access token is not, or no longer, valid.
//
// https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
func UnknownToken(softLogout bool) *Error {
	return NewError(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", "Unknown or expired access token").
		With("soft_logout", softLogout)
}

// Unauthorized says that the signature of a remote server is missing or bad.
//
// https://spec.matrix.org/v1.19/client-server-api/#other-error-codes
func Unauthorized(format string, args ...any) *Error {
	return NewError(http.StatusUnauthorized, "M_UNAUTHORIZED", format, args...)
}

// LimitExceeded says that the peer must wait for retryAfter.
//
// https://spec.matrix.org/v1.19/client-server-api/#rate-limiting
func LimitExceeded(retryAfter time.Duration) *Error {
	return NewError(http.StatusTooManyRequests, "M_LIMIT_EXCEEDED", "Too many requests").
		With("retry_after_ms", retryAfter.Milliseconds())
}

// Unavailable says that the server cannot answer now and will be able to again.
//
// https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
func Unavailable(retryAfter time.Duration) *Error {
	return NewError(http.StatusServiceUnavailable, "M_UNKNOWN", "The server cannot answer now; try again").
		With("retry_after_ms", retryAfter.Milliseconds())
}

// Unrecognized says that there is no such path.
//
// https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
func Unrecognized() *Error {
	return NewError(http.StatusNotFound, "M_UNRECOGNIZED", "Unrecognized request")
}

// Answer returns what the peer is told about err.
//
// https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
func Answer(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return NewError(http.StatusInternalServerError, "M_UNKNOWN", "Internal server error")
}

// IsCode reports whether err is an answer with this errcode.
//
// https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
func IsCode(err error, code string) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == code
}
