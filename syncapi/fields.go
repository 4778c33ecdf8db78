package syncapi

import (
	"encoding/json"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
)

// fieldPath is a path to a property of an event.
type fieldPath []string

// parseFields reads dot-separated paths.
//
// https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths
func parseFields(list []string) (paths []fieldPath, err error) {
	if len(list) > maxFields {
		return nil, matrix.InvalidParam("event_fields has at most %d entries", maxFields)
	}
	for _, text := range list {
		path := splitPath(text)
		if len(path) > maxFieldDepth {
			return nil, matrix.InvalidParam("an entry of event_fields has at most %d parts", maxFieldDepth)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// splitPath splits at dots; a backslash takes their meaning from dots and
// backslashes.
func splitPath(text string) (path fieldPath) {
	var part strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && (text[i+1] == '.' || text[i+1] == '\\'):
			i++
			part.WriteByte(text[i])
		case c == '.':
			path = append(path, part.String())
			part.Reset()
		default:
			part.WriteByte(c)
		}
	}
	return append(path, part.String())
}

// keepFields returns an event with only the properties that the paths name.
func keepFields(raw json.RawMessage, paths []fieldPath) (json.RawMessage, error) {
	if paths == nil {
		return raw, nil
	}
	tree := make(map[string]any)
	for _, path := range paths {
		value := []byte(raw)
		for _, part := range path {
			if value = canonicaljson.Field(value, part); value == nil {
				break
			}
		}
		if value != nil {
			plant(tree, path, value)
		}
	}
	return json.Marshal(tree)
}

// plant puts a value where a path leads in a tree.
func plant(tree map[string]any, path fieldPath, value json.RawMessage) {
	last := len(path) - 1
	for _, part := range path[:last] {
		next, ok := tree[part].(map[string]any)
		if !ok {
			if tree[part] != nil {
				return // the whole is there already
			}
			next = make(map[string]any)
			tree[part] = next
		}
		tree = next
	}
	tree[path[last]] = value
}
