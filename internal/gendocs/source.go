package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// source is the code of the module.
type source struct {
	fset  *token.FileSet
	files []file // in the order of their paths, without tests
	tests []file // in the order of their paths
}

// file is one Go file.
type file struct {
	pkg  string // the folder, such as internal/httpx
	tree *ast.File
}

func load(root string) (*source, error) {
	src := &source{fset: token.NewFileSet()}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		tree, err := parser.ParseFile(src.fset, filepath.Join(root, filepath.FromSlash(name)), nil, parser.ParseComments)
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, "_test.go") {
			src.tests = append(src.tests, file{path.Dir(name), tree})
			return nil
		}
		src.files = append(src.files, file{path.Dir(name), tree})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the code: %w", err)
	}
	return src, nil
}

// owner names the declaration that a position belongs to, such as
// clientapi.Server.sendMessage, or the package where there is none.
func (f *file) owner(pos token.Pos) string {
	pkg := f.tree.Name.Name
	for _, decl := range f.tree.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if !within(pos, d, d.Doc) {
				continue
			}
			if d.Recv != nil {
				return pkg + "." + receiver(d.Recv.List[0].Type) + "." + d.Name.Name
			}
			return pkg + "." + d.Name.Name
		case *ast.GenDecl:
			if !within(pos, d, d.Doc) {
				continue
			}
			return pkg + "." + specName(d, pos)
		}
	}
	return pkg
}

func within(pos token.Pos, node ast.Node, doc *ast.CommentGroup) bool {
	start := node.Pos()
	if doc != nil {
		start = doc.Pos()
	}
	return start <= pos && pos <= node.End()
}

func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return "?"
}

// specName names the part of a declaration that pos is in, or its first.
func specName(d *ast.GenDecl, pos token.Pos) string {
	name := ""
	for _, spec := range d.Specs {
		var doc *ast.CommentGroup
		here := ""
		switch s := spec.(type) {
		case *ast.TypeSpec:
			here, doc = s.Name.Name, s.Doc
		case *ast.ValueSpec:
			here, doc = s.Names[0].Name, s.Doc
		}
		if name == "" || within(pos, spec, doc) {
			name = here
		}
	}
	return name
}
