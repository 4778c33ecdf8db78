package event_test

import (
	"encoding/json"
	"strings"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
)

// TestParseRefuses changes one thing of a good event at a time.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const badJSON, notJSON, tooLarge = "M_BAD_JSON", "M_NOT_JSON", "M_TOO_LARGE"
	long := strings.Repeat("x", 256)
	refs := func(n int) string { return "[" + strings.Repeat(`"$e",`, n-1) + `"$e"]` }
	deep := strings.Repeat(`[`, 101) + strings.Repeat(`]`, 101)
	pairs := func(entry string) string { return `"prev_events":[` + entry + `]` }
	tests := map[string]struct {
		version  matrix.RoomVersion
		old, new string
		code     string
	}{
		"float":                        {"12", `"content":{`, `"content":{"a":1.5,`, badJSON},
		"whole float":                  {"6", `"content":{`, `"content":{"a":1.0,`, badJSON},
		"exponent":                     {"6", `"content":{`, `"content":{"a":1e3,`, badJSON},
		"minus zero":                   {"6", `"content":{`, `"content":{"a":-0,`, badJSON},
		"integer out of range":         {"6", `"content":{`, `"content":{"a":9007199254740992,`, badJSON},
		"NaN":                          {"1", `"content":{`, `"content":{"a":NaN,`, notJSON},
		"duplicate key":                {"1", `"content":{`, `"content":{"a":1,"a":1,`, badJSON},
		"duplicate field":              {"12", `"type":`, `"type":"Y","type":`, badJSON},
		"duplicate field, escaped":     {"12", `"type":`, `"ty\u0070e":"Y","type":`, badJSON},
		"lone surrogate":               {"1", `"content":{`, `"content":{"a":"\ud800",`, badJSON},
		"invalid UTF-8":                {"1", `"content":{`, "\"content\":{\"a\":\"\xff\",", badJSON},
		"too deep":                     {"1", `"content":{`, `"content":{"a":` + deep + `,`, badJSON},
		"65,537 bytes":                 {"12", `"content":{`, "fill", tooLarge},
		"far too large":                {"12", `"content":{`, `"content":{"a":"` + strings.Repeat("x", 300_000) + `",`, tooLarge},
		"no type":                      {"12", `"type":"X"`, `"typ":"X"`, badJSON},
		"type is a number":             {"12", `"type":"X"`, `"type":1`, badJSON},
		"type too long":                {"12", `"type":"X"`, `"type":"` + long + `"`, tooLarge},
		"type too long in bytes":       {"12", `"type":"X"`, `"type":"` + strings.Repeat("é", 128) + `"`, tooLarge},
		"no sender":                    {"12", `"sender":`, `"sendr":`, badJSON},
		"sender is null":               {"12", `"@a:domain"`, `null`, badJSON},
		"sender is no user":            {"12", `"@a:domain"`, `"a:domain"`, badJSON},
		"sender without server":        {"12", `"@a:domain"`, `"@a"`, badJSON},
		"sender too long":              {"12", `"@a:domain"`, `"@` + long + `:domain"`, tooLarge},
		"no room":                      {"12", `"room_id":`, `"rom_id":`, badJSON},
		"room is a number":             {"12", `"!x:domain"`, `1`, badJSON},
		"room is no room":              {"12", `"!x:domain"`, `"x:domain"`, badJSON},
		"room too long":                {"12", `"!x:domain"`, `"!` + long + `"`, tooLarge},
		"room of create, v12":          {"12", `"type":"X"`, `"state_key":"","type":"m.room.create"`, badJSON},
		"no room of create, v11":       {"11", `"room_id":"!x:domain","sender":"@a:domain","signatures":{},"type":"X"`, `"sender":"@a:domain","signatures":{},"state_key":"","type":"m.room.create"`, badJSON},
		"no room, create with key":     {"12", `"room_id":"!x:domain","sender":"@a:domain","signatures":{},"type":"X"`, `"sender":"@a:domain","signatures":{},"state_key":"k","type":"m.room.create"`, badJSON},
		"no room, create not state":    {"12", `"room_id":"!x:domain","sender":"@a:domain","signatures":{},"type":"X"`, `"sender":"@a:domain","signatures":{},"type":"m.room.create"`, badJSON},
		"state key is a number":        {"12", `"type"`, `"state_key":1,"type"`, badJSON},
		"state key is null":            {"12", `"type"`, `"state_key":null,"type"`, badJSON},
		"state key too long":           {"12", `"type"`, `"state_key":"` + long + `","type"`, tooLarge},
		"no content":                   {"12", `"content":`, `"contnt":`, badJSON},
		"content is an array":          {"12", `"content":{}`, `"content":[]`, badJSON},
		"content is null":              {"12", `"content":{}`, `"content":null`, badJSON},
		"no depth":                     {"12", `"depth":3,`, ``, badJSON},
		"depth is a string":            {"12", `"depth":3`, `"depth":"3"`, badJSON},
		"negative depth":               {"12", `"depth":3`, `"depth":-1`, badJSON},
		"depth too great, v6":          {"6", `"depth":3`, `"depth":9007199254740992`, badJSON},
		"depth too great, v5":          {"5", `"depth":3`, `"depth":9223372036854775808`, badJSON},
		"depth is a float, v5":         {"5", `"depth":3`, `"depth":3.0`, badJSON},
		"no time":                      {"12", `"origin_server_ts":1000000,`, ``, badJSON},
		"time is a string":             {"12", `"origin_server_ts":1000000`, `"origin_server_ts":"1"`, badJSON},
		"no hashes":                    {"12", `"hashes"`, `"hashs"`, badJSON},
		"hashes is a string":           {"12", `{"sha256":"` + minimalHash + `"}`, `"x"`, badJSON},
		"no sha256":                    {"12", `"sha256"`, `"sha512"`, badJSON},
		"sha256 is a number":           {"12", `"` + minimalHash + `"`, `1`, badJSON},
		"sha256 is no base64":          {"12", minimalHash, `!`, badJSON},
		"no signatures":                {"12", `"signatures"`, `"signaturs"`, badJSON},
		"signatures is an array":       {"12", `"signatures":{}`, `"signatures":[]`, badJSON},
		"no prev_events":               {"12", `"prev_events":[],`, ``, badJSON},
		"prev_events is an object":     {"12", `"prev_events":[]`, `"prev_events":{}`, badJSON},
		"21 prev_events":               {"12", `"prev_events":[]`, `"prev_events":` + refs(21), badJSON},
		"11 auth_events":               {"12", `"auth_events":[]`, `"auth_events":` + refs(11), badJSON},
		"reference is a number":        {"12", `"prev_events":[]`, `"prev_events":[1]`, badJSON},
		"reference is a pair, v3":      {"3", `"prev_events":[]`, pairs(`["$e",{}]`), badJSON},
		"reference without sigil":      {"12", `"prev_events":[]`, `"prev_events":["e"]`, badJSON},
		"reference too long":           {"12", `"prev_events":[]`, `"prev_events":["$` + long + `"]`, badJSON},
		"reference with NUL":           {"12", `"prev_events":[]`, `"prev_events":["$\u0000"]`, badJSON},
		"not an object":                {"12", "all", `[]`, badJSON},
		"not JSON":                     {"12", "all", `{`, notJSON},
		"nothing":                      {"12", "all", ``, notJSON},
		"v1, no event_id":              {"1", `"x"`, `"x"`, badJSON},
		"v1, event_id is a number":     {"1", `"depth":3`, `"depth":3,"event_id":1`, badJSON},
		"v1, event_id without server":  {"1", `"depth":3`, `"depth":3,"event_id":"$x"`, badJSON},
		"v1, event_id without sigil":   {"2", `"depth":3`, `"depth":3,"event_id":"x:domain"`, badJSON},
		"v1, event_id too long":        {"2", `"depth":3`, `"depth":3,"event_id":"$` + long + `:domain"`, tooLarge},
		"v1, reference is a string":    {"1", `"prev_events":[]`, pairs(`"$e"`) + `,"event_id":"$x:d"`, badJSON},
		"v1, pair without hash":        {"1", `"prev_events":[]`, pairs(`["$e"]`) + `,"event_id":"$x:d"`, badJSON},
		"v1, hash is a string":         {"1", `"prev_events":[]`, pairs(`["$e","x"]`) + `,"event_id":"$x:d"`, badJSON},
		"v1, pair of three":            {"1", `"prev_events":[]`, pairs(`["$e",{},1]`) + `,"event_id":"$x:d"`, badJSON},
		"v1, pair without an event ID": {"1", `"prev_events":[]`, pairs(`[1,{}]`) + `,"event_id":"$x:d"`, badJSON},
		"redacts is a number, v10":     {"10", `"type":"X"`, `"redacts":1,"type":"m.room.redaction"`, badJSON},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := string(withHash(minimalEvent, minimalHash))
			raw := strings.Replace(good, test.old, test.new, 1)
			switch {
			case test.new == "fill":
				fill := event.MaxBytes + 1 - len(good) - len(`"a":""`)
				raw = strings.Replace(good, `"content":{`, `"content":{"a":"`+strings.Repeat("x", fill)+`"`, 1)
				if len(raw) != 65537 {
					t.Fatalf("%d bytes", len(raw))
				}
			case test.old == "all":
				raw = test.new
			case raw == good && test.old != test.new:
				t.Fatalf("nothing was changed in %s", good)
			}
			raw = strings.Replace(raw, ",}", "}", -1)
			if e, err := event.ParseUntrusted([]byte(raw), rulesOf(t, test.version)); !matrix.IsCode(err, test.code) {
				t.Errorf("got %v, %v, want %s", e, err, test.code)
			}
		})
	}
}

