package homeserver

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
)

// maxMetrics bounds the page of metrics of a server.
const maxMetrics = 8 << 20

// Metrics reads the metrics of the server in the text format of Prometheus,
// whose address is the base URL. Every metric is the sum over its labels; the
// buckets of histograms are left out.
func (s *Server) Metrics(ctx context.Context) (map[string]float64, error) {
	raw, err := s.do(ctx, request{method: http.MethodGet, maxBytes: maxMetrics})
	if err != nil {
		return nil, err
	}
	return parseMetrics(raw), nil
}

// parseMetrics skips the lines that it does not understand: what is missing is
// missing in the report.
func parseMetrics(raw []byte) map[string]float64 {
	sums := make(map[string]float64)
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		end := strings.IndexAny(line, "{ ")
		if end <= 0 || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest := line[:end], line[end:]
		if rest[0] == '{' {
			_, rest, _ = cutLast(rest, "}")
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 || strings.HasSuffix(name, "_bucket") {
			continue
		}
		if v, err := strconv.ParseFloat(fields[0], 64); err == nil {
			sums[name] += v
		}
	}
	return sums
}

// cutLast is strings.Cut at the last separator, because a label may hold one.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
