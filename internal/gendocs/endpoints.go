package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The calls of the specification, what of them is not yet served or not yet
// tested, and what is not served on purpose.
//
//go:embed endpoints.tsv
var endpointList string

//go:embed notyet.txt
var notYetList string

//go:embed unserved.tsv
var unservedList string

// tested names tests of calls that they make by other means than their paths,
// such as a story of two servers.
//
//go:embed tested.tsv
var testedList string

// endpoint is one call of the specification.
type endpoint struct{ api, method, path, since string }

func (e *endpoint) name() string { return e.method + " " + e.path }

func endpoints() (list []endpoint) {
	for line := range strings.Lines(endpointList) {
		if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) == 4 {
			list = append(list, endpoint{f[0], f[1], f[2], f[3]})
		}
	}
	return list
}

// notYet are the calls that still lack a handler or a test.
func notYet() map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(notYetList) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out[line] = true
		}
	}
	return out
}

// unserved are the calls that are left out, and why.
func unserved() map[string]string { return pairs(unservedList) }

func pairs(list string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(list) {
		if name, why, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			out[name] = why
		}
	}
	return out
}

var parameters = regexp.MustCompile(`\{[^}]*\}`)

// pattern is a call with nameless parameters, so that ours can be compared with
// those of the specification.
func pattern(name string) string {
	name = strings.TrimSuffix(name, "{$}")
	return parameters.ReplaceAllString(name, "{}")
}

// endpointTable writes the calls of the specification with their handlers and
// tests. A call that lacks one of them, and is in none of the lists, is an
// error.
func endpointTable(src *source, out *bytes.Buffer) error {
	served, tested := routes(src), newTests(src)
	later, never := notYet(), unserved()
	var missing []string
	last, complete := "", 0
	var rows bytes.Buffer
	list := endpoints()
	for _, e := range list {
		if e.api != last {
			last = e.api
			fmt.Fprintf(&rows, "\n### %s\n\n| call | since | handler | test |\n|---|---|---|---|\n", strings.ToUpper(last[:1])+last[1:])
		}
		handler, test := served[pattern(e.name())], tested.of(&e)
		switch why := never[e.name()]; {
		case handler != "" && test != "":
			complete++
			fmt.Fprintf(&rows, "| `%s` | %s | `%s` | `%s` |\n", e.name(), e.since, handler, test)
			continue
		case why != "":
			fmt.Fprintf(&rows, "| `%s` | %s | [not served](divergences.md) | |\n", e.name(), e.since)
			continue
		case !later[e.name()]:
			missing = append(missing, e.name())
		}
		fmt.Fprintf(&rows, "| `%s` | %s | %s | %s |\n", e.name(), e.since, code(handler), code(test))
	}
	if len(missing) > 0 {
		return fmt.Errorf("these calls lack a handler or a test, and neither internal/gendocs/notyet.txt nor unserved.tsv names them:\n%s",
			strings.Join(missing, "\n"))
	}
	fmt.Fprintf(out, "\n## Calls\n\nOf the %d calls of the client-server and the server-server API %d have a handler and a test. "+
		"[Divergences](divergences.md) says why %d are not served.\n", len(list), complete, len(never))
	out.Write(rows.Bytes())
	return nil
}

func code(name string) string {
	if name == "" {
		return "not yet"
	}
	return "`" + name + "`"
}

// routes finds the lines of the tables of routes: which call has which handler.
func routes(src *source) map[string]string {
	found := map[string]string{}
	texts := newConstants(src)
	for _, f := range src.files {
		if f.pkg != "clientapi" && f.pkg != "federation" && f.pkg != "internal/node" {
			continue
		}
		pkg := f.tree.Name.Name
		ast.Inspect(f.tree, func(n ast.Node) bool {
			name, last := "", ast.Expr(nil)
			switch n := n.(type) {
			case *ast.CompositeLit:
				if len(n.Elts) > 2 {
					method, path := texts.eval(pkg, n.Elts[0]), texts.eval(pkg, n.Elts[1])
					name, last = method+" "+path, n.Elts[len(n.Elts)-1]
				}
			case *ast.CallExpr:
				for _, arg := range n.Args {
					if text := texts.eval(pkg, arg); isCall.MatchString(text) {
						name, last = text, n.Args[len(n.Args)-1]
					}
				}
			}
			if isCall.MatchString(name) {
				if handler := handlerOf(last); handler != "" {
					found[pattern(name)] = pkg + ".Server." + handler
				}
			}
			return true
		})
	}
	return found
}

var isCall = regexp.MustCompile(`^(GET|PUT|POST|DELETE) /`)

// handlerOf returns the method that an expression names, such as do(s.login).
func handlerOf(e ast.Expr) (name string) {
	if e == nil {
		return ""
	}
	ast.Inspect(e, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && name == "" {
			name = sel.Sel.Name
		}
		return true
	})
	return name
}