// TestParseAccepts checks what is read leniently. The hash of most of them is
// wrong, which is no reason to refuse them.
func TestParseAccepts(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("x", 255)
	tests := map[string]struct {
		version  matrix.RoomVersion
		old, new string
	}{
		"no origin":                   {"12", `"origin":"domain",`, ``},
		"origin of any type":          {"10", `"origin":"domain"`, `"origin":1`},
		"prev_state":                  {"3", `"prev_events":[]`, `"prev_events":[],"prev_state":[]`},
		"unknown fields":              {"12", `"type"`, `"age":1,"x":{"y":[]},"user_id":"@a:b","type"`},
		"state key of 255 bytes":      {"12", `"type"`, `"state_key":"` + text + `","type"`},
		"type of 255 bytes":           {"12", `"X"`, `"` + text + `"`},
		"empty type":                  {"12", `"X"`, `""`},
		"negative time":               {"12", `1000000`, `-5`},
		"float, v5":                   {"5", `"content":{}`, `"content":{"a":1.50}`},
		"great integer, v5":           {"5", `"content":{}`, `"content":{"a":123456789012345678901234567890}`},
		"greatest depth, v5":          {"5", `"depth":3`, `"depth":9223372036854775807`},
		"greatest depth, v6":          {"6", `"depth":3`, `"depth":9007199254740991`},
		"create with a key, v12":      {"12", `"type":"X"`, `"state_key":"k","type":"m.room.create"`},
		"redacts of another type":     {"10", `"type":"X"`, `"redacts":1,"type":"X"`},
		"escaped reference":           {"12", `"prev_events":[]`, `"prev_events":["$\""]`},
		"20 references":               {"12", `"prev_events":[]`, `"prev_events":[` + strings.Repeat(`"$e",`, 19) + `"$e"]`},
		"other hashes":                {"12", `"sha256":`, `"md5":"x","sha256":`},
		"hash of another length":      {"12", minimalHash, `AAAA`},
		"strange signatures":          {"12", `"signatures":{}`, `"signatures":{"a":1,"b":{"c":2}}`},
		"white space":                 {"12", `:`, " :\n"},
		"sender of the old grammar":   {"12", `"@a:domain"`, `"@Ä(1):domain"`},
		"type written with an escape": {"12", `"type"`, `"ty\u0070e"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := strings.Replace(string(withHash(minimalEvent, minimalHash)), test.old, test.new, 1)
			rules := rulesOf(t, test.version)
			e, err := event.ParseUntrusted([]byte(raw), rules)
			if err != nil {
				t.Fatal(err)
			}
			if canonical, err := canonicaljson.Canonicalise(e.JSON(), canonicaljson.Lenient); err != nil || &canonical[0] != &e.JSON()[0] {
				t.Errorf("%s is not canonical (%v)", e.JSON(), err)
			}
			again, err := event.ParseUntrusted(e.JSON(), rules)
			if err != nil || again.ID() != e.ID() {
				t.Errorf("parsed again: %v", err)
			}
		})
	}
}

func TestParseNormalises(t *testing.T) {
	t.Parallel()
	p := baseProto()
	e := p.build(t, "12")
	pretty := append([]byte("\n"), e.JSON()...)
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(e.JSON(), &fields); err != nil {
		t.Fatal(err)
	}
	fields["unsigned"] = json.RawMessage(`{"age":1,"redacted_because":{}}`)
	fields["content"] = json.RawMessage(strings.Replace(string(e.Content()), "é", `\u00e9`, 1))
	unsorted, err := json.MarshalIndent(fields, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	only, err := json.Marshal(map[string]any{"unsigned": fields})
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"as it is": e.JSON(), "white space": pretty, "unsigned and escapes": unsorted,
		"canonical with unsigned": canonicaljson.SetField(e.JSON(), "unsigned", []byte(`{"age":1}`)),
	} {
		before := string(raw)
		got, err := event.ParseUntrusted(raw, e.Rules())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if string(got.JSON()) != string(e.JSON()) || got.ID() != e.ID() || got.HashMismatch() || got.String() != string(e.ID()) {
			t.Errorf("%s: got %s of %s", name, got.ID(), got.JSON())
		}
		if string(raw) != before {
			t.Errorf("%s: the input was modified", name)
		}
	}
	if _, err := event.ParseUntrusted(only, e.Rules()); !matrix.IsCode(err, "M_BAD_JSON") {
		t.Errorf("only unsigned: %v", err)
	}
}

// TestHashMismatch checks that of a changed event only the redacted copy is left.
//
// https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
func TestHashMismatch(t *testing.T) {
	t.Parallel()
	for _, version := range matrix.RoomVersions() {
		p := baseProto()
		e := p.build(t, version)
		changed := strings.Replace(string(e.JSON()), "é", "changed", 1)
		got, err := event.ParseUntrusted([]byte(changed), e.Rules())
		if err != nil {
			t.Fatal(err)
		}
		redacted, err := e.Redact()
		if err != nil {
			t.Fatal(err)
		}
		if !got.HashMismatch() || got.ID() != e.ID() || string(got.JSON()) != string(redacted.JSON()) || string(got.Content()) != "{}" {
			t.Errorf("version %s: got %s", version, got.JSON())
		}
		// The padded and the URL-safe form of a hash are as good.
		hash := string(canonicaljson.Field(canonicaljson.Field(e.JSON(), "hashes"), "sha256"))
		lenient := strings.NewReplacer("+", "-", "/", "_").Replace(hash[:len(hash)-1]) + `="`
		if got, err := event.ParseUntrusted([]byte(strings.Replace(string(e.JSON()), hash, lenient, 1)), e.Rules()); err != nil || got.HashMismatch() {
			t.Errorf("version %s: lenient base64: %v", version, err)
		}
	}
}

func TestParseStoredOfDamage(t *testing.T) {
	t.Parallel()
	p := baseProto()
	good := string(p.build(t, "12").JSON())
	for _, old := range []string{`"content"`, `"sender"`, `"type"`, `"origin_server_ts"`, `"depth"`, `"depth":7`, `"origin_server_ts":1`, good} {
		damaged := strings.Replace(good, old, `"x":"`, 1)
		if e, err := event.ParseStored([]byte(damaged), "$e", rulesOf(t, "12")); err == nil || strings.HasPrefix(err.Error(), "M_") {
			t.Errorf("%s: got %s, %v", old, e.JSON(), err)
		}
	}
}

func TestMembershipAndRedacts(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		`{"membership":"join"}`: "join", `{"membership":"leave"}`: "leave", `{"membership":"invite"}`: "invite", `{"membership":"ban"}`: "ban",
		`{"membership":"knock"}`: "knock", `{"membership":"x\n"}`: "x\n", `{"membership":1}`: "", `{}`: "",
	} {
		p := baseProto()
		p.Type, p.StateKey, p.Content = "m.room.member", new("@a:domain"), json.RawMessage(content)
		if got := p.build(t, "12").Membership(); got != want {
			t.Errorf("%s: got %q", content, got)
		}
	}
	for _, version := range matrix.RoomVersions() {
		p := baseProto()
		p.Type, p.Redacts = "m.room.redaction", "$x:y"
		e := p.build(t, version)
		inContent := canonicaljson.Field(e.Content(), "redacts") != nil
		if e.Redacts() != "$x:y" || inContent != e.Rules().RedactsInContent {
			t.Errorf("version %s: redacts %s in %s", version, e.Redacts(), e.JSON())
		}
		p.Redacts = "not an ID"
		if got := p.build(t, version).Redacts(); got != "" {
			t.Errorf("version %s: redacts %q", version, got)
		}
		p.Type, p.Redacts = "m.room.message", "$x:y"
		if got := p.build(t, version).Redacts(); got != "" {
			t.Errorf("version %s: a message redacts %s", version, got)
		}
	}
}
