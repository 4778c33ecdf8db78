package policy

import (
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	a, b := mustParse(t, testFloor), mustParse(t, strings.NewReplacer("version: 40", "version: 41",
		", bad.prefecture.example", "", "class: external, homeservers: [{name: externe.example}", "class: external, ends: 2027-01-01T00:00:00Z, homeservers: [{name: externe.example}").Replace(testFloor))
	lines, err := Diff(a, b)
	want := []string{
		`- federation.deny[bad.prefecture.example]: "bad.prefecture.example"`,
		`+ organisations[partenaires].ends: "2027-01-01T00:00:00Z"`,
		`~ version: 40 → 41`,
	}
	if got := strings.Join(lines, "\n"); err != nil || got != strings.Join(want, "\n") {
		t.Errorf("%v\n%s", err, got)
	}
	if same, err := Diff(a, a); err != nil || len(same) > 0 {
		t.Error(same, err)
	}
}
