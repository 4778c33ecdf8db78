package splice_test

import (
	"strings"
	"testing"

	"beffroi/internal/splice"
)

func TestInto(t *testing.T) {
	t.Parallel()
	m := splice.By("make bench")
	first, err := m.Into("", "Benchmarks", "one\n")
	if err != nil || !strings.HasPrefix(first, "# Benchmarks\n") {
		t.Fatalf("got %q, %v", first, err)
	}
	others := strings.Replace(first, "# Benchmarks\n", "# Benchmarks\n\nBy others.\n", 1) + "\nMore by others.\n"
	second, err := m.Into(others, "Benchmarks", "two\n")
	if err != nil || second != strings.Replace(others, "one", "two", 1) {
		t.Errorf("got %q, %v", second, err)
	}
	if third, err := m.Into("# Load\n\nText.\n", "Benchmarks", "three\n"); err != nil || !strings.HasPrefix(third, "# Load\n\nText.\n\n"+m.Begin) {
		t.Errorf("got %q, %v", third, err)
	}
	if _, err := m.Into("x\n"+m.Begin+"y", "Benchmarks", "z"); err == nil {
		t.Error("a document without its second mark was written over")
	}
}
