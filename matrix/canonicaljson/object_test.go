package canonicaljson

import "testing"

func TestCursor(t *testing.T) {
	t.Parallel()
	obj := []byte(`{"\"":"q","a":{"x":"}\"\\"},"b":[1,[2],"]"],"c":-5,"d":null,"e":"\\","f":true}`)
	want := []struct{ name, value string }{
		{`"`, `"q"`}, {"a", `{"x":"}\"\\"}`}, {"b", `[1,[2],"]"]`}, {"c", `-5`}, {"d", `null`}, {"e", `"\\"`}, {"f", `true`},
	}
	c := Object(obj)
	for _, w := range want {
		m, ok := c.Next()
		if !ok || m.Name() != w.name || string(m.Value) != w.value {
			t.Fatalf("got %s %s %v, want %s %s", m.Name(), m.Value, ok, w.name, w.value)
		}
		if string(m.Raw) != string(m.QuotedKey())+":"+w.value || string(obj[m.ValueStart:m.ValueStart+len(m.Value)]) != w.value {
			t.Errorf("%s: raw member is %s", w.name, m.Raw)
		}
	}
	if m, ok := c.Next(); ok {
		t.Errorf("a member too many: %s", m.Raw)
	}

	arr := Array(Field(obj, "b"))
	for _, w := range []string{`1`, `[2]`, `"]"`} {
		if got, ok := arr.NextElement(); !ok || string(got) != w {
			t.Errorf("got %s, want %s", got, w)
		}
	}
	if got, ok := arr.NextElement(); ok {
		t.Errorf("an element too many: %s", got)
	}
}

func TestCursorOfSomethingElse(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{``, `{`, `{}`, `[]`, `[1]`, `"{"`, `null`, `{"`, `{"a`, `{"a"`, `{"a"}`, `{"a\"`} {
		c := Object([]byte(raw))
		if m, ok := c.Next(); ok {
			t.Errorf("%s has the member %s", raw, m.Raw)
		}
		if raw == `[1]` {
			continue
		}
		a := Array([]byte(raw))
		if e, ok := a.NextElement(); ok {
			t.Errorf("%s has the element %s", raw, e)
		}
	}
	if Field([]byte(`{"a":1}`), "b") != nil {
		t.Error("a field that is not there")
	}
}

func TestSetField(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ obj, name, want string }{
		"nil":              {``, "b", `{"b":0}`},
		"empty":            {`{}`, "b", `{"b":0}`},
		"first":            {`{"c":1}`, "b", `{"b":0,"c":1}`},
		"last":             {`{"a":1}`, "b", `{"a":1,"b":0}`},
		"between":          {`{"a":1,"c":2}`, "b", `{"a":1,"b":0,"c":2}`},
		"replaced":         {`{"a":1,"b":{"x":1},"c":2}`, "b", `{"a":1,"b":0,"c":2}`},
		"escaped":          {`{"!":1,"a":2}`, `"`, `{"!":1,"\"":0,"a":2}`},
		"among escaped":    {`{"\"":1,"a":2}`, `#`, `{"\"":1,"#":0,"a":2}`},
		"backslash":        {`{"[":1,"\\":2,"]":3}`, `\`, `{"[":1,"\\":0,"]":3}`},
		"a backslash more": {`{"\\":2}`, `\\`, `{"\\":2,"\\\\":0}`},
		"escaped, itself":  {`{"\n":1}`, "\n", `{"\n":0}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := SetField([]byte(test.obj), test.name, []byte("0"))
			if string(got) != test.want || !isCanonical(got, Strict, MaxDepth) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestUnquote(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`""`: "", `"a"`: "a", `"\"\\\b\t\n\f\r"`: "\"\\\b\t\n\f\r", `"\u0001é😀"`: "\x01é😀",
	} {
		if got, ok := Unquote([]byte(raw)); !ok || got != want {
			t.Errorf("%s: got %q", raw, got)
		}
	}
	for _, raw := range []string{``, `"`, `1`, `{}`, `"a`, `a"`} {
		if _, ok := Unquote([]byte(raw)); ok {
			t.Errorf("%s is no string", raw)
		}
		if got := AppendUnquoted(nil, []byte(raw)); len(got) != 0 {
			t.Errorf("%s: appended %q", raw, got)
		}
	}
}
