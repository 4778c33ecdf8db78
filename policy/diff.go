package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Diff says what differs between two documents, one value a line: - for what
// only a has, + for what only b has, ~ for what b has otherwise. Organisations
// and rules are compared by their IDs, and names by themselves, so that their
// order makes no difference.
func Diff(a, b *Document) ([]string, error) {
	before, err := flatten(a)
	if err != nil {
		return nil, err
	}
	after, err := flatten(b)
	if err != nil {
		return nil, err
	}
	paths := slices.Collect(maps.Keys(before))
	for path := range after {
		if _, both := before[path]; !both {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	var out []string
	for _, path := range paths {
		x, had := before[path]
		y, has := after[path]
		switch {
		case !has:
			out = append(out, fmt.Sprintf("- %s: %s", path, x))
		case !had:
			out = append(out, fmt.Sprintf("+ %s: %s", path, y))
		case x != y:
			out = append(out, fmt.Sprintf("~ %s: %s → %s", path, x, y))
		}
	}
	return out, nil
}

// flatten returns every value of a document by its path.
func flatten(d *Document) (map[string]string, error) {
	raw, err := d.JSON()
	if err != nil {
		return nil, fmt.Errorf("write policy document: %w", err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, fmt.Errorf("read policy document: %w", err)
	}
	out := make(map[string]string)
	flattenInto(out, "", v)
	return out, nil
}

func flattenInto(out map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			flattenInto(out, join(path, key), item)
		}
	case []any:
		for i, item := range v {
			flattenInto(out, path+"["+itemName(item, i)+"]", item)
		}
	default:
		raw, _ := json.Marshal(v) // it was read from JSON
		out[path] = string(raw)
	}
}

// itemName names an item of a list by what it is about.
func itemName(item any, i int) string {
	if text, ok := item.(string); ok {
		return text
	}
	if object, ok := item.(map[string]any); ok {
		for _, key := range []string{"id", "name"} {
			if text, ok := object[key].(string); ok {
				return text
			}
		}
	}
	return strconv.Itoa(i)
}
