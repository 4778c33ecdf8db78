package policy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// schemaCheck knows as much of JSON Schema as the schema uses.
type schemaCheck struct{ root map[string]any }

func (c schemaCheck) valid(s map[string]any, v any) bool {
	if ref, ok := s["$ref"].(string); ok {
		return c.valid(c.root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any), v)
	}
	if any, ok := s["anyOf"].([]any); ok {
		return slices.ContainsFunc(any, func(one anyValue) bool { return c.valid(one.(map[string]interface{}), v) })
	}
	if words, ok := s["enum"].([]any); ok && !slices.Contains(words, v) {
		return false
	}
	switch s["type"] {
	case "object":
		return c.validObject(s, v)
	case "array":
		list, ok := v.([]any)
		return ok && !slices.ContainsFunc(list, func(item anyValue) bool { return !c.valid(s["items"].(map[string]any), item) })
	case "string":
		text, ok := v.(string)
		if pattern, has := s["pattern"].(string); ok && has {
			ok = regexp.MustCompile(pattern).MatchString(text)
		}
		if s["format"] == "date-time" && ok {
			_, err := time.Parse(time.RFC3339, text)
			ok = err == nil
		}
		return ok
	case "integer":
		n, ok := v.(float64)
		return ok && n == float64(int64(n))
	case "boolean":
		_, ok := v.(bool)
		return ok
	}
	return false
}

type anyValue = any

func (c schemaCheck) validObject(s map[string]any, v any) bool {
	object, ok := v.(map[string]any)
	if !ok {
		return false
	}
	required, _ := s["required"].([]any)
	for _, key := range required {
		if _, has := object[key.(string)]; !has {
			return false
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for key, item := range object {
		of, known := properties[key].(map[string]any)
		if !known {
			if of, known = s["additionalProperties"].(map[string]any); !known {
				return false
			}
		}
		if !c.valid(of, item) {
			return false
		}
	}
	return true
}

func TestSchema(t *testing.T) {
	t.Parallel()
	var c schemaCheck
	if err := json.Unmarshal([]byte(Schema()), &c.root); err != nil {
		t.Fatal(err)
	}
	demo, err := os.ReadFile(filepath.Join("..", "cmd", "beffroi", "demo-policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := Initial("a.example").JSON()
	if err != nil {
		t.Fatal(err)
	}
	dated := strings.Replace(testDocument, "email_domains: [", "email_domains: [{name: old.example, ends: 2026-01-01T00:00:00Z}, ", 1)
	for name, text := range map[string]string{
		"full": fullDocument, "of the tests": testDocument, "of the demo": string(demo), "first": string(first), "dated": dated,
		"floor": testFloor, "local": testLocal,
	} {
		doc, err := ParseDocument([]byte(text))
		if err != nil {
			t.Fatal(name, err)
		}
		raw, err := doc.JSON()
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		if !c.valid(c.root, v) {
			t.Errorf("%s does not validate: %s", name, raw)
		}
		v["organisation"] = []any{}
		if c.valid(c.root, v) {
			t.Errorf("%s: an unknown key validates", name)
		}
	}
	for name, text := range map[string]string{
		"no version":  `{"organisations":[]}`,
		"class":       `{"version":1,"organisations":[{"id":"a","class":"extern"}]}`,
		"no class":    `{"version":1,"organisations":[{"id":"a"}]}`,
		"inner key":   `{"version":1,"organisations":[{"id":"a","class":"external","home":1}]}`,
		"date":        `{"version":1,"expires":"tomorrow"}`,
		"number":      `{"version":"1"}`,
		"bad entry":   `{"version":1,"federation":{"deny":[{"ends":"2026-01-01T00:00:00Z"}]}}`,
		"no duration": `{"version":1,"rooms":{"public":{"retention":"long"}}}`,
	} {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if c.valid(c.root, v) {
			t.Errorf("%s: %s validates", name, text)
		}
	}
}
