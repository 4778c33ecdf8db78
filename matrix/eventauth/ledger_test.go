package eventauth_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"beffroi/matrix"
)

// ledger notes which rule of which version the tests saw refuse an event.
var ledger = struct {
	sync.Mutex
	seen map[string]bool // "version:rule"
}{seen: make(map[string]bool)}

func note(version matrix.RoomVersion, rule string) {
	ledger.Lock()
	defer ledger.Unlock()
	ledger.seen[string(version)+":"+rule] = true
}

// refusals are the rules that say reject, by the numbers in the texts of the
// versions. The signature of step 5.2.1 (4.2.1) is verified by package event.
//
// https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
var refusals = map[string]string{
	"1-2": `1.1 1.2 1.3 1.4 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2 5.1 5.2.2 5.2.3 5.2.4 5.2.6
		5.3.1.1 5.3.1.2 5.3.1.3 5.3.1.4 5.3.1.5 5.3.1.6 5.3.1.8 5.3.2 5.3.3 5.3.5 5.4.1 5.4.2 5.4.3 5.4.5 5.5.1 5.5.3 5.6
		6 7.1 8 9 10.1 10.3.1 10.3.2 10.4.1 10.5.1 10.6.1 10.7.1 11.3`,
	"3-5": `1.1 1.2 1.3 1.4 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2 5.1 5.2.2 5.2.3 5.2.4 5.2.6
		5.3.1.1 5.3.1.2 5.3.1.3 5.3.1.4 5.3.1.5 5.3.1.6 5.3.1.8 5.3.2 5.3.3 5.3.5 5.4.1 5.4.2 5.4.3 5.4.5 5.5.1 5.5.3 5.6
		6 7.1 8 9 10.1 10.3.1 10.3.2 10.4.1 10.5.1 10.6.1 10.7.1`,
	"6": `1.1 1.2 1.3 1.4 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2.2 4.2.3 4.2.4 4.2.6
		4.3.1.1 4.3.1.2 4.3.1.3 4.3.1.4 4.3.1.5 4.3.1.6 4.3.1.8 4.3.2 4.3.3 4.3.5 4.4.1 4.4.2 4.4.3 4.4.5 4.5.1 4.5.3 4.6
		5 6.1 7 8 9.1 9.3.1 9.3.2 9.4.1 9.5.1 9.6.1 9.7.1`,
	"7": `1.1 1.2 1.3 1.4 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2.2 4.2.3 4.2.4 4.2.6
		4.3.1.1 4.3.1.2 4.3.1.3 4.3.1.4 4.3.1.5 4.3.1.6 4.3.1.8 4.3.2 4.3.3 4.3.5 4.4.1 4.4.2 4.4.3 4.4.5 4.5.1 4.5.3
		4.6.1 4.6.2 4.6.4 4.7 5 6.1 7 8 9.1 9.3.1 9.3.2 9.4.1 9.5.1 9.6.1 9.7.1`,
	"8-9": `1.1 1.2 1.3 1.4 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2.1 4.3.2 4.3.3 4.3.4 4.3.5.2 4.3.7
		4.4.1.1 4.4.1.2 4.4.1.3 4.4.1.4 4.4.1.5 4.4.1.6 4.4.1.8 4.4.2 4.4.3 4.4.5 4.5.1 4.5.2 4.5.3 4.5.5 4.6.1 4.6.3
		4.7.1 4.7.2 4.7.4 4.8 5 6.1 7 8 9.1 9.3.1 9.3.2 9.4.1 9.5.1 9.6.1 9.7.1`,
	"10": `1.1 1.2 1.3 1.4 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2.1 4.3.2 4.3.3 4.3.4 4.3.5.2 4.3.7
		4.4.1.1 4.4.1.2 4.4.1.3 4.4.1.4 4.4.1.5 4.4.1.6 4.4.1.8 4.4.2 4.4.3 4.4.5 4.5.1 4.5.2 4.5.3 4.5.5 4.6.1 4.6.3
		4.7.1 4.7.2 4.7.4 4.8 5 6.1 7 8 9.1 9.2 9.3 9.5.1 9.5.2 9.6.1 9.7.1 9.8.1 9.9.1`,
	"11": `1.1 1.2 1.3 2.1 2.2 2.3 2.4 2.5 3 4.1 4.2.1 4.3.2 4.3.3 4.3.4 4.3.5.2 4.3.7
		4.4.1.1 4.4.1.2 4.4.1.3 4.4.1.4 4.4.1.5 4.4.1.6 4.4.1.8 4.4.2 4.4.3 4.4.5 4.5.1 4.5.2 4.5.3 4.5.5 4.6.1 4.6.3
		4.7.1 4.7.2 4.7.4 4.8 5 6.1 7 8 9.1 9.2 9.3 9.5.1 9.5.2 9.6.1 9.7.1 9.8.1 9.9.1`,
	"12": `1.1 1.2 1.3 1.4 2 3.1 3.2 3.3 3.5 4 5.1 5.2.1 5.3.2 5.3.3 5.3.4 5.3.5.2 5.3.7
		5.4.1.1 5.4.1.2 5.4.1.3 5.4.1.4 5.4.1.5 5.4.1.6 5.4.1.8 5.4.2 5.4.3 5.4.5 5.5.1 5.5.2 5.5.3 5.5.5 5.6.1 5.6.3
		5.7.1 5.7.2 5.7.4 5.8 6 7.1 8 9 10.1 10.2 10.3 10.4 10.6.1 10.6.2 10.7.1 10.8.1 10.9.1 10.10.1`,
}

// TestMain checks after all tests that the tables have a refusal by every rule
// of every version, so that no rule goes untested when a version is added.
func TestMain(m *testing.M) {
	code := m.Run()
	if missing := unseen(); code == 0 && wholeRun() && len(missing) > 0 {
		fmt.Printf("no test is refused by these rules: %s\n", strings.Join(missing, ", "))
		code = 1
	}
	os.Exit(code)
}

// wholeRun reports whether every test ran.
func wholeRun() bool {
	return !slices.ContainsFunc([]string{"test.run", "test.skip", "test.fuzz", "test.list", "test.bench"}, func(name string) bool {
		f := flag.Lookup(name)
		return f != nil && f.Value.String() != ""
	})
}

func unseen() (missing []string) {
	for versions, rules := range refusals {
		for version := range expand(panicker{}, versions+":x") {
			for rule := range strings.FieldsSeq(rules) {
				if !ledger.seen[version+":"+rule] {
					missing = append(missing, rule+" of version "+version)
				}
			}
		}
	}
	slices.Sort(missing)
	return missing
}

// panicker fails where there is no test to fail.
type panicker struct{}

func (panicker) Helper()                      {}
func (panicker) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
