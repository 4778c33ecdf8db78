package clientapi

import (
	"strings"
	"testing"

	"beffroi/policy"
)

// TestTable holds every route against the rule: one action of the policy, or a
// reason why there is none.
func TestTable(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, rt := range new(Server).table() {
		name := rt.method + " " + rt.path
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
		if (rt.action == policy.ActionNone) == (rt.free == "") {
			t.Errorf("%s must have an action or a reason why it has none, and not both", name)
		}
		if rt.do == nil {
			t.Errorf("%s does nothing", name)
		}
		if rt.who == self && !strings.Contains(rt.path, "{userID}") {
			t.Errorf("%s says whose it is nowhere", name)
		}
	}
}
