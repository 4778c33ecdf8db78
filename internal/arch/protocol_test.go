package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const languageDir = "matrix"

func inLanguage(pkg string) bool {
	return pkg == languageDir || strings.HasPrefix(pkg, languageDir+"/")
}

// doors are the functions of the language that decide what becomes of an
// event, and the packages that may call them. So there is one way in.
var doors = map[string][]string{
	"event.ParseUntrusted":      {"roomserver"},
	"event.ParseStored":         {"storage/rooms"},
	"event.VerifySignatures":    {"roomserver"},
	"eventauth.Check":           {"roomserver"},
	"eventauth.CheckAuthEvents": {"roomserver"},
	"stateres.Resolve":          {"roomserver"},

	"ed25519.Sign":              {measure},
	"ed25519.Verify":            {measure},
	"ed25519.VerifyWithOptions": nil,
	"ed25519.NewKeyFromSeed":    {measure},
	"ed25519.GenerateKey":       nil,
}

// measure is the package that times the machine itself, beside which the
// figures of the language are written down.
const measure = "internal/benchtable"

// hashesNoEvent are the packages that have events in their hands and so have
// no business with a hash function: the hashes of events are made in one place.
var hashesNoEvent = []string{"roomserver", "federation", "syncapi", "clientapi", "storage/rooms"}

// eventField are the fields of an event that nobody needs who does not take
// one apart or put one together by hand.
var eventField = regexp.MustCompile("[\"`.](prev_events|auth_events|hashes)[\"`.,\\\\]")

// handMade proves that nothing but the language parses, hashes, signs or
// authorises events.
func handMade(files []*goFile) (out []string) {
	for _, f := range files {
		if f.isTest || inLanguage(f.pkg) || f.pkg == "internal/arch" {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(doors)) {
			pkg, fn, _ := strings.Cut(name, ".")
			if !slices.Contains(doors[name], f.pkg) && qualified(pkg, fn)(f) > 0 {
				out = append(out, fmt.Sprintf("%s calls %s, which only %v may", f.path, name, append([]string{"matrix/…"}, doors[name]...)))
			}
		}
		for _, imp := range f.imports() {
			hash := strings.HasPrefix(imp, "crypto/sha") || imp == "crypto/md5"
			if hash && slices.ContainsFunc(hashesNoEvent, func(p string) bool { return f.pkg == p || strings.HasPrefix(f.pkg, p+"/") }) {
				out = append(out, fmt.Sprintf("%s imports %s; events are hashed by matrix/event", f.path, imp))
			}
		}
		ast.Inspect(f.tree, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && eventField.MatchString(lit.Value) {
				out = append(out, fmt.Sprintf("%s takes an event apart by hand (%s); matrix/event reads and makes them", f.fset.Position(lit.Pos()), lit.Value))
			}
			return true
		})
	}
	return out
}

// qualified counts uses of pkg.name, as a call or as a value.
func qualified(pkg, name string) func(*goFile) int {
	return count(func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != name {
			return false
		}
		x, ok := sel.X.(*ast.Ident)
		return ok && x.Name == pkg
	})
}

// ours are the exported names of the language about which the specification
// has nothing to say.
var ours = []string{
	"canonicaljson.Member", "canonicaljson.Cursor", "canonicaljson.Object", "canonicaljson.Array", // walking over bytes
	"canonicaljson.Field", "canonicaljson.SetField", "canonicaljson.MaxDepth", "canonicaljson.EnvelopeDepth",
	"pushrules.MaxRules", "pushrules.MaxConditions", "pushrules.MaxActions", "pushrules.MaxRuleBytes", "pushrules.MaxPattern",
	"signing.EncodeSeed", "signing.DecodeSeed", // the key file
	"stateres.Budget", "stateres.BudgetError", "stateres.DefaultEvents", "stateres.DefaultDuration",
}

// undocumented returns the exported names of the language without a comment,
// and those without a section of the specification: in their own comment or,
// for methods and constants, in that of their type.
func undocumented(files []*goFile) (out []string) {
	linked := make(map[string]bool) // type: its comment has a link
	var names []exported
	for _, f := range files {
		if f.isTest || !inLanguage(f.pkg) {
			continue
		}
		for _, name := range exportedNames(f) {
			names = append(names, name)
			linked[name.pkg+"."+name.name] = hasSection(name.text)
		}
	}
	for _, n := range names {
		full := n.pkg + "." + n.name
		switch {
		case strings.TrimSpace(n.text) == "":
			out = append(out, fmt.Sprintf("%s has no comment", full))
		case !hasSection(n.text) && !linked[n.pkg+"."+n.of] && !slices.Contains(ours, full) && !slices.Contains(ours, n.pkg+"."+n.of):
			out = append(out, fmt.Sprintf("%s links no section of the specification", full))
		}
	}
	return out
}

func hasSection(text string) bool { return strings.Contains(text, "https://spec.matrix.org/v1.19/") }

// exported is an exported name with its comment.
type exported struct {
	pkg, name string
	of        string // the type of a method or constant
	text      string
}

func exportedNames(f *goFile) (out []exported) {
	pkg := f.tree.Name.Name
	for _, decl := range f.tree.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			e := exported{pkg: pkg, name: d.Name.Name, text: d.Doc.Text()}
			if d.Recv != nil {
				e.of = typeName(d.Recv.List[0].Type)
				e.name = e.of + "." + e.name
			}
			if d.Name.IsExported() && (e.of == "" || ast.IsExported(e.of)) {
				out = append(out, e)
			}
		case *ast.GenDecl:
			out = append(out, exportedIn(pkg, d)...)
		}
	}
	return out
}

// exportedIn returns the names of one declaration of types or values. What
// stands in a list may be commented by the list.
func exportedIn(pkg string, d *ast.GenDecl) (out []exported) {
	of := ""
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				out = append(out, exported{pkg: pkg, name: s.Name.Name, text: d.Doc.Text() + s.Doc.Text() + s.Comment.Text()})
			}
		case *ast.ValueSpec:
			if s.Type != nil || len(s.Values) > 0 { // else it repeats the one before, with iota
				of = typeName(s.Type)
			}
			for _, name := range s.Names {
				if name.IsExported() {
					out = append(out, exported{pkg: pkg, name: name.Name, of: of, text: d.Doc.Text() + s.Doc.Text() + s.Comment.Text()})
				}
			}
		}
	}
	return out
}

func typeName(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return typeName(t.X)
	case *ast.Ident:
		return t.Name
	case *ast.SelectorExpr:
		return t.Sel.Name
	}
	return ""
}
