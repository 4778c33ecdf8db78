package stateres_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestNothingRecurses follows the calls within the package: auth chains are as
// long as others make them, so no function may come back to itself. It goes by
// the names, which finds more than there is and never less.
func TestNothingRecurses(t *testing.T) {
	t.Parallel()
	calls := make(map[string]map[string]bool)
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range tree.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				calls[fn.Name.Name] = mentioned(fn, calls[fn.Name.Name])
			}
		}
	}
	for changed := true; changed; { // what is called by what is called
		changed = false
		for _, direct := range calls {
			for _, name := range slices.Collect(maps.Keys(direct)) {
				before := len(direct)
				maps.Copy(direct, calls[name])
				changed = changed || len(direct) > before
			}
		}
	}
	for name, reached := range calls {
		if reached[name] {
			t.Errorf("%s may call itself", name)
		}
	}
	if !calls["Resolve"]["walk"] {
		t.Error("the calls were not followed")
	}
}

// mentioned adds the names of what a function calls or hands on: functions of
// the package and methods of values, but not functions of other packages. A
// field that has the name of a method is not handed on by reading it.
func mentioned(fn *ast.FuncDecl, into map[string]bool) map[string]bool {
	if into == nil {
		into = make(map[string]bool)
	}
	packages := []string{"matrix", "event", "eventauth", "slices", "maps", "cmp", "bytes"}
	fields := []string{"event", "state", "budget"}
	called := make(map[ast.Expr]bool)
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			called[n.Fun] = true
			if x, ok := n.Fun.(*ast.Ident); ok {
				into[x.Name] = true
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			foreign := ok && slices.Contains(packages, x.Name)
			if !foreign && (called[n] || !slices.Contains(fields, n.Sel.Name)) {
				into[n.Sel.Name] = true
			}
		}
		return true
	})
	return into
}