// constants are the constant texts of all packages, by package and name.
type constants map[string]map[string]string

func newConstants(src *source) constants {
	out := constants{"http": {"MethodGet": "GET", "MethodPut": "PUT", "MethodPost": "POST", "MethodDelete": "DELETE"}}
	for range 2 { // some are made of others
		for _, f := range slices.Concat(src.files, src.tests) {
			pkg := f.tree.Name.Name
			if out[pkg] == nil {
				out[pkg] = map[string]string{}
			}
			for _, decl := range f.tree.Decls {
				d, ok := decl.(*ast.GenDecl)
				if !ok || d.Tok != token.CONST {
					continue
				}
				for _, spec := range d.Specs {
					v := spec.(*ast.ValueSpec)
					for i, name := range v.Names {
						if i < len(v.Values) {
							if text := out.eval(pkg, v.Values[i]); text != "" {
								out[pkg][name.Name] = text
							}
						}
					}
				}
			}
		}
	}
	return out
}

// eval returns the text that an expression is, "" where it is none.
func (c constants) eval(pkg string, e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, _ := strconv.Unquote(e.Value)
			return text
		}
	case *ast.Ident:
		return c[pkg][e.Name]
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return c[x.Name][e.Sel.Name]
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return c.eval(pkg, e.X) + c.eval(pkg, e.Y)
		}
	}
	return ""
}

// testFunc is a function of a test: which texts it has, and which methods it
// calls with.
type testFunc struct {
	name, api string
	texts     []string
	methods   map[string]bool
}

type testFuncs []testFunc

// testsOf are the packages whose tests speak the APIs.
var testsOf = map[string]string{"clientapi": "client-server", "federation": "server-server", "federation/client": "server-server"}

func newTests(src *source) (out testFuncs) {
	texts := newConstants(src)
	for _, f := range src.tests {
		if testsOf[f.pkg] == "" {
			continue
		}
		for _, decl := range f.tree.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && d.Body != nil {
				out = append(out, newTest(&f, d, texts))
			}
		}
	}
	slices.SortStableFunc(out, func(a, b testFunc) int { // a test before what tests share
		return strings.Compare(helperRank(a.name), helperRank(b.name))
	})
	return out
}

func helperRank(name string) string {
	if _, fn, _ := strings.Cut(name, "."); strings.HasPrefix(fn, "Test") {
		return "0" + name
	}
	return "1" + name
}

func newTest(f *file, d *ast.FuncDecl, texts constants) testFunc {
	t := testFunc{name: strings.TrimSuffix(f.tree.Name.Name, "_test") + "." + d.Name.Name, api: testsOf[f.pkg], methods: map[string]bool{}}
	ast.Inspect(d.Body, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			t.methods[strings.ToUpper(strings.TrimPrefix(sel.Sel.Name, "Method"))] = true
		}
		if e, ok := n.(ast.Expr); ok {
			if text, _, _ := strings.Cut(texts.eval(f.tree.Name.Name, e), "?"); text != "" {
				t.texts = append(t.texts, text)
				t.methods[text] = true
			}
		}
		return true
	})
	return t
}

// of returns a test that makes a call, "" where there is none: it has the
// method, and the path behind its last parameter or before it.
func (list testFuncs) of(e *endpoint) string {
	if name := pairs(testedList)[e.name()]; name != "" && slices.ContainsFunc(list, func(t testFunc) bool { return t.name == name }) {
		return name
	}
	for _, t := range list {
		if t.api != e.api || t.api == "client-server" && !t.methods[e.method] {
			continue
		}
		if slices.ContainsFunc(t.texts, func(text string) bool { return e.isIn(text) }) {
			return t.name
		}
	}
	return ""
}

func (e *endpoint) isIn(text string) bool {
	path := pattern(e.path)
	for _, prefix := range []string{"/_matrix/client/v3", "/_matrix/client/v1", "/_matrix/federation/v1", "/_matrix/federation/v2"} {
		path = strings.TrimPrefix(path, prefix)
	}
	if e.api == "server-server" {
		word := strings.Trim(strings.ReplaceAll(path, "/{}", ""), "/")
		return strings.Contains("/"+text+"/", "/"+word+"/")
	}
	i := strings.LastIndex(path, "{}")
	if i < 0 {
		return strings.HasSuffix(text, path)
	}
	if tail := path[i+len("{}"):]; tail != "" {
		return strings.HasSuffix(text, tail)
	}
	for strings.HasSuffix(path, "/{}") {
		path = strings.TrimSuffix(path, "/{}")
	}
	if i = strings.LastIndex(path, "{}"); i >= 0 {
		path = path[i+len("{}"):]
	}
	return strings.Contains(text, path+"/")
}
