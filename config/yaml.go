package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// readYAML reads a file setting by setting, so that a mistake in one hides no
// mistake in another and each has its line.
func (l *loader) readYAML(name string, raw []byte) {
	file, err := parser.ParseBytes(raw, 0)
	if err != nil {
		l.errs = append(l.errs, fmt.Errorf("%s: %w", syntaxPlace(name, err), err))
		return
	}
	docs := 0
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		if docs++; docs > 1 {
			l.errs = append(l.errs, fmt.Errorf("%s: only one document is allowed", place(name, doc.Body)))
			return
		}
		l.section(name, "", doc.Body, make(map[string]bool))
	}
}

// section reads the settings below a key.
func (l *loader) section(name, prefix string, node ast.Node, seen map[string]bool) {
	pairs, ok := mapping(node)
	if !ok {
		what := strings.TrimSuffix(prefix, ".")
		if what == "" {
			what = "the file"
		}
		l.errs = append(l.errs, fmt.Errorf("%s: %s: must be a list of names and values", place(name, node), what))
		return
	}
	for _, pair := range pairs {
		at := place(name, pair.Key)
		word, plain := scalar(pair.Key)
		if !plain {
			l.errs = append(l.errs, fmt.Errorf("%s: the name of a setting must be a word", at))
			continue
		}
		key := prefix + word
		if seen[key] {
			l.errs = append(l.errs, fmt.Errorf("%s: %s: is set twice", at, key))
			continue
		}
		seen[key] = true
		s, known := lookup(key)
		switch {
		case known:
			l.value(at, s, pair.Value)
		case isSection(key) && pair.Value.Type() == ast.NullType:
			// A section whose every line is a comment.
		case isSection(key):
			l.section(name, key+".", pair.Value, seen)
		default:
			l.unknown(at, key)
		}
	}
}

func mapping(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

func (l *loader) unknown(at, key string) {
	var keys []string
	for _, s := range allSettings() {
		keys = append(keys, s.Key)
		if section, _, ok := strings.Cut(s.Key, "."); ok {
			keys = append(keys, section)
		}
	}
	hint := ""
	if near := nearest(key, keys, maxTypos); near != "" {
		hint = fmt.Sprintf("; did you mean %s?", near)
	}
	l.errs = append(l.errs, fmt.Errorf("%s: %s: unknown setting%s", at, key, hint))
}

// value reads one setting. A setting without a value keeps its default.
func (l *loader) value(at string, s Setting, node ast.Node) {
	switch n := node.(type) {
	case *ast.NullNode:
	case *ast.SequenceNode:
		if !s.List {
			l.mistake(s.Key, at, errors.New("takes one value, not a list"))
			return
		}
		texts := make([]string, 0, len(n.Values))
		for _, item := range n.Values {
			text, ok := scalar(item)
			if !ok {
				l.mistake(s.Key, at, errors.New("must be a list of plain values"))
				return
			}
			texts = append(texts, text)
		}
		l.assign(s, texts, at)
	default:
		text, ok := scalar(node)
		if !ok {
			l.mistake(s.Key, at, errors.New("must be a plain value"))
			return
		}
		l.assign(s, []string{text}, at)
	}
}

// scalar returns a value as it was written, without quotes.
func scalar(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return node.GetToken().Value, true
	}
	return "", false
}

func place(name string, node ast.Node) string {
	if token := node.GetToken(); token != nil && token.Position != nil {
		return fmt.Sprintf("%s:%d", name, token.Position.Line)
	}
	return name
}

// syntaxPlace finds the line in an error of the parser.
func syntaxPlace(name string, err error) string {
	if bad, ok := errors.AsType[*yaml.SyntaxError](err); ok && bad.Token != nil && bad.Token.Position != nil {
		return fmt.Sprintf("%s:%d", name, bad.Token.Position.Line)
	}
	return name
}
