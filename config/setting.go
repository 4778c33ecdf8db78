package config

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// Setting is one thing that can be set, as the documentation sees it.
type Setting struct {
	Key     string // in the file: smtp.password_file
	Flag    string // on the command line, without dashes: smtp-password-file
	Env     string // in the environment: BEFFROI_SMTP_PASSWORD_FILE
	Default string // in the form of the environment; "" for an empty value
	List    bool   // may be given several times
	Bool    bool   // needs no value as a flag

	// Struct and Field name the Go field, whose comment is the documentation.
	Struct, Field string

	index []int
}

const envPrefix = "BEFFROI_"

// Settings returns every setting in the order of the fields of [Config].
func Settings() []Setting { return allSettings() }

var allSettings = sync.OnceValue(func() []Setting {
	return collect(nil, reflect.ValueOf(Default()), "", nil)
})

func collect(out []Setting, v reflect.Value, prefix string, index []int) []Setting {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		key := prefix + field.Tag.Get("yaml")
		at := append(append([]int(nil), index...), i)
		if field.Type.Kind() == reflect.Struct {
			out = collect(out, v.Field(i), key+".", at)
			continue
		}
		name := strings.ReplaceAll(key, ".", "_")
		out = append(out, Setting{
			Key: key, Flag: strings.ReplaceAll(name, "_", "-"), Env: envPrefix + strings.ToUpper(name),
			Default: format(v.Field(i)), List: field.Type.Kind() == reflect.Slice, Bool: field.Type.Kind() == reflect.Bool,
			Struct: v.Type().Name(), Field: field.Name, index: at,
		})
	}
	return out
}

func lookup(key string) (Setting, bool) {
	for _, s := range allSettings() {
		if s.Key == key {
			return s, true
		}
	}
	return Setting{}, false
}

// isSection reports whether settings lie below key.
func isSection(key string) bool {
	for _, s := range allSettings() {
		if strings.HasPrefix(s.Key, key+".") {
			return true
		}
	}
	return false
}

// assign reads the one value of s, or all values of a list, into c.
func (s *Setting) assign(c *Config, texts []string) error {
	field := reflect.ValueOf(c).Elem().FieldByIndex(s.index)
	if s.List {
		return setList(field, texts)
	}
	if len(texts) != 1 {
		return fmt.Errorf("takes one value, not %d", len(texts))
	}
	return set(field, texts[0])
}

// maxTypos is how far a name may be from a known one to be taken for it.
const maxTypos = 3

// nearest returns the candidate that name was probably meant to be, or "".
func nearest(name string, candidates []string, maxDistance int) string {
	best, at := "", maxDistance+1
	for _, c := range candidates {
		if d := distance(name, c); d < at && d < len(name) {
			best, at = c, d
		}
	}
	return best
}

// distance counts the letters to insert, delete or replace between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
