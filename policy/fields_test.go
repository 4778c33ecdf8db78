package policy

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestField(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ object, key, want string }{
		"first":         {`{"a":1,"b":2}`, "a", "1"},
		"last":          {`{"a":1,"b":2}`, "b", "2"},
		"string":        {`{"a":"x\"},","b":"y"}`, "b", `"y"`},
		"object":        {`{"a":{"b":[1,{"c":"}"}]},"b":3}`, "b", "3"},
		"inner only":    {`{"a":{"b":1}}`, "b", ""},
		"as a value":    {`{"a":"b"}`, "b", ""},
		"white space":   {" { \"a\" : [ 1 , 2 ] , \"b\" : null } ", "b", "null"},
		"empty":         {`{}`, "a", ""},
		"list":          {`["a"]`, "a", ""},
		"nothing":       {``, "a", ""},
		"cut in key":    {`{"a`, "a", ""},
		"cut after key": {`{"a"`, "a", ""},
		"cut in value":  {`{"a":"`, "a", ""},
		"cut in object": {`{"a":{`, "a", ""},
		"no comma":      {`{"b":1 "a":2}`, "a", ""},
		"cut after":     {`{"b":1`, "b", ""},
		"number at end": {`{"a":7}`, "a", "7"},
	} {
		if got := string(field([]byte(tc.object), tc.key)); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
	if !isEmpty(nil) || !isEmpty([]byte(" { } ")) || isEmpty([]byte(`{"a":1}`)) {
		t.Error("isEmpty")
	}
}

func FuzzField(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,{"c":"}"}]},"b":3}`), "b")
	f.Add([]byte(`{"a":"x\"},","b":"y"}`), "a")
	f.Fuzz(func(t *testing.T, raw []byte, key string) {
		got := field(raw, key)
		var want map[string]json.RawMessage
		if bytes.IndexByte(raw, '\\') >= 0 || json.Unmarshal(raw, &want) != nil {
			return // only what is no panic is promised
		}
		quoted, _ := json.Marshal(key)
		if v, ok := want[key]; ok && bytes.Count(raw, quoted) == 1 && !bytes.Equal(v, got) {
			t.Fatalf("%s: %q is %q, want %q", raw, key, got, v)
		}
	})
}
