package httpx

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strconv"

	"golang.org/x/text/language"

	"beffroi/matrix"
)

// maxAcceptLanguage bounds the header that is parsed: real ones have a few
// dozen bytes.
const maxAcceptLanguage = 256

// Fail tells the peer what it may know of err, in its language where the
// error has it. An error that is not a [*matrix.Error] is our fault: it is
// logged here, once, and the peer sees M_UNKNOWN with status 500. That the
// peer has gone away is nobody's fault and not logged.
//
// https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
func Fail(w http.ResponseWriter, r *http.Request, err error) {
	if _, ours := errors.AsType[*matrix.Error](err); !ours && !gone(r, err) {
		logger(r).ErrorContext(r.Context(), "request failed", "route", r.Pattern, "error", err)
	}
	answer := matrix.Answer(err)
	body := make(map[string]any, len(answer.Fields)+2)
	maps.Copy(body, answer.Fields)
	body["errcode"], body["error"] = answer.Code, sentence(answer, r.Header.Get("Accept-Language"))
	if ms, ok := retryAfter(answer.Fields["retry_after_ms"]); ok {
		w.Header().Set("Retry-After", strconv.FormatInt((ms+999)/1000, 10))
	}
	if answer.Status == http.StatusRequestEntityTooLarge {
		w.Header().Set("Connection", "close") // the rest of the body is not read
	}
	respond(w, r, Status[map[string]any]{Code: answer.Status, Body: body})
}

// gone reports whether err only says that the peer did not wait.
func gone(r *http.Request, err error) bool {
	return errors.Is(err, context.Canceled) && r.Context().Err() != nil
}

// sentence returns the text of e in the first language of accept that it has.
func sentence(e *matrix.Error, accept string) string {
	if len(e.Texts) == 0 || accept == "" || len(accept) > maxAcceptLanguage {
		return e.Text
	}
	tags, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		return e.Text
	}
	for _, tag := range tags {
		base, _ := tag.Base()
		if text, ok := e.Texts[base.String()]; ok {
			return text
		}
		if base.String() == "en" { // the language of Text
			return e.Text
		}
	}
	return e.Text
}

func retryAfter(value any) (ms int64, ok bool) {
	switch v := value.(type) {
	case int64:
		return v, true
	case int:
		return int64(v), true
	}
	return 0, false
}

type loggerKey struct{}

// logger returns the logger that [Router] put into the request.
func logger(r *http.Request) *slog.Logger {
	if log, ok := r.Context().Value(loggerKey{}).(*slog.Logger); ok {
		return log
	}
	return slog.Default()
}
