package arch

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "beffroi/"

// rules are what TestArchitecture checks. Each returns what breaks it.
var rules = map[string]func([]*goFile) []string{
	"imports":        brokenImports,
	"foreign":        foreignImports,
	"pure":           impure,
	"gates":          gateBreaks,
	"SQL":            sqlOutsideStorage,
	"sizes":          tooLong,
	"comments":       uncommented,
	"no owner above": ownersImportOwners,
	"one protocol":   handMade,
	"documented":     undocumented,
}

func TestArchitecture(t *testing.T) {
	t.Parallel()
	files := read(t, filepath.Join("..", ".."))
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, broken := range rule(files) {
				t.Error(broken)
			}
		})
	}
}

func brokenImports(files []*goFile) (out []string) {
	unknown := make(map[string]bool)
	for _, f := range files {
		allowed, known := mayImport[f.pkg]
		if !known && !unknown[f.pkg] {
			unknown[f.pkg] = true
			out = append(out, fmt.Sprintf("%s is new: say in mayImport what it may import", f.pkg))
		}
		if f.isTest || !known {
			continue
		}
		for _, imp := range f.imports() {
			dep, ours := strings.CutPrefix(imp, module)
			if !ours || slices.Contains(allowed, dep) ||
				slices.Contains(allowed, everything) && !strings.HasPrefix(dep, "cmd/") {
				continue
			}
			out = append(out, fmt.Sprintf("%s must not import %s", f.path, dep))
		}
	}
	return out
}

func ownersImportOwners([]*goFile) (out []string) {
	for _, owner := range owners {
		for _, dep := range mayImport[owner] {
			if slices.Contains(owners, dep) {
				out = append(out, fmt.Sprintf("the table lets %s import %s, and owners do not import each other", owner, dep))
			}
		}
	}
	return out
}

func foreignImports(files []*goFile) (out []string) {
	for _, f := range files {
		for _, imp := range f.imports() {
			allowed, limited := onlyIn[imp]
			within := func(pkg string) bool { return f.pkg == pkg || strings.HasPrefix(f.pkg, pkg+"/") }
			if limited && !f.isTest && !slices.ContainsFunc(allowed, within) {
				out = append(out, fmt.Sprintf("%s must not import %s", f.path, imp))
			}
		}
	}
	return out
}

func impure(files []*goFile) (out []string) {
	for _, f := range files {
		if f.isTest || !slices.Contains(pure, f.pkg) {
			continue
		}
		for _, imp := range f.imports() {
			if slices.Contains(forbidden, imp) {
				out = append(out, fmt.Sprintf("%s imports %s, and %s does no I/O", f.path, imp, f.pkg))
			}
		}
	}
	return out
}

// gateBreaks proves that each decision of policy is taken in one place.
func gateBreaks(files []*goFile) (out []string) {
	for _, gate := range gates {
		for _, f := range files {
			if f.isTest || f.pkg == "policy" || f.pkg == "internal/arch" {
				continue
			}
			if n := gate.finds(f); n > 0 && !slices.Contains(gate.files, f.path) {
				out = append(out, fmt.Sprintf("%s %s; only %s may", f.path, gate.what, strings.Join(gate.files, ", ")))
			}
		}
	}
	return out
}

var sqlText = regexp.MustCompile(`(?is)^["` + "`" + `]\s*(SELECT\b.*\bFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|(CREATE|DROP|ALTER)\s+(TABLE|INDEX)|WITH\b.*\bSELECT)\b`)

func sqlOutsideStorage(files []*goFile) (out []string) {
	for _, f := range files {
		if f.isTest || f.pkg == "storage" || strings.HasPrefix(f.pkg, "storage/") {
			continue
		}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && sqlText.MatchString(lit.Value) {
				out = append(out, fmt.Sprintf("%s has SQL in it, which belongs below storage/", f.fset.Position(lit.Pos())))
			}
			return true
		})
	}
	return out
}

func tooLong(files []*goFile) (out []string) {
	for _, f := range files {
		if f.lines > maxFileLines {
			out = append(out, fmt.Sprintf("%s has %d lines; split it by subject (limit %d)", f.path, f.lines, maxFileLines))
		}
		if f.isTest {
			continue
		}
		for _, decl := range f.tree.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1; n > maxFunctionLines {
				out = append(out, fmt.Sprintf("%s in %s has %d lines; its steps want names (limit %d)",
					fn.Name.Name, f.path, n, maxFunctionLines))
			}
		}
	}
	return out
}

