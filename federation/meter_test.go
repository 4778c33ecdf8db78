package federation

import (
	"testing"

	"beffroi/matrix"
)

func TestMeter(t *testing.T) {
	t.Parallel()
	var m meter
	var held []func()
	for range maxOriginBytes / maxTransaction {
		release, err := m.take("One.example", maxTransaction)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, release)
	}
	if _, err := m.take("one.example", 1); !matrix.IsCode(err, "M_LIMIT_EXCEEDED") {
		t.Errorf("beyond the share of a server: %v", err)
	}
	var others []func()
	for i := range (maxAllBytes - maxOriginBytes) / maxOriginBytes {
		release, err := m.take(matrix.ServerName(rune('a'+i)), maxOriginBytes)
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, release)
	}
	if _, err := m.take("two.example", 1); !matrix.IsCode(err, "M_LIMIT_EXCEEDED") {
		t.Errorf("beyond what all may hold: %v", err)
	}
	for _, release := range append(held, others...) {
		release()
	}
	if m.all != 0 || len(m.origins) != 0 {
		t.Errorf("%d bytes of %d servers are never given back", m.all, len(m.origins))
	}
}
