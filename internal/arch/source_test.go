package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// goFile is one file of the module.
type goFile struct {
	path   string // from the root, such as roomserver/join.go
	pkg    string // its folder
	isTest bool
	lines  int
	fset   *token.FileSet
	tree   *ast.File
}

// read returns every Go file below root. It parses and does not compile, so
// that a broken package hides nothing about the others.
func read(t *testing.T, root string) (files []*goFile) {
	t.Helper()
	fset := token.NewFileSet()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		src, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		tree, err := parser.ParseFile(fset, name, src, parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, &goFile{
			path: name, pkg: path.Dir(name), isTest: strings.HasSuffix(name, "_test.go"),
			lines: strings.Count(string(src), "\n"), fset: fset, tree: tree,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func (f *goFile) imports() (out []string) {
	for _, spec := range f.tree.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// calls counts calls of a method or function of this name.
func calls(name string) func(*goFile) int {
	return count(func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return false
		}
		fun, ok := call.Fun.(*ast.SelectorExpr)
		return ok && fun.Sel.Name == name
	})
}

// literals counts values of pkg.name that are written down.
func literals(pkg, name string) func(*goFile) int {
	return count(func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return false
		}
		typ, ok := lit.Type.(*ast.SelectorExpr)
		if !ok || typ.Sel.Name != name {
			return false
		}
		x, ok := typ.X.(*ast.Ident)
		return ok && x.Name == pkg
	})
}

func count(is func(ast.Node) bool) func(*goFile) int {
	return func(f *goFile) (n int) {
		ast.Inspect(f.tree, func(node ast.Node) bool {
			if node != nil && is(node) {
				n++
			}
			return true
		})
		return n
	}
}
