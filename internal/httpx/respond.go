package httpx

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Raw is an Out that is already JSON. It is written as it is.
type Raw []byte

// Status is an Out with another status than 200, or with headers of its own.
// A Code of zero means 200.
type Status[T any] struct {
	Code   int
	Body   T
	Header http.Header
}

// Content is an Out that is not JSON: a file, a page, a redirect. Header has
// to name its Content-Type. A nil Body writes only the header.
type Content struct {
	Code   int // zero means 200
	Header http.Header
	// Size is the length of Body, or -1 where it is not known.
	Size int64
	// Body is closed after it was written, or when the peer has gone.
	Body io.ReadCloser
}

// minCompressed is the smallest body that is worth compressing: below it the
// header of gzip and the processor's time cost more than they save.
const minCompressed = 1 << 10

// maxPooled is the largest buffer that is kept for the next answer, so that
// one big sync does not hold its memory for ever.
const maxPooled = 1 << 20

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

var gzipWriters = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// statused is satisfied by every Status[T].
type statused interface {
	parts() (code int, header http.Header, body any)
}

func (s Status[T]) parts() (int, http.Header, any) { return s.Code, s.Header, s.Body }

// respond writes out, whatever of the kinds that [JSON] lists it is.
func respond(w http.ResponseWriter, r *http.Request, out any) {
	code := http.StatusOK
	for {
		s, ok := out.(statused)
		if !ok {
			break
		}
		status, header, body := s.parts()
		addHeader(w, header)
		if status != 0 {
			code = status
		}
		out = body
	}
	switch body := out.(type) {
	case Content:
		body.write(w, r)
	case *Content:
		body.write(w, r)
	case File:
		body.write(w, r)
	case *File:
		body.write(w, r)
	case Raw:
		writeJSON(w, r, code, body)
	default:
		respondMarshalled(w, r, code, body)
	}
}

func respondMarshalled(w http.ResponseWriter, r *http.Request, code int, body any) {
	buf := buffers.Get().(*bytes.Buffer)
	buf.Reset()
	defer func() {
		if buf.Cap() <= maxPooled {
			buffers.Put(buf)
		}
	}()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		Fail(w, r, err)
		return
	}
	writeJSON(w, r, code, bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
}

func writeJSON(w http.ResponseWriter, r *http.Request, code int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bodyTimeout)) // a test recorder has none
	if len(body) > minCompressed {
		h.Add("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			writeGzip(w, code, body)
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body) // the peer may have gone; nothing to do
}

func writeGzip(w http.ResponseWriter, code int, body []byte) {
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(code)
	z := gzipWriters.Get().(*gzip.Writer)
	z.Reset(w)
	_, _ = z.Write(body) // the peer may have gone; nothing to do
	_ = z.Close()
	z.Reset(io.Discard)
	gzipWriters.Put(z)
}

// acceptsGzip reads Accept-Encoding. A quality of zero refuses.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		key, value, found := strings.Cut(strings.TrimSpace(params), "=")
		if !found || !strings.EqualFold(strings.TrimSpace(key), "q") {
			return true
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		return err == nil && q > 0
	}
	return false
}

func (c *Content) write(w http.ResponseWriter, r *http.Request) {
	addHeader(w, c.Header)
	if c.Body == nil {
		w.WriteHeader(orOK(c.Code))
		return
	}
	defer c.Body.Close()
	if c.Size >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(c.Size, 10))
	}
	w.WriteHeader(orOK(c.Code))
	if r.Method == http.MethodHead {
		return
	}
	if _, err := io.Copy(&patientWriter{w, http.NewResponseController(w)}, c.Body); err != nil && !gone(r, err) {
		if _, sending := errors.AsType[*sendError](err); !sending {
			logger(r).ErrorContext(r.Context(), "content ended early", "route", r.Pattern, "error", err)
		}
		panic(http.ErrAbortHandler) // the peer must not take half a file for a whole one
	}
}

// patientWriter gives the peer [bodyTimeout] for each piece instead of for
// the whole.
type patientWriter struct {
	w       io.Writer
	control *http.ResponseController
}

// sendError says that the peer did not take what was sent.
type sendError struct{ error }

func (p *patientWriter) Write(b []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(bodyTimeout)) // a test recorder has none
	n, err := p.w.Write(b)
	if err != nil {
		err = &sendError{err}
	}
	return n, err
}

func addHeader(w http.ResponseWriter, header http.Header) {
	for name, values := range header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
}

func orOK(code int) int {
	if code == 0 {
		return http.StatusOK
	}
	return code
}
