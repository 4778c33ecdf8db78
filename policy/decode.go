package policy

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Mistake is one thing that is wrong with a document.
type Mistake struct {
	Line int    // 0 where it is not known
	Path string // such as organisations[1].email_domains[0]; may be empty
	Text string
}

// String returns the mistake as an operator reads it.
func (m Mistake) String() string {
	var b strings.Builder
	if m.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", m.Line)
	}
	if m.Path != "" {
		b.WriteString(m.Path + ": ")
	}
	b.WriteString(m.Text)
	return b.String()
}

// Mistakes is the error of [ParseDocument] and [Compile]: all that is wrong,
// at once.
type Mistakes []Mistake

// maxMistakes bounds what is told of one document.
const maxMistakes = 100

// Error returns one mistake a line.
func (m Mistakes) Error() string {
	lines := make([]string, 0, len(m))
	for i, one := range m {
		if i == maxMistakes {
			lines = append(lines, fmt.Sprintf("and %d more", len(m)-i))
			break
		}
		lines = append(lines, one.String())
	}
	return strings.Join(lines, "\n")
}

// ParseDocument reads a document in YAML or JSON. The error is [Mistakes]
// wherever the text itself is at fault. It checks the form only: what the
// values say is for [Document.Check].
func ParseDocument(raw []byte) (*Document, error) {
	tree, err := parseTree(raw)
	if err != nil {
		return nil, err
	}
	d := decoder{lines: make(map[string]int)}
	doc := new(Document)
	d.value(tree, reflect.ValueOf(doc).Elem(), "")
	if len(d.mistakes) > 0 {
		return nil, d.mistakes
	}
	doc.lines = d.lines
	return doc, nil
}

type decoder struct {
	mistakes Mistakes
	lines    map[string]int
}

func (d *decoder) wrong(n *node, path, format string, args ...any) {
	d.mistakes = append(d.mistakes, Mistake{n.line, path, fmt.Sprintf(format, args...)})
}

// value stores n in v and notes what does not fit. A null stands for nothing.
func (d *decoder) value(n *node, v reflect.Value, path string) {
	if path != "" {
		d.lines[path] = n.line
	}
	if n.kind == nodeNull {
		return
	}
	if t, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(n, t, path)
		return
	}
	if e, ok := v.Addr().Interface().(*Entry); ok && (n.kind == nodeString || n.kind == nodeNumber) {
		e.setName(n.text)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path)
	case reflect.Struct:
		d.structure(n, v, path)
	case reflect.Map:
		d.dictionary(n, v, path)
	case reflect.Slice:
		if n.kind != nodeList {
			d.wrong(n, path, "a list is wanted here")
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
		for i, item := range n.items {
			d.value(item, v.Index(i), path+"["+strconv.Itoa(i)+"]")
		}
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) text(n *node, t encoding.TextUnmarshaler, path string) {
	if n.kind != nodeString && n.kind != nodeNumber {
		d.wrong(n, path, "a text is wanted here")
	} else if err := t.UnmarshalText([]byte(n.text)); err != nil {
		if _, isDuration := t.(*Duration); !isDuration {
			d.wrong(n, path, "%q is not a date such as 2027-01-31T00:00:00Z", clip(n.text))
			return
		}
		d.wrong(n, path, "%q %v", clip(n.text), err)
	}
}

func (d *decoder) scalar(n *node, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.String:
		if n.kind == nodeString || n.kind == nodeNumber { // version: 12
			v.SetString(n.text)
			return
		}
		d.wrong(n, path, "a text is wanted here")
	case reflect.Bool:
		if n.kind == nodeBool {
			v.SetBool(n.text == "true")
			return
		}
		d.wrong(n, path, "true or false is wanted here")
	default: // int, int64
		i, err := strconv.ParseInt(n.text, 10, 64)
		if n.kind == nodeNumber && err == nil {
			v.SetInt(i)
			return
		}
		d.wrong(n, path, "a whole number is wanted here")
	}
}

func (d *decoder) dictionary(n *node, v reflect.Value, path string) {
	if n.kind != nodeMap {
		d.wrong(n, path, "a map is wanted here")
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.keys)))
	seen := make(map[string]bool, len(n.keys))
	for i, k := range n.keys {
		if d.repeated(seen, k, path) {
			continue
		}
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(n.items[i], item, join(path, k.name))
		v.SetMapIndex(reflect.ValueOf(k.name), item)
	}
}

func (d *decoder) structure(n *node, v reflect.Value, path string) {
	if n.kind != nodeMap {
		d.wrong(n, path, "a map is wanted here")
		return
	}
	seen := make(map[string]bool, len(n.keys))
	for i, k := range n.keys {
		field, known := fieldNamed(v, k.name)
		switch {
		case !known:
			d.mistakes = append(d.mistakes, Mistake{k.line, path, unknownKey(k.name, v.Type())})
		case !d.repeated(seen, k, path):
			d.value(n.items[i], field, join(path, k.name))
		}
	}
}

// repeated notes a key that stood in the map before.
func (d *decoder) repeated(seen map[string]bool, k key, path string) bool {
	if seen[k.name] {
		d.mistakes = append(d.mistakes, Mistake{k.line, path, fmt.Sprintf("%q stands here twice", clip(k.name))})
		return true
	}
	seen[k.name] = true
	return false
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func fieldNamed(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if fieldName(v.Type().Field(i)) == name && name != "" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// fieldName returns the key of a field, "" for one that no document sets.
func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

func unknownKey(name string, t reflect.Type) string {
	var known []string
	for f := range t.Fields() {
		if n := fieldName(f); n != "" {
			known = append(known, n)
		}
	}
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("%q is not a key here; did you mean %q?", clip(name), near)
	}
	slices.Sort(known)
	return fmt.Sprintf("%q is not a key here; the keys are %s", clip(name), strings.Join(known, ", "))
}

// nearest returns the word of known that is few changes away from name, or "".
func nearest(name string, known []string) string {
	const maxWord = 64 // longer is no slip of the pen
	best, changes := "", 3
	if len(name) > maxWord {
		return ""
	}
	for _, k := range known {
		if n := distance(name, k); n < changes || n == changes && best == "" && n < len(k)/2 {
			best, changes = k, n
		}
	}
	return best
}

// distance counts the letters to change, add or leave out between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// clip bounds what a message repeats of an input.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
