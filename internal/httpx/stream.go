package httpx

import (
	"io"
	"net/http"
	"time"
)

// Stream is the In of a call whose body is not JSON and is read by its handler,
// piece by piece. The peer has to send something all the time.
type Stream struct {
	io.Reader
	// Size is how long the body is, -1 where the peer did not say.
	Size int64
	// ContentType is what the peer says that it is.
	ContentType string
}

const (
	// pieceTimeout bounds the wait for the next piece of a body.
	pieceTimeout = 30 * time.Second
	// streamGrace and minStreamRate bound the whole: whoever sends less than so
	// many bytes a second after that time holds a connection and not a file.
	streamGrace   = 2 * time.Minute
	minStreamRate = 4 << 10
)

func newStream(r *http.Request, control *http.ResponseController) Stream {
	return Stream{&patientReader{from: r.Body, control: control, start: time.Now()}, r.ContentLength, r.Header.Get("Content-Type")}
}

// patientReader gives the peer time for each piece of a body.
type patientReader struct {
	from    io.Reader
	control *http.ResponseController
	start   time.Time
	read    int64
}

func (p *patientReader) Read(b []byte) (int, error) {
	deadline := p.start.Add(streamGrace + time.Duration(p.read/minStreamRate)*time.Second)
	if next := time.Now().Add(pieceTimeout); next.Before(deadline) {
		deadline = next
	}
	_ = p.control.SetReadDeadline(deadline) // a test recorder has none
	n, err := p.from.Read(b)
	p.read += int64(n)
	return n, err
}
