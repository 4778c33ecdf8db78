package httpx

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"beffroi/matrix"
)

// File is an Out that the peer may ask for in parts, and not again while it has
// it. Header has to name its Content-Type.
type File struct {
	Header http.Header
	// ETag names these bytes and no others, in quotes.
	ETag string
	Size int64
	// Content is closed after it was written, or when the peer has gone.
	Content io.ReadSeekCloser
}

// filePiece is what the peer has to take within [bodyTimeout]: less than the
// slowest mobile line carries in it.
const filePiece = 256 << 10

func (f *File) write(w http.ResponseWriter, r *http.Request) {
	defer func() { _ = f.Content.Close() }()
	addHeader(w, f.Header)
	h := w.Header()
	h.Set("ETag", f.ETag)
	h.Set("Accept-Ranges", "bytes")
	if hasTag(r.Header.Get("If-None-Match"), f.ETag) {
		h.Del("Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	part, ok := f.part(r)
	if !ok {
		h.Set("Content-Range", "bytes */"+strconv.FormatInt(f.Size, 10))
		for _, name := range []string{"ETag", "Cache-Control", "Content-Disposition"} {
			h.Del(name)
		}
		Fail(w, r, matrix.NewError(http.StatusRequestedRangeNotSatisfiable, "M_UNKNOWN", "The file has %d bytes, and none of those asked for", f.Size))
		return
	}
	if _, err := f.Content.Seek(part.from, io.SeekStart); err != nil {
		Fail(w, r, err)
		return
	}
	code := http.StatusOK
	if part.length < f.Size || part.asked {
		code = http.StatusPartialContent
		h.Set("Content-Range", "bytes "+strconv.FormatInt(part.from, 10)+"-"+strconv.FormatInt(part.from+part.length-1, 10)+"/"+strconv.FormatInt(f.Size, 10))
	}
	h.Set("Content-Length", strconv.FormatInt(part.length, 10))
	w.WriteHeader(code)
	if r.Method == http.MethodHead {
		return
	}
	f.send(w, r, part.length)
}

// send writes length bytes from where Content stands. A file of this machine
// goes by way of the kernel.
func (f *File) send(w http.ResponseWriter, r *http.Request, length int64) {
	control := http.NewResponseController(w)
	var err error
	if _, own := f.Content.(*os.File); own {
		for left := length; left > 0 && err == nil; left -= filePiece {
			_ = control.SetWriteDeadline(time.Now().Add(bodyTimeout)) // a test recorder has none
			_, err = io.CopyN(w, f.Content, min(left, filePiece))
		}
	} else {
		_, err = io.CopyBuffer(&patientWriter{w, control}, io.LimitReader(f.Content, length), make([]byte, filePiece))
		if _, sending := errors.AsType[*sendError](err); err != nil && !sending && !gone(r, err) {
			logger(r).ErrorContext(r.Context(), "file ended early", "route", r.Pattern, "error", err)
		}
	}
	if err != nil {
		panic(http.ErrAbortHandler) // the peer must not take half a file for a whole one
	}
}

// span is a part of a file.
type span struct {
	from, length int64
	asked        bool
}

// part returns the part that a request asks for. What is no range, or several
// at once, is the whole file; ok is false where nothing of the file is in it.
func (f *File) part(r *http.Request) (_ span, ok bool) {
	whole := span{0, f.Size, false}
	spec, isBytes := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	first, last, isRange := strings.Cut(strings.TrimSpace(spec), "-")
	if !isBytes || !isRange || r.Method != http.MethodGet || strings.Contains(spec, ",") {
		return whole, true
	}
	if tag := r.Header.Get("If-Range"); tag != "" && tag != f.ETag {
		return whole, true
	}
	from, errFrom := digits(first)
	to, errTo := digits(last)
	switch {
	case first == "" && errTo == nil: // the last so many
		if to == 0 || f.Size == 0 {
			return span{}, false
		}
		length := min(to, f.Size)
		return span{f.Size - length, length, true}, true
	case errFrom != nil || last != "" && (errTo != nil || to < from):
		return whole, true
	case from >= f.Size:
		return span{}, false
	case last == "":
		to = f.Size - 1
	}
	return span{from, min(to, f.Size-1) - from + 1, true}, true
}

// digits reads a number without a sign. One that no file is long enough for is
// as good as any other.
func digits(s string) (int64, error) {
	if strings.ContainsAny(s, "+-") {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		err = nil
	}
	return n, err
}

// hasTag reports whether the header names the tag, or any.
func hasTag(header, tag string) bool {
	for given := range strings.SplitSeq(header, ",") {
		if given = strings.TrimPrefix(strings.TrimSpace(given), "W/"); given == tag || given == "*" {
			return true
		}
	}
	return false
}
