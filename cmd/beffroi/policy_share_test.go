package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPolicyIsSharedAndRolledBack(t *testing.T) {
	t.Parallel()
	folder, _ := dataFolder(t)
	key := filepath.Join(folder, "signing.key")
	if err := os.WriteFile(key, []byte("ed25519 a1 "+strings.Repeat("A", 43)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bundle, file := filepath.Join(folder, "bundle.json"), filepath.Join(folder, "policy.yaml")
	out, err := runCommand(t, policyCommand(), "export", bundle, "--data", folder)
	_, pin, _ := strings.Cut(out, `keys: ["`)
	pin, _, _ = strings.Cut(pin, `"`)
	if err != nil || !strings.HasPrefix(pin, "ed25519:a1 ") {
		t.Fatalf("%v\n%s", err, out)
	}
	trusted := []string{"--policy-feed-issuer", "dinum.example", "--policy-feed-keys", pin}
	for _, step := range []struct {
		args []string
		ok   bool
		want string
	}{
		{[]string{"test", file}, true, "1 tests passed"},
		{[]string{"diff", "3", file}, true, ""},
		{[]string{"diff", "3", "8"}, false, "no document 8"},
		{[]string{"rollback", "x"}, false, "not a version"},
		{[]string{"rollback", "9"}, false, "no document 9"},
		{[]string{"rollback", "3"}, true, "document 3 is in force again, as version 4"},
		{[]string{"diff", "3", "4"}, true, "~ version: 3 → 4"},
		{[]string{"import", bundle}, false, "policy_feed.issuer"},
		{append([]string{"import", bundle}, trusted...), true, "the floor is version 3 of dinum.example"},
		{[]string{"peers"}, true, "this server enforces document 4 on floor 3"},
		{[]string{"explain", "--action", "federate_in", "--server", "x.example", "--lang", "en"}, true, "of the floor"},
	} {
		out, err := runCommand(t, policyCommand(), append(step.args, "--data", folder)...)
		if (err == nil) != step.ok || !strings.Contains(out, step.want) {
			t.Errorf("%v: %v\n%s", step.args, err, out)
		}
	}
}
