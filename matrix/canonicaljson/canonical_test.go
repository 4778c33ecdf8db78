package canonicaljson

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"beffroi/matrix"
)

// TestSpecExamples checks the examples of the specification.
//
// https://spec.matrix.org/v1.19/appendices/#canonical-json
func TestSpecExamples(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ in, want string }{
		"empty":       {`{}`, `{}`},
		"two members": {"{\n    \"one\": 1,\n    \"two\": \"Two\"\n}", `{"one":1,"two":"Two"}`},
		"other order": {"{\n    \"b\": \"2\",\n    \"a\": \"1\"\n}", `{"a":"1","b":"2"}`},
		"no space":    {`{"b":"2","a":"1"}`, `{"a":"1","b":"2"}`},
		"nested": {
			`{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe", "three_pids": [` +
				`{"medium": "email", "address": "john.doe@example.org"}, {"medium": "msisdn", "address": "123456789"}]}}}`,
			`{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[` +
				`{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}`,
		},
		"not ASCII":          {`{"a": "日本語"}`, `{"a":"日本語"}`},
		"keys not ASCII":     {`{"本": 2, "日": 1}`, `{"日":1,"本":2}`},
		"needless escape":    {`{"a": "\u65E5"}`, `{"a":"日"}`},
		"null":               {`{"a": null}`, `{"a":null}`},
		"disguised integers": {`{"a": -0, "b": 1e10}`, `{"a":0,"b":10000000000}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Canonicalise([]byte(test.in), Normal)
			if err != nil || string(got) != test.want {
				t.Errorf("got %s (%v), want %s", got, err, test.want)
			}
		})
	}
}

func TestCanonicalise(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		mode     Mode
		in, want string
	}{
		"string":                   {Strict, ` "a" `, `"a"`},
		"true":                     {Strict, "\ttrue\r\n", `true`},
		"false":                    {Strict, `[false, true , null]`, `[false,true,null]`},
		"empty array":              {Strict, `[ ]`, `[]`},
		"empty object":             {Strict, `{ }`, `{}`},
		"short escapes":            {Strict, `"\u0008\u0009\u000A\u000c\u000D\u0022\u005c\/"`, `"\b\t\n\f\r\"\\/"`},
		"other controls":           {Strict, `"\u0000\u000B\u001F"`, `"\u0000\u000b\u001f"`},
		"DEL and HTML stay":        {Strict, `"\u007f<>&\u2028\u2029"`, "\"\x7f<>&\u2028\u2029\""},
		"surrogate pair":           {Strict, `"\ud83d\uDE00"`, `"😀"`},
		"replacement character":    {Strict, `"\ufffd�"`, `"��"`},
		"no normalisation":         {Strict, `"e\u0301é"`, "\"e\u0301é\""},
		"order of code points":     {Strict, `{"\ud800\udc00":1,"\uffff":2}`, "{\"\uffff\":2,\"\U00010000\":1}"},
		"order of escaped keys":    {Strict, `{"a":1,"\"":2,"\u0001":3,"!":4,"#":5}`, `{"\u0001":3,"!":4,"\"":2,"#":5,"a":1}`},
		"prefix first":             {Strict, `{"ab":1,"a":2,"":3}`, `{"":3,"a":2,"ab":1}`},
		"backslash keys canonical": {Strict, `{"\\":1,"a":2}`, `{"\\":1,"a":2}`},
		"inner and outer order":    {Strict, `{"b":{"d":1,"c":[{"f":1,"e":2}]},"a":0}`, `{"a":0,"b":{"c":[{"e":2,"f":1}],"d":1}}`},
		"greatest integer":         {Strict, `[9007199254740991 ,-9007199254740991]`, `[9007199254740991,-9007199254740991]`},
		"lenient keeps text":       {Lenient, `[1.50, 1E+5,9007199254740992, -0.0, -1e-7]`, `[1.50,1E+5,9007199254740992,-0.0,-1e-7]`},
		"lenient, canonical":       {Lenient, `[1.50,123456789012345678901234567890]`, `[1.50,123456789012345678901234567890]`},
		"lenient -0":               {Lenient, `-0`, `0`},
		"normal integers":          {Normal, `[1.0,-2.50e1,100e-2,0e99999999999999999999,0.0,-0e-5,9007199254740991.0,1e15]`, `[1,-25,1,0,0,0,9007199254740991,1000000000000000]`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Canonicalise([]byte(test.in), test.mode)
			if err != nil || string(got) != test.want {
				t.Fatalf("got %s (%v), want %s", got, err, test.want)
			}
			if !isCanonical(got, test.mode, MaxDepth) {
				t.Errorf("%s is not taken for canonical", got)
			}
			appended, err := Append([]byte("x"), []byte(test.in), test.mode)
			if err != nil || string(appended) != "x"+test.want {
				t.Errorf("Append gives %s (%v)", appended, err)
			}
		})
	}
}

func TestCanonicaliseRefuses(t *testing.T) {
	t.Parallel()
	const notJSON, badJSON = "M_NOT_JSON", "M_BAD_JSON"
	tests := map[string]struct {
		mode Mode
		in   string
		code string
	}{
		"nothing":                     {Strict, ``, notJSON},
		"white space":                 {Strict, "  ", notJSON},
		"word":                        {Strict, `nul`, notJSON},
		"two values":                  {Strict, `{} {}`, notJSON},
		"trailing byte":               {Strict, `{}x`, notJSON},
		"byte order mark":             {Strict, "\ufeff{}", notJSON},
		"other white space":           {Strict, "{\v}", notJSON},
		"comment":                     {Strict, `{/**/}`, notJSON},
		"trailing comma, object":      {Strict, `{"a":1,}`, notJSON},
		"trailing comma, array":       {Strict, `[1,]`, notJSON},
		"missing comma":               {Strict, `[1 2]`, notJSON},
		"missing comma, object":       {Strict, `{"a":1 "b":2}`, notJSON},
		"missing colon":               {Strict, `{"a" 1}`, notJSON},
		"missing value":               {Strict, `{"a":}`, notJSON},
		"key without quotes":          {Strict, `{a:1}`, notJSON},
		"number as key":               {Strict, `{1:1}`, notJSON},
		"open object":                 {Strict, `{"a":1`, notJSON},
		"open array":                  {Strict, `[1`, notJSON},
		"open array after comma":      {Strict, `[1,`, notJSON},
		"open string":                 {Strict, `"abc`, notJSON},
		"open key":                    {Strict, `{"abc`, notJSON},
		"open escape":                 {Strict, `"\`, notJSON},
		"open hex escape":             {Strict, `"\u00`, notJSON},
		"bad escape":                  {Strict, `"\x41"`, notJSON},
		"bad hex escape":              {Strict, `"\u00g0"`, notJSON},
		"raw control":                 {Strict, "\"a\nb\"", notJSON},
		"raw NUL":                     {Strict, "\"a\x00\"", notJSON},
		"NaN":                         {Lenient, `NaN`, notJSON},
		"Infinity":                    {Lenient, `[Infinity]`, notJSON},
		"minus Infinity":              {Lenient, `-Infinity`, notJSON},
		"plus":                        {Lenient, `+1`, notJSON},
		"minus alone":                 {Lenient, `-`, notJSON},
		"leading zero":                {Lenient, `01`, notJSON},
		"leading zero, negative":      {Lenient, `-01`, notJSON},
		"hexadecimal":                 {Lenient, `0x10`, notJSON},
		"no fraction":                 {Lenient, `1.`, notJSON},
		"no integer part":             {Lenient, `.5`, notJSON},
		"no exponent":                 {Lenient, `1e`, notJSON},
		"no exponent digits":          {Lenient, `1e+`, notJSON},
		"duplicate key":               {Strict, `{"a":1,"a":1}`, badJSON},
		"duplicate key, apart":        {Strict, `{"a":1,"c":3,"b":2,"a":1}`, badJSON},
		"duplicate key, escaped":      {Strict, `{"a":1,"\u0061":1}`, badJSON},
		"duplicate key, deep":         {Lenient, `{"x":[{"b":1,"a":0,"b":2}]}`, badJSON},
		"invalid UTF-8":               {Strict, "\"\xff\"", badJSON},
		"invalid UTF-8 in a key":      {Strict, "{\"\xc3\":1}", badJSON},
		"overlong UTF-8":              {Strict, "\"\xc0\x80\"", badJSON},
		"surrogate in UTF-8":          {Strict, "\"\xed\xa0\x80\"", badJSON},
		"cut UTF-8":                   {Strict, "\"\xe6\x97", badJSON},
		"lone high surrogate":         {Strict, `"\ud800"`, badJSON},
		"lone high surrogate, text":   {Strict, `"\ud800abcdefgh"`, badJSON},
		"lone low surrogate":          {Strict, `"\udc00"`, badJSON},
		"surrogates in wrong order":   {Strict, `"\udc00\ud800"`, badJSON},
		"two high surrogates":         {Strict, `"\ud800\ud800"`, badJSON},
		"high surrogate, bad low":     {Strict, `"\ud800\uzzzz"`, badJSON},
		"float":                       {Strict, `1.5`, badJSON},
		"whole float":                 {Strict, `1.0`, badJSON},
		"exponent":                    {Strict, `1e3`, badJSON},
		"minus zero":                  {Strict, `-0`, badJSON},
		"too great":                   {Strict, `9007199254740992`, badJSON},
		"too small":                   {Strict, `-9007199254740992`, badJSON},
		"far too great":               {Strict, `123456789012345678901234567890`, badJSON},
		"normal float":                {Normal, `1.5`, badJSON},
		"normal small":                {Normal, `1e-1`, badJSON},
		"normal too great":            {Normal, `1e16`, badJSON},
		"normal just too great":       {Normal, `9007199254740992.0`, badJSON},
		"normal exponent of an enemy": {Normal, `1e-99999999999999999999`, badJSON},
		"normal exponent up":          {Normal, `1e99999999999999999999`, badJSON},
		"normal exponent, fraction":   {Normal, `1.5e-9223372036854775808`, badJSON},
		"normal plain too great":      {Normal, `9007199254740992`, badJSON},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := Canonicalise([]byte(test.in), test.mode); !matrix.IsCode(err, test.code) {
				t.Errorf("got %s, %v, want %s", got, err, test.code)
			}
		})
	}
}

func TestCanonicaliseReturnsItsInput(t *testing.T) {
	t.Parallel()
	raw := []byte(`{"a":["x","\u0001é日😀",1,-1,0,true,{}],"b":{"c":null}}`)
	got, err := Canonicalise(raw, Strict)
	if err != nil || &got[0] != &raw[0] {
		t.Errorf("canonical input was copied (%v)", err)
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ open, inner, end string }{
		"arrays":              {"[", "", "]"},
		"arrays with spaces":  {"[ ", "", "]"},
		"objects":             {`{"a":`, "0", "}"},
		"objects with spaces": {`{ "a":`, "0", "}"},
	}
	for name, test := range tests {
		inner := func(n int) []byte {
			return []byte(strings.Repeat(test.open, n) + test.inner + strings.Repeat(test.end, n))
		}
		if _, err := Canonicalise(inner(MaxDepth), Strict); err != nil {
			t.Errorf("%s, at the limit: %v", name, err)
		}
		if _, err := Canonicalise(inner(MaxDepth+1), Strict); !matrix.IsCode(err, "M_BAD_JSON") {
			t.Errorf("%s, over the limit: %v", name, err)
		}
		if _, err := Canonicalise(inner(1_000_000), Strict); !matrix.IsCode(err, "M_BAD_JSON") {
			t.Errorf("%s, a million: %v", name, err)
		}
		if _, err := CanonicaliseEnvelope(inner(EnvelopeDepth), Strict); err != nil {
			t.Errorf("%s, envelope at the limit: %v", name, err)
		}
		if _, err := CanonicaliseEnvelope(inner(EnvelopeDepth+1), Strict); !matrix.IsCode(err, "M_BAD_JSON") {
			t.Errorf("%s, envelope over the limit: %v", name, err)
		}
	}
	siblings := []byte("[" + strings.Repeat(`{"a":[]},[{}],`, 200) + "[ ]]")
	if _, err := Canonicalise(siblings, Strict); err != nil {
		t.Errorf("many siblings: %v", err)
	}
}

// TestOrderDoesNotMatter shuffles big objects with keys of all kinds.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	alphabet := []rune{'a', 'b', '"', '\\', '\n', 1, 'é', '日', 0xffff, 0x10000, '😀', '~', ' '}
	seen := map[string]bool{}
	for len(seen) < 3000 {
		key := make([]rune, 1+rng.IntN(6))
		for i := range key {
			key[i] = alphabet[rng.IntN(len(alphabet))]
		}
		seen[string(key)] = true
	}
	members := make([]string, 0, len(seen))
	for key := range seen {
		quoted, err := json.Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		members = append(members, string(quoted)+`: {"z":1,"y":[]}`)
	}
	var want []byte
	for range 5 {
		rng.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		got, err := Canonicalise([]byte("{"+strings.Join(members, ",")+"}"), Strict)
		if err != nil {
			t.Fatal(err)
		}
		if want != nil && !bytes.Equal(got, want) {
			t.Fatal("the order of the input shows")
		}
		want = got
	}
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	got, err := Marshal(map[string]any{"b": "<&>\u2028", "a": []int{1, -2}, "é": nil})
	if want := "{\"a\":[1,-2],\"b\":\"<&>\u2028\",\"é\":null}"; err != nil || string(got) != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
	if _, err := Marshal(1.5); !matrix.IsCode(err, "M_BAD_JSON") {
		t.Errorf("a float: %v", err)
	}
	if _, err := Marshal(func() {}); err == nil {
		t.Error("a function was marshalled")
	}
}

func TestAppendString(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                     `""`,
		"plain":                `"plain"`,
		"a\"b\\c":              `"a\"b\\c"`,
		"\b\t\n\f\r\x00\x1f":   `"\b\t\n\f\r\u0000\u001f"`,
		"</é\x7f\u2028😀>":      "\"</é\x7f\u2028😀>\"",
		"bad\xffbytes\xe6\x97": "\"bad\ufffdbytes\ufffd\ufffd\"",
	} {
		if got := AppendString(nil, in); string(got) != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}
