package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A document is read in two steps: YAML or JSON becomes a tree of nodes that
// know their lines, and the tree becomes a Document. So both forms have the
// same mistakes, told in the same words.

const (
	// MaxDocumentBytes is the largest document: four times one of 5,000
	// organisations and 50,000 domains. Reading YAML takes 75 times its size.
	MaxDocumentBytes = 8 << 20
	// maxTreeDepth is four times what the document type needs.
	maxTreeDepth = 32
)

type nodeKind uint8

const (
	nodeNull nodeKind = iota
	nodeString
	nodeNumber
	nodeBool
	nodeList
	nodeMap
)

// node is a value and the line it began on.
type node struct {
	kind  nodeKind
	line  int
	text  string // of a scalar, as it was written
	keys  []key  // of a map, in order, one for each item
	items []*node
}

type key struct {
	name string
	line int
}

// parseTree reads YAML, or JSON where the whole is JSON.
func parseTree(raw []byte) (*node, error) {
	if len(raw) > MaxDocumentBytes {
		return nil, fmt.Errorf("the document is larger than %d bytes", MaxDocumentBytes)
	}
	if trimmed := bytes.TrimSpace(raw); len(trimmed) > 0 && trimmed[0] == '{' && json.Valid(trimmed) {
		return parseJSON(raw)
	}
	return parseYAML(raw)
}

func parseYAML(raw []byte) (*node, error) {
	if line, deep := tooDeep(raw); deep {
		return nil, Mistakes{{Line: line, Text: "values are nested too deeply"}}
	}
	file, err := safeParse(raw)
	if err != nil {
		return nil, yamlMistake(err)
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, Mistakes{{Line: nodeLine(doc.Body), Text: "a file holds one document"}}
		}
		body = doc.Body
	}
	if body == nil {
		return nil, Mistakes{{Text: "the document is empty"}}
	}
	return fromYAML(body, 0)
}

// safeParse keeps a fault of the YAML library from becoming ours.
func safeParse(raw []byte) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the text is not YAML")
		}
	}()
	return parser.ParseBytes(raw, 0)
}

// tooDeep bounds nesting before the parser, which recurses, sees the text.
// It counts brackets and the indicators at the beginning of a line, quotes or
// not: no honest document comes near either limit.
func tooDeep(raw []byte) (line int, deep bool) {
	const maxBrackets, maxIndent = 200, 400
	line, depth, indent, start := 1, 0, 0, true
	for _, c := range raw {
		switch c {
		case '\n':
			line, indent, start = line+1, 0, true
			continue
		case ' ', '-', '?', '\t':
			if start {
				indent++
			}
		case '[', '{':
			depth++
			start = false
		case ']', '}':
			depth = max(depth-1, 0)
			start = false
		default:
			start = false
		}
		if depth > maxBrackets || indent > maxIndent {
			return line, true
		}
	}
	return 0, false
}

func yamlMistake(err error) error {
	m := Mistake{Text: err.Error()}
	if e, ok := errors.AsType[yaml.Error](err); ok {
		m.Text = e.GetMessage()
		if t := e.GetToken(); t != nil && t.Position != nil {
			m.Line = t.Position.Line
		}
	}
	return Mistakes{m}
}

func nodeLine(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

// fromYAML converts a value. Anchors, aliases, tags and merges are refused:
// they say nothing a document needs, and an alias can blow up.
func fromYAML(n ast.Node, depth int) (*node, error) {
	out := &node{line: nodeLine(n)}
	if depth > maxTreeDepth {
		return nil, Mistakes{{Line: out.line, Text: "values are nested too deeply"}}
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return out, out.fill(n.Values, depth)
	case *ast.MappingValueNode:
		return out, out.fill([]*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out.kind = nodeList
		for _, v := range n.Values {
			item, err := fromYAML(v, depth+1)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, item)
		}
	case *ast.NullNode:
		out.kind = nodeNull
	case *ast.BoolNode:
		out.kind, out.text = nodeBool, fmt.Sprint(n.Value)
	case *ast.IntegerNode, *ast.FloatNode:
		out.kind, out.text = nodeNumber, n.GetToken().Value
	case *ast.StringNode:
		out.kind, out.text = nodeString, n.Value
	case *ast.LiteralNode:
		out.kind, out.text = nodeString, n.Value.Value
	default:
		return nil, Mistakes{{Line: out.line, Text: "anchors, aliases and tags are not part of a policy document"}}
	}
	return out, nil
}

func (n *node) fill(values []*ast.MappingValueNode, depth int) error {
	n.kind = nodeMap
	for i, v := range values {
		k, ok := v.Key.(ast.ScalarNode)
		if !ok || v.Key.IsMergeKey() {
			return Mistakes{{Line: nodeLine(v), Text: "a key is a plain word"}}
		}
		if i == 0 {
			n.line = nodeLine(k)
		}
		item, err := fromYAML(v.Value, depth+1)
		if err != nil {
			return err
		}
		n.keys = append(n.keys, key{keyText(k), nodeLine(k)})
		n.items = append(n.items, item)
	}
	return nil
}

func keyText(k ast.ScalarNode) string {
	if s, ok := k.(*ast.StringNode); ok {
		return s.Value
	}
	return k.GetToken().Value
}

// parseJSON reads JSON that is known to be valid.
func parseJSON(raw []byte) (*node, error) {
	p := jsonParser{raw: raw, dec: json.NewDecoder(bytes.NewReader(raw)), line: 1}
	p.dec.UseNumber()
	n, err := p.value(0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return n, nil
}

type jsonParser struct {
	raw  []byte
	dec  *json.Decoder
	line int
	seen int64 // the offset up to which lines were counted
}

func (p *jsonParser) token() (json.Token, int, error) {
	t, err := p.dec.Token()
	end := p.dec.InputOffset()
	p.line += bytes.Count(p.raw[p.seen:end], []byte("\n"))
	p.seen = end
	return t, p.line, err
}

func (p *jsonParser) value(depth int) (*node, error) {
	t, line, err := p.token()
	if err != nil {
		return nil, err
	}
	if depth > maxTreeDepth {
		return nil, Mistakes{{Line: line, Text: "values are nested too deeply"}}
	}
	switch t := t.(type) {
	case json.Delim:
		return p.container(t, line, depth)
	case string:
		return &node{kind: nodeString, line: line, text: t}, nil
	case json.Number:
		return &node{kind: nodeNumber, line: line, text: t.String()}, nil
	case bool:
		return &node{kind: nodeBool, line: line, text: fmt.Sprint(t)}, nil
	}
	return &node{line: line}, nil
}

func (p *jsonParser) container(open json.Delim, line, depth int) (*node, error) {
	n := &node{kind: nodeList, line: line}
	if open == '{' {
		n.kind = nodeMap
	}
	for p.dec.More() {
		if n.kind == nodeMap {
			t, line, err := p.token()
			if err != nil {
				return nil, err
			}
			n.keys = append(n.keys, key{strings.Clone(t.(string)), line})
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
	}
	_, _, err := p.token()
	return n, err
}
