package policystore_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/storage"
)

const self = matrix.ServerName("a.example")

// document returns a document with the server itself and the servers given,
// each a ministry.
func document(version int64, partners ...string) string {
	text := fmt.Sprintf("version: %d\nissuer: dinum.example\norganisations:\n"+
		"  - {id: own, class: government, homeservers: [{name: a.example}], contact: \"mailto:ssi@a.example\"}\n", version)
	for i, name := range partners {
		text += fmt.Sprintf("  - {id: p%d, class: government, homeservers: [{name: %s}]}\n", i, name)
	}
	return text
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// clock is a time that a test moves.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ms.Store(time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC).UnixMilli())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMilli(c.ms.Load()) }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// open opens a store that logs to the test's log.
func open(t testing.TB, o policystore.Options) *policystore.Store {
	t.Helper()
	s, err := tryOpen(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryOpen(t testing.TB, o policystore.Options) (*policystore.Store, error) {
	o.Self = self
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return policystore.Open(t.Context(), o)
}

func speaksWith(s *policystore.Store, server matrix.ServerName) bool {
	return s.Check(context.Background(), &policy.Request{Action: policy.ActionFederateOut, Server: server}) == nil
}

func TestFirstStartWritesAFileForPeople(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		folder := filepath.Join(t.TempDir(), "data")
		s := open(t, policystore.Options{DB: db, Folder: folder})
		if speaksWith(s, "b.example") || !speaksWith(s, self) {
			t.Error("the first document admits only this server")
		}
		path := filepath.Join(folder, "policy.yaml")
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := policy.ParseDocument(raw)
		if err != nil || doc.Version != 1 {
			t.Fatal(doc, err)
		}
		if sum, err := policystore.SHA256(doc); err != nil || sum != s.Active().SHA256 {
			t.Errorf("the file is not the active document: %v", err)
		}
		info, _ := os.Stat(path)
		if left, _ := filepath.Glob(filepath.Join(folder, ".policy-*")); len(left) > 0 || info.Mode().Perm() != 0o640 {
			t.Errorf("mode %v, left %v", info.Mode(), left)
		}
	})
}

func TestAFileIsActivatedOnlyWithAGreaterVersion(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		ok   bool
		want string // in the error
	}{
		"greater":             {document(8, "b.example", "c.example"), true, ""},
		"the same":            {document(7, "b.example"), true, ""},
		"in other words":      {"# a comment\n" + document(7, "b.example") + "\n", true, ""},
		"changed, not raised": {document(7, "c.example"), false, "line 1: version"},
		"lower":               {document(6, "c.example"), false, "line 1: version"},
		"not YAML":            {"version: [", false, "line 1"},
		"empty":               {"", false, "empty"},
		"unknown key":         {document(8) + "organization: []\n", false, `did you mean "organisations"`},
		"without this server": {strings.ReplaceAll(document(8), "a.example}]", "x.example}]"), false, "no organisation has this server"},
		"a test fails": {document(8, "b.example") +
			"tests: [{action: federate_out, server: b.example, expect: deny}]\n", false, "expected deny, got allow"},
		"too large": {document(8) + strings.Repeat("#", policy.MaxDocumentBytes), false, "larger than"},
	}
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		version := int64(7)
		path := filepath.Join(t.TempDir(), "p.yaml")
		write(t, path, document(7, "b.example"))
		s := open(t, policystore.Options{DB: db, File: path})
		for name, test := range tests {
			if test.ok && strings.HasPrefix(name, "greater") {
				continue // last, below
			}
			write(t, path, test.text)
			err := s.Reload(t.Context())
			if (err == nil) != test.ok || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v", name, err)
			}
			if s.Active().Version != version || !speaksWith(s, "b.example") || speaksWith(s, "c.example") {
				t.Errorf("%s: version %d is active", name, s.Active().Version)
			}
		}
		write(t, path, tests["greater"].text)
		if err := s.Reload(t.Context()); err != nil || !speaksWith(s, "c.example") || s.Active().Version != 8 {
			t.Errorf("greater: %v, version %d", err, s.Active().Version)
		}
		journal, err := policystore.Journal(t.Context(), db, 10)
		if err != nil || len(journal) != 2 || journal[0].Version != 8 || journal[0].Way != policystore.WayFile {
			t.Errorf("journal %+v, %v", journal, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		kinds := map[string]int{}
		for e, err := range s.Audit(t.Context(), policystore.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			kinds[e.Kind]++
		}
		if kinds[policystore.KindActivation] != 2 || kinds[policystore.KindRejected] != 8 {
			t.Errorf("audited %v", kinds)
		}
	})
}

