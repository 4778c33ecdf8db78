package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"strconv"
	"strings"
)

// schema makes the JSON Schema of the policy document from the types of package
// policy and their comments.
func schema(src *source) ([]byte, error) {
	m := schemaMaker{types: make(map[string]typeDecl), defs: make(map[string]any)}
	for _, f := range src.files {
		if f.pkg == "policy" {
			m.add(f.tree)
		}
	}
	root, err := m.object("Document")
	if err != nil {
		return nil, err
	}
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Policy document of Beffroi"
	root["$comment"] = generated
	root["$defs"] = m.defs
	var out bytes.Buffer
	w := json.NewEncoder(&out)
	w.SetEscapeHTML(false)
	w.SetIndent("", "  ")
	err = w.Encode(root)
	return out.Bytes(), err
}

type typeDecl struct {
	spec *ast.TypeSpec
	doc  string
}

type schemaMaker struct {
	types map[string]typeDecl
	defs  map[string]any
}

func (m *schemaMaker) add(tree *ast.File) {
	for _, decl := range tree.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range d.Specs {
			if t, ok := spec.(*ast.TypeSpec); ok {
				m.types[t.Name.Name] = typeDecl{t, d.Doc.Text()}
			}
		}
	}
}

func sentence(comment string) string { return strings.Join(strings.Fields(comment), " ") }

// tagged returns the value of a key in the tag of a field.
func tagged(tag, key string) string {
	_, rest, _ := strings.Cut(tag, key+`:"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// object describes a struct.
func (m *schemaMaker) object(name string) (map[string]any, error) {
	decl := m.types[name]
	s, ok := decl.spec.Type.(*ast.StructType)
	if !ok {
		return nil, fmt.Errorf("policy.%s is no struct", name)
	}
	properties, required := make(map[string]any), []string{}
	for _, f := range s.Fields.List {
		if f.Tag == nil {
			continue // nothing that a document sets
		}
		text, _ := strconv.Unquote(f.Tag.Value)
		key, options, _ := strings.Cut(tagged(text, "json"), ",")
		value, err := m.value(f.Type, tagged(text, "enum"))
		if err != nil {
			return nil, fmt.Errorf("policy.%s.%s: %w", name, key, err)
		}
		if about := sentence(f.Doc.Text() + " " + f.Comment.Text()); about != "" {
			value["description"] = about
		}
		properties[key] = value
		if !strings.Contains(options, "omit") {
			required = append(required, key)
		}
	}
	out := map[string]any{
		"type": "object", "description": sentence(decl.doc), "properties": properties, "additionalProperties": false,
	}
	if len(required) > 0 {
		out["required"] = required
	}
	return out, nil
}

// value describes what a field of a type holds.
func (m *schemaMaker) value(t ast.Expr, words string) (map[string]any, error) {
	switch t := t.(type) {
	case *ast.StarExpr:
		return m.value(t.X, words)
	case *ast.ArrayType:
		items, err := m.value(t.Elt, words)
		return map[string]any{"type": "array", "items": items}, err
	case *ast.MapType:
		values, err := m.value(t.Value, "")
		return map[string]any{"type": "object", "additionalProperties": values}, err
	case *ast.SelectorExpr: // time.Time is the only one
		return map[string]any{"type": "string", "format": "date-time"}, nil
	case *ast.Ident:
		return m.named(t.Name, words)
	}
	return nil, fmt.Errorf("%T has no schema", t)
}

func (m *schemaMaker) named(name, words string) (map[string]any, error) {
	switch name {
	case "string":
		out := map[string]any{"type": "string"}
		if words != "" {
			out["enum"] = strings.Split(words, ",")
		}
		return out, nil
	case "int", "int64":
		return map[string]any{"type": "integer"}, nil
	case "bool":
		return map[string]any{"type": "boolean"}, nil
	case "Duration":
		return map[string]any{"type": "string", "pattern": "^([0-9]+d|([0-9]+(\\.[0-9]+)?(h|m|s|ms|us|ns))+)$"}, nil
	}
	decl, ok := m.types[name]
	if !ok {
		return nil, fmt.Errorf("there is no type %s", name)
	}
	if _, isStruct := decl.spec.Type.(*ast.StructType); !isStruct {
		return m.value(decl.spec.Type, "")
	}
	if _, done := m.defs[name]; !done {
		m.defs[name] = nil // it may name itself
		def, err := m.object(name)
		if err != nil {
			return nil, err
		}
		if name == "Entry" { // it may be written as its name
			def = map[string]any{"anyOf": []any{map[string]any{"type": "string"}, def}}
		}
		m.defs[name] = def
	}
	return map[string]any{"$ref": "#/$defs/" + name}, nil
}
