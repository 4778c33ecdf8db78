package httpx

import (
	"log/slog"
	"net/http"
	"time"
)

const (
	// headerTimeout bounds how long a peer may take to send the header.
	headerTimeout = 10 * time.Second
	// idleTimeout is longer than the pause between two long polls.
	idleTimeout = 3 * time.Minute
	// maxHeaderBytes holds the longest filter in a query and any token.
	maxHeaderBytes = 64 << 10
)

// NewServer returns a server with the limits that every listener of ours has.
// There is no limit of the whole answer: a long poll may last, and [JSON]
// bounds the reading of a body and the writing of an answer by itself.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // scanners, aborted handshakes
	}
}
