package canonicaljson

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

var fuzzSeeds = []string{
	`{}`, `[]`, `"a"`, `-0`, `1e10`, `1.5`, `{"b":1,"a":{"d":[],"c":null}}`, `{"a":1,"a":2}`, `"\ud83d\ude00"`, `"\ud800"`,
	`{"\"":1,"\\":2,"\u0001":3}`, `[[[[]]]]`, `{"日":"本\u00e9"}`, `{"a":NaN}`, ` { "a" : [ 1 , 2 ] } `, "\"\xff\"", `"\u2028<>&"`,
	`9007199254740991`, `9007199254740992`, `-1e-999999999`, `{"":""}`,
}

// FuzzCanonicalise checks that whatever is accepted is canonical for good and
// means the same to encoding/json.
func FuzzCanonicalise(f *testing.F) {
	for _, seed := range fuzzSeeds {
		for mode := range Normal + 1 {
			f.Add([]byte(seed), uint8(mode))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, m uint8) {
		mode := Mode(m) % (Normal + 1)
		before := bytes.Clone(raw)
		got, err := Canonicalise(raw, mode)
		if !bytes.Equal(raw, before) {
			t.Fatal("the input was modified")
		}
		if err != nil {
			return
		}
		if !isCanonical(got, mode, MaxDepth) {
			t.Fatalf("%q became %q, which is not canonical", raw, got)
		}
		again, err := rewrite(nil, got, mode, MaxDepth)
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q became %q (%v)", got, again, err)
		}
		if !json.Valid(raw) {
			t.Fatalf("%q is not JSON", raw)
		}
		if mode == Strict && !reflect.DeepEqual(decoded(t, raw), decoded(t, got)) {
			t.Fatalf("%q became %q, which means something else", raw, got)
		}
	})
}

func decoded(t *testing.T, raw []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// FuzzCursor walks bytes that nobody validated, which must do no harm, and
// compares what it finds in validated ones with encoding/json.
func FuzzCursor(f *testing.F) {
	for _, seed := range fuzzSeeds {
		f.Add([]byte(seed))
	}
	f.Add([]byte(`{"a":"\`))
	f.Add([]byte(`{"a":}}`))
	f.Add([]byte(`[,,]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := Object(raw)
		for m, ok := c.Next(); ok; m, ok = c.Next() {
			_, _ = m.Name(), m.QuotedKey()
			a := Array(m.Value)
			for _, ok := a.NextElement(); ok; _, ok = a.NextElement() {
			}
		}
		a := Array(raw)
		for _, ok := a.NextElement(); ok; _, ok = a.NextElement() {
		}
		_, _ = Unquote(raw)

		obj, err := Canonicalise(raw, Strict)
		if err != nil || obj[0] != '{' {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(obj, &want); err != nil {
			t.Fatal(err)
		}
		n := 0
		c = Object(obj)
		for m, ok := c.Next(); ok; m, ok = c.Next() {
			n++
			if !bytes.Equal(want[m.Name()], m.Value) {
				t.Fatalf("%q: %q is %q, not %q", obj, m.Name(), m.Value, want[m.Name()])
			}
			if same := SetField(obj, m.Name(), m.Value); !bytes.Equal(same, obj) {
				t.Fatalf("setting %q of %q gave %q", m.Name(), obj, same)
			}
		}
		if n != len(want) {
			t.Fatalf("%q has %d members, not %d", obj, len(want), n)
		}
	})
}
