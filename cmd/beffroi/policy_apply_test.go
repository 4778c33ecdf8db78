package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestADocumentIsAppliedAndApproved goes the way of two administrators on the
// machine of the server.
func TestADocumentIsAppliedAndApproved(t *testing.T) {
	t.Parallel()
	folder, _ := dataFolder(t)
	next := filepath.Join(t.TempDir(), "next.yaml")
	if err := os.WriteFile(next, []byte(strings.NewReplacer("version: 3", "version: 4", "externe.example", "autre.example").Replace(testDocument)), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want string, args ...string) string {
		t.Helper()
		out, _ := runCommand(t, rootCommand(), append(args, "--data", folder, "--server-name", "localhost")...)
		if !strings.Contains(out, want) {
			t.Fatalf("%v: want %q in\n%s", args, want, out)
		}
		return out
	}
	run("externe.example  partenaires   refused", "policy", "preview", next)
	out := run("another person puts it in force", "policy", "apply", next, "--reason", "a new partner", "--as", "claire")
	id := regexp.MustCompile(`approve (\w+)`).FindStringSubmatch(out)[1]
	run("another person approves it", "policy", "approve", id, "--as", "claire")
	run("is in force as version 4", "policy", "approve", id, "--as", "denis")
	run("autre.example", "policy", "show")
	run("it can only grow", "policy", "apply", next, "--reason", "again", "--as", "claire")
	run("no document has run", "policy", "shadow")
	if out := run("bfa_", "admin", "token", "create", "--role", "auditor", "--name", "anne"); strings.Contains(run("anne", "admin", "token", "list"), strings.TrimSpace(out)) {
		t.Error("a list shows a secret")
	}
	run("audit trail is whole", "audit", "verify")
}
