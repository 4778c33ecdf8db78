package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/storage"
)

const testDocument = `version: 3
issuer: dinum.example
organisations:
  - {id: interieur, class: government, homeservers: [{name: localhost}]}
  - {id: partenaires, class: external, homeservers: [{name: externe.example}], contact: "mailto:ssi@localhost"}
tests:
  - {can: "@x:externe.example", action: create_room, expect: deny}
`

// runCommand runs a command and returns what it printed, mistakes included.
func runCommand(t *testing.T, cmd *cobra.Command, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	if err != nil {
		out.WriteString(err.Error())
	}
	return out.String(), err
}

// dataFolder returns a data folder in which a server ran, and the ID of
// something that it refused.
func dataFolder(t *testing.T) (folder, decision string) {
	t.Helper()
	folder = t.TempDir()
	db, err := storage.Open(t.Context(), filepath.Join(folder, "beffroi.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "policy.yaml"), []byte(testDocument), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := policystore.Open(t.Context(), policystore.Options{DB: db, Self: "localhost", Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	refused := s.Check(t.Context(), &policy.Request{
		Action: policy.ActionCreateRoom, Actor: "@x:externe.example", Source: policy.SourceFederation,
	})
	if !matrix.IsCode(refused, "M_FORBIDDEN") {
		t.Fatal(refused)
	}
	for e, err := range s.Audit(t.Context(), policystore.Filter{}) {
		if err != nil || e.Kind == policystore.KindRefusal {
			t.Fatal("written before it was flushed", e, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for e := range s.Audit(t.Context(), policystore.Filter{Kind: policystore.KindRefusal}) {
		decision = e.ID
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return folder, decision
}

func TestPolicyCheck(t *testing.T) {
	t.Parallel()
	folder, _ := dataFolder(t)
	tests := map[string]struct {
		text string
		ok   bool
		want string
	}{
		"newer":          {strings.Replace(testDocument, "version: 3", "version: 4", 1), true, "1 tests passed"},
		"the active one": {testDocument, true, "version 3 is valid for localhost"},
		"not newer":      {strings.Replace(testDocument, "externe", "autre", 1), false, "p.yaml:1: version"},
		"misspelt":       {strings.Replace(testDocument, "issuer", "isuer", 1), false, `p.yaml:2: "isuer" is not a key here`},
		"a test fails": {strings.Replace(strings.Replace(testDocument, "version: 3", "version: 4", 1), "expect: deny", "expect: allow", 1),
			false, "expected allow, got deny (external_cannot_create)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "p.yaml")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := runCommand(t, policyCommand(), "check", path, "--data", folder)
			if (err == nil) != test.ok || !strings.Contains(out, test.want) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	if out, err := runCommand(t, policyCommand(), "check", filepath.Join(folder, "policy.yaml"), "--data", t.TempDir()); err != nil {
		t.Errorf("without a database: %v\n%s", err, out)
	}
}

func TestPolicyShowAndExplain(t *testing.T) {
	t.Parallel()
	folder, decision := dataFolder(t)
	tests := map[string]struct {
		args []string
		ok   bool
		want []string
	}{
		"show":        {[]string{"show"}, true, []string{"# version 3", "sha256", "id: partenaires"}},
		"json":        {[]string{"show", "--json"}, true, []string{`{"version":3,`}},
		"journal":     {[]string{"show", "--journal"}, true, []string{"VERSION", "dinum.example", "file"}},
		"development": {[]string{"show", "--development"}, true, []string{"registration: open"}},
		"decision": {[]string{"explain", strings.ToLower(decision), "--lang", "fr"}, true,
			[]string{decision, "external_cannot_create", "ne peuvent pas créer", "@x:externe.example", "federation"}},
		"no such decision": {[]string{"explain", "01M807G7JFCP9MN9AJR50NJ47R"}, false, []string{"M_NOT_FOUND"}},
		"allowed":          {[]string{"explain", "--actor", "@a:localhost", "--action", "create_room"}, true, []string{"interieur", "allowed"}},
		"denied": {[]string{"explain", "--actor", "@x:externe.example", "--action", "create_room", "--lang", "fr"}, true,
			[]string{"partenaires", "Refusé (external_cannot_create"}},
		"no such room": {[]string{"explain", "--actor", "@a:localhost", "--action", "join", "--room", "!r:localhost"}, false,
			[]string{"no such room"}},
		"all mistakes": {[]string{"explain", "--actor", "a", "--action", "join", "--subject", "b", "--server", "c/d", "--at", "noon"}, false,
			[]string{"--actor", "--subject", "--server", "--at"}},
		"unknown action": {[]string{"explain", "--action", "jump"}, false, []string{"join"}},
		"nothing asked":  {[]string{"explain"}, false, []string{"decision ID"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := runCommand(t, policyCommand(), append(test.args, "--data", folder)...)
			if (err == nil) != test.ok {
				t.Errorf("%v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in\n%s", want, out)
				}
			}
		})
	}
}

func TestAudit(t *testing.T) {
	t.Parallel()
	folder, decision := dataFolder(t)
	whole, err := runCommand(t, auditCommand(), "verify", "--data", folder)
	lines := strings.Fields(whole)
	noted := lines[len(lines)-1]
	if err != nil || !strings.HasPrefix(noted, "2:") {
		t.Fatalf("%v\n%s", err, whole)
	}
	tests := map[string]struct {
		args []string
		ok   bool
		want string
	}{
		"noted":          {[]string{"verify", "--noted", noted}, true, "whole"},
		"another noted":  {[]string{"verify", "--noted", "1:00"}, false, "entry 1"},
		"more noted":     {[]string{"verify", "--noted", "7:00"}, false, "there were 7"},
		"not a note":     {[]string{"verify", "--noted", "seven"}, false, "LINES:HASH"},
		"list":           {[]string{"list"}, true, decision},
		"filtered":       {[]string{"list", "--action", "create_room", "--reason", "external_cannot_create", "--actor", "@x:externe.example", "--since", "all"}, true, decision},
		"json":           {[]string{"list", "--json", "--kind", "refusal"}, true, `"id":"` + decision + `"`},
		"nothing so old": {[]string{"list", "--since", "all", "--until", "1h"}, true, "DECISION"},
		"no time":        {[]string{"list", "--since", "yesterday"}, false, "--since"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := runCommand(t, auditCommand(), append(test.args, "--data", folder)...)
			if (err == nil) != test.ok || !strings.Contains(out, test.want) {
				t.Errorf("%v\n%s", err, out)
			}
			if name == "nothing so old" && strings.Contains(out, decision) {
				t.Errorf("listed\n%s", out)
			}
		})
	}
	if out, err := runCommand(t, auditCommand(), "verify", "--data", t.TempDir()); err == nil {
		t.Errorf("there is no database\n%s", out)
	}
}