func TestRestartKeepsTheDocumentWhenTheFileIsBad(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		path := filepath.Join(t.TempDir(), "p.yaml")
		o := policystore.Options{DB: db, File: path}
		if _, err := tryOpen(t, o); err == nil {
			t.Fatal("a file that the operator named and that is missing is a mistake")
		}
		write(t, path, "nonsense: true")
		if _, err := tryOpen(t, o); err == nil || !strings.Contains(err.Error(), "nonsense") {
			t.Fatalf("without any document there is nothing to enforce: %v", err)
		}
		write(t, path, document(3, "b.example"))
		open(t, o)
		write(t, path, "nonsense: true")
		if s := open(t, o); s.Active().Version != 3 || !speaksWith(s, "b.example") {
			t.Error("the active document was lost")
		}
		folder := t.TempDir() // of another node of the same cluster
		open(t, policystore.Options{DB: db, Folder: folder})
		if raw, _ := os.ReadFile(filepath.Join(folder, "policy.yaml")); !strings.Contains(string(raw), "b.example") {
			t.Errorf("the new file is %q", raw)
		}
	})
}

func TestDevelopmentIsPermissiveAndLeavesNoTrace(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		folder := t.TempDir()
		s := open(t, policystore.Options{DB: db, Folder: folder, Development: true})
		if !speaksWith(s, "anybody.example") || s.Active().Way != policystore.WayDevelopment {
			t.Error("not permissive")
		}
		if files, _ := os.ReadDir(folder); len(files) > 0 {
			t.Errorf("wrote %v", files)
		}
		if s := open(t, policystore.Options{DB: db, Folder: folder}); speaksWith(s, "anybody.example") {
			t.Error("the permissive document outlived development")
		}
		path := filepath.Join(folder, "mine.yaml")
		write(t, path, document(2, "b.example"))
		if s := open(t, policystore.Options{DB: db, File: path, Development: true}); speaksWith(s, "anybody.example") {
			t.Error("a named file holds in development too")
		}
	})
}

// running is a store whose Run runs, and what it activated.
func running(t *testing.T, o policystore.Options) (*policystore.Store, <-chan int64) {
	t.Helper()
	activated := make(chan int64, 16) // more than any test activates
	o.Activated = func(a policystore.Active) { activated <- a.Version }
	s := open(t, o)
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		group.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, activated
}

func await(t *testing.T, activated <-chan int64, want int64) {
	t.Helper()
	select {
	case version := <-activated:
		if version != want {
			t.Errorf("activated %d, want %d", version, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("version %d never came", want)
	}
}

func TestAChangedFileTakesEffectOnEveryNode(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		path := filepath.Join(t.TempDir(), "p.yaml")
		write(t, path, document(1))
		s, activated := running(t, policystore.Options{DB: db, File: path})
		other, otherActivated := running(t, policystore.Options{DB: db})
		if speaksWith(s, "b.example") || speaksWith(other, "b.example") {
			t.Fatal("b is not a partner yet")
		}
		write(t, path, document(2, "b.example")) // the same size and perhaps the same time as nothing: the hash tells
		await(t, activated, 2)
		await(t, otherActivated, 2)
		if !speaksWith(s, "b.example") || !speaksWith(other, "b.example") {
			t.Error("b should be a partner now")
		}
		doc, err := policy.ParseDocument([]byte(document(3)))
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Activate(t.Context(), doc, policystore.Editor{Actor: "@ed:a.example", Way: policystore.WayAPI}); err != nil {
			t.Fatal(err)
		}
		await(t, otherActivated, 3)
		await(t, activated, 3)
		if speaksWith(s, "b.example") || s.Active().Actor != "@ed:a.example" {
			t.Error("b should be gone")
		}
	})
}

func TestOfTwoActivationsAtOnceOneWins(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		stores := []*policystore.Store{
			open(t, policystore.Options{DB: db}), open(t, policystore.Options{DB: db}),
		}
		errs := make([]error, 8)
		var group sync.WaitGroup
		for i := range errs {
			doc, err := policy.ParseDocument([]byte(document(2, fmt.Sprintf("b%d.example", i))))
			if err != nil {
				t.Fatal(err)
			}
			group.Go(func() { errs[i] = stores[i%2].Activate(t.Context(), doc, policystore.Editor{Actor: "x", Way: "api"}) })
		}
		group.Wait()
		won := -1
		for i, err := range errs {
			switch {
			case err == nil && won >= 0:
				t.Errorf("%d and %d both won", won, i)
			case err == nil:
				won = i
			case !strings.Contains(err.Error(), "version"):
				t.Errorf("%d: %v", i, err)
			}
		}
		if won < 0 || !speaksWith(stores[won%2], matrix.ServerName(fmt.Sprintf("b%d.example", won))) {
			t.Errorf("%d won and is not in force", won)
		}
	})
}

func TestAnAlteredDocumentIsNotEnforced(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		open(t, policystore.Options{DB: db})
		exec(t, db, `UPDATE policy_documents SET document = REPLACE(document, 'deny', 'allow')`)
		if _, err := tryOpen(t, policystore.Options{DB: db}); err == nil || !strings.Contains(err.Error(), "not the one that was activated") {
			t.Errorf("%v", err)
		}
	})
}

func exec(t testing.TB, db *storage.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
		_, err := tx.Exec(ctx, query, args...)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