func uncommented(files []*goFile) (out []string) {
	comments := make(map[string][]string)
	for _, f := range files {
		if f.isTest {
			continue
		}
		comments[f.pkg] = append(comments[f.pkg], "")
		if f.tree.Doc != nil {
			comments[f.pkg] = append(comments[f.pkg], f.tree.Doc.Text())
		}
	}
	for pkg, texts := range comments {
		texts = slices.DeleteFunc(texts, func(s string) bool { return s == "" })
		if len(texts) != 1 || !strings.HasPrefix(texts[0], "Package ") && !strings.HasPrefix(texts[0], "Command ") {
			out = append(out, fmt.Sprintf("%s must be defined by one package comment, and has %d", pkg, len(texts)))
		}
	}
	slices.Sort(out)
	return out
}

// TestRulesNotice plants one breach of every rule.
func TestRulesNotice(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ rule, path, src, want string }{
		"edge knows storage": {"imports", "clientapi/a.go", `package clientapi; import _ "beffroi/storage"`,
			"clientapi/a.go must not import storage"},
		"arrow upwards": {"imports", "matrix/a.go", `package matrix; import _ "beffroi/policy"`, "matrix/a.go must not import policy"},
		"nobody imports a command": {"imports", "internal/node/a.go", `package node; import _ "beffroi/cmd/beffroi"`,
			"internal/node/a.go must not import cmd/beffroi"},
		"new package": {"imports", "helpers/a.go", `package helpers`, "helpers is new"},
		"driver":      {"foreign", "syncapi/a.go", `package syncapi; import _ "database/sql"`, "syncapi/a.go must not import database/sql"},
		"I/O":         {"pure", "matrix/event/a.go", `package event; import _ "os"`, "matrix/event/a.go imports os"},
		"second gate": {"gates", "roomserver/send.go", `package roomserver; func f() { s.gate.AdmitEvent(nil, nil) }`,
			"roomserver/send.go asks the engine"},
		"decision at the edge": {"gates", "clientapi/rooms.go", `package clientapi; func f() { e.Decide(policy.Request{}) }`,
			"clientapi/rooms.go asks the engine"},
		"request at the edge": {"gates", "clientapi/rooms.go", `package clientapi; var r = &policy.Request{}`,
			"clientapi/rooms.go describes a request"},
		"SQL": {"SQL", "account/a.go", "package account; const q = `\n\tSELECT a FROM b`", "account/a.go:1:28 has SQL"},
		"long file": {"sizes", "account/a.go", "package account\n" + strings.Repeat("\n", maxFileLines),
			"account/a.go has 401 lines"},
		"long function": {"sizes", "account/a.go", "package account\n\nfunc f() {" + strings.Repeat("\n", maxFunctionLines) + "}",
			"f in account/a.go has 61 lines"},
		"signs by itself": {"one protocol", "account/a.go", `package account; func f() { ed25519.Sign(k, b) }`,
			"account/a.go calls ed25519.Sign"},
		"second way in": {"one protocol", "clientapi/a.go", `package clientapi; func f() { event.ParseUntrusted(b, r) }`,
			"clientapi/a.go calls event.ParseUntrusted, which only [matrix/… roomserver] may"},
		"hashes by itself": {"one protocol", "federation/client/a.go", `package client; import _ "crypto/sha256"`,
			"federation/client/a.go imports crypto/sha256"},
		"takes an event apart": {"one protocol", "federation/a.go", "package federation; type t struct { P []string `json:\"prev_events\"` }",
			"federation/a.go:1:48 takes an event apart"},
		"undocumented": {"documented", "matrix/a.go", `package matrix; func F() {}`, "matrix.F has no comment"},
		"no section": {"documented", "matrix/a.go", "package matrix\n\n// F does.\nfunc F() {}",
			"matrix.F links no section"},
		"no comment": {"comments", "account/a.go", "package account", "account must be defined by one package comment"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			path := filepath.Join(root, filepath.FromSlash(tc.path))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(tc.src), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(rules[tc.rule](read(t, root)), "\n"); !strings.Contains(got, tc.want) {
				t.Errorf("%q lacks %q", got, tc.want)
			}
		})
	}
}
