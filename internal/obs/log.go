// Package obs is how operators see into the server: its log, its metrics and
// which build it is.
package obs

import (
	"fmt"
	"io"
	"log/slog"
)

// The formats of the log.
const (
	FormatText = "text" // for people at a terminal
	FormatJSON = "json" // one object a line, for collectors
)

// NewLogger returns a logger that writes lines at or above level ("debug",
// "info", "warn", "error") to w in a format. It fails on other words.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var opts slog.HandlerOptions
	switch level {
	case "debug":
		opts.Level = slog.LevelDebug
	case "info":
		opts.Level = slog.LevelInfo
	case "warn":
		opts.Level = slog.LevelWarn
	case "error":
		opts.Level = slog.LevelError
	default:
		return nil, fmt.Errorf("%q is not a log level", level)
	}
	switch format {
	case FormatText:
		return slog.New(slog.NewTextHandler(w, &opts)), nil
	case FormatJSON:
		return slog.New(slog.NewJSONHandler(w, &opts)), nil
	}
	return nil, fmt.Errorf("%q is not a log format", format)
}
