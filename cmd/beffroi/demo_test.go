package main

import (
	"bytes"
	"strings"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix"
)

// TestDemoStory plays the story of the demo, three whole servers that federate
// over TLS, on each engine.
func TestDemoStory(t *testing.T) {
	t.Parallel()
	for _, engine := range testkit.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := runDemo(t.Context(), &out, demoOptions{check: true,
				database: func(matrix.ServerName) string { return testkit.DSN(t, engine) }})
			if err != nil || !strings.Contains(out.String(), " 0 failed\n") {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}
