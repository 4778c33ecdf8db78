package obs

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"testing"
)

func TestLogger(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		format, level string
		lines         int // of one message a level
		wantErr       bool
	}{
		"all":            {"text", "debug", 4, false},
		"default":        {"text", "info", 3, false},
		"warnings":       {"json", "warn", 2, false},
		"errors":         {"json", "error", 1, false},
		"unknown level":  {"text", "loud", 0, true},
		"unknown format": {"xml", "info", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			log, err := NewLogger(&out, tc.format, tc.level)
			if (err != nil) != tc.wantErr {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			log.Debug("said", "room_id", "!r")
			log.Info("said", "room_id", "!r")
			log.Warn("said", "room_id", "!r")
			log.Error("said", "room_id", "!r")
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(lines) != tc.lines {
				t.Errorf("%d lines, want %d", len(lines), tc.lines)
			}
			for _, line := range lines {
				if json.Valid([]byte(line)) != (tc.format == FormatJSON) || !strings.Contains(line, "!r") {
					t.Errorf("%s: %s", tc.format, line)
				}
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	MetricsHandler(NewRegistry()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{"beffroi_build_info{", "go_goroutines ", "process_resident_memory_bytes "} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	for name, tc := range map[string]struct {
		version  string
		settings []debug.BuildSetting
		want     Build
	}{
		"working tree": {"(devel)", nil, Build{Version: "dev"}},
		"release":      {"v1.2.3", []debug.BuildSetting{setting("vcs.revision", "abc")}, Build{Version: "v1.2.3", Revision: "abc"}},
		"changed": {"", []debug.BuildSetting{setting("vcs.modified", "true"), setting("vcs.revision", "abc")},
			Build{Version: "dev", Revision: "abc+changes"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info := &debug.BuildInfo{Main: debug.Module{Version: tc.version}, Settings: tc.settings}
			if got := fill(Build{Version: "dev"}, info); got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}
