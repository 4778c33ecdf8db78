package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var metricMaker = regexp.MustCompile(`^New(Counter|Gauge|Histogram|Summary)(Vec|Func)?$`)

type metric struct{ name, kind, labels, help string }

// metrics lists every metric that the code makes. Names and helps have to be
// literals.
func metrics(src *source) ([]byte, error) {
	var found []metric
	var failed error
	for _, f := range src.files {
		ast.Inspect(f.tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			m, ok, err := metricOf(call)
			if err != nil {
				failed = fmt.Errorf("%s: %w", src.fset.Position(call.Pos()), err)
			}
			if ok {
				found = append(found, m)
			}
			return true
		})
	}
	slices.SortFunc(found, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	found = slices.Compact(found)
	var out bytes.Buffer
	fmt.Fprintf(&out, "<!-- %s -->\n\n# Metrics\n\n", generated)
	out.WriteString("Served at `GET /metrics` of `metrics.listen`, with those of the process and of the Go runtime.\n\n")
	out.WriteString("| metric | kind | labels | what |\n|---|---|---|---|\n")
	for _, m := range found {
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", m.name, m.kind, m.labels, m.help)
	}
	return out.Bytes(), failed
}

// metricOf reads a call such as prometheus.NewCounterVec(CounterOpts{…}, labels).
func metricOf(call *ast.CallExpr) (m metric, ok bool, err error) {
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return m, false, nil
	}
	kind := metricMaker.FindStringSubmatch(fun.Sel.Name)
	opts, ok := call.Args[0].(*ast.CompositeLit)
	if kind == nil || !ok {
		return m, false, nil
	}
	m.kind = strings.ToLower(kind[1])
	var labels []string
	for _, element := range opts.Elts {
		field, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		name, _ := field.Key.(*ast.Ident)
		switch {
		case name == nil:
		case name.Name == "Name":
			m.name, err = literal(field.Value)
		case name.Name == "Help":
			m.help, err = literal(field.Value)
		case name.Name == "ConstLabels":
			labels = append(labels, keys(field.Value)...)
		}
		if err != nil {
			return m, false, err
		}
	}
	if len(call.Args) > 1 {
		if list, ok := call.Args[1].(*ast.CompositeLit); ok {
			for _, element := range list.Elts {
				label, err := literal(element)
				if err != nil {
					return m, false, err
				}
				labels = append(labels, label)
			}
		}
	}
	m.labels = strings.Join(labels, ", ")
	return m, m.name != "", nil
}

func keys(e ast.Expr) (out []string) {
	if lit, ok := e.(*ast.CompositeLit); ok {
		for _, element := range lit.Elts {
			if kv, ok := element.(*ast.KeyValueExpr); ok {
				if key, err := literal(kv.Key); err == nil {
					out = append(out, key)
				}
			}
		}
	}
	return out
}

// literal reads a string, which may be a sum of strings.
func literal(e ast.Expr) (string, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return strconv.Unquote(e.Value)
	case *ast.BinaryExpr:
		left, err := literal(e.X)
		if err != nil {
			return "", err
		}
		right, err := literal(e.Y)
		return left + right, err
	}
	return "", fmt.Errorf("a metric's name, help and labels must be literals")
}
