package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"beffroi/matrix"
)

func TestParseDocumentReadsBothForms(t *testing.T) {
	t.Parallel()
	fromYAML, err := ParseDocument([]byte(fullDocument))
	if err != nil {
		t.Fatal(err)
	}
	if m := fromYAML.Check("interieur.example", 13); len(m) > 0 {
		t.Fatal(m)
	}
	raw, err := fromYAML.JSON()
	if err != nil {
		t.Fatal(err)
	}
	fromJSON, err := ParseDocument(raw)
	if err != nil {
		t.Fatal(err)
	}
	text, err := fromYAML.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseDocument(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, d := range []*Document{fromYAML, fromJSON, again} {
		d.lines = nil
	}
	if !reflect.DeepEqual(fromYAML, fromJSON) || !reflect.DeepEqual(fromYAML, again) {
		t.Errorf("the forms differ:\n%+v\n%+v\n%+v", fromYAML, fromJSON, again)
	}
	if fromYAML.Rooms.Public.Retention != Duration(90*24*time.Hour) || *fromYAML.Rooms.Public.Federate ||
		fromYAML.Organisations[0].Name["fr"] != "Ministère de l'Intérieur" || fromYAML.Rooms.Version != "12" {
		t.Errorf("%+v", fromYAML)
	}
}

const fullDocument = `
version: 14
issuer: dinum.example
expires: 2027-01-31T00:00:00Z
stale_at: 2027-02-28T00:00:00Z
blocks_at: 2027-03-31T00:00:00Z
organisations:
  - id: interieur
    name: {fr: Ministère de l'Intérieur, en: Ministry of the Interior}
    class: government
    homeservers: [{name: interieur.example, keys: {"ed25519:a1": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}]
    email_domains: [interieur.gouv.example, "*.police.gouv.example"]
    contact: mailto:ssi@interieur.gouv.example
  - id: sante
    class: government
    homeservers: [{name: sante.example}]
  - id: armees
    class: government
    homeservers: [{name: armees.example}]
  - id: partenaires
    class: external
    homeservers: [{name: externe.example}]
    starts: 2026-01-01T00:00:00Z
    ends: 2026-12-31T23:59:59Z
    reason: marché 2026-114
federation: {default: deny, deny: ["*.bad.example"], allow: [notary.example]}
accounts: {registration: email}
rooms: {default_rule: restricted, version: 12, encrypt: [private, direct], public: {federate: false, retention: 90d}}
externals: {create_rooms: false, invite: false, search_directory: false, publish: false, max_power: 0}
rules:
  - id: defence-stays-home
    actions: [join, invite]
    when: room.org == "armees" && subject.org != "armees"
    reason: {fr: Les salons des armées restent aux armées., en: Rooms of the armed forces stay with them.}
tests:
  - {can: "@alice:interieur.example", action: invite, subject: "@bob:sante.example", room: {rule: restricted}, expect: allow}
  - {can: "@alice:interieur.example", action: invite, subject: "@bob:externe.example", room: {rule: restricted}, at: 2026-06-01T00:00:00Z, expect: deny, because: external_in_restricted_room}
  - {can: "@alice:interieur.example", action: invite, subject: "@bob:sante.example", room: {creator: "@m:armees.example"}, expect: deny, because: rule}
`

func TestEmbeddedTests(t *testing.T) {
	t.Parallel()
	s := mustCompile(t, fullDocument, "interieur.example")
	if failed := RunTests(s, noon); len(failed) > 0 {
		t.Error(failed)
	}
	s = mustCompile(t, strings.Replace(fullDocument, "expect: allow", "expect: deny", 1), "interieur.example")
	failed := RunTests(s, noon)
	if len(failed) != 1 || failed[0].Index != 0 || !strings.Contains(failed[0].String(), "expected deny, got allow") {
		t.Error(failed)
	}
	s = mustCompile(t, strings.Replace(fullDocument, "because: rule", "because: unknown_server", 1), "interieur.example")
	if failed = RunTests(s, noon); len(failed) != 1 || !strings.Contains(failed[0].String(), "got deny (rule)") {
		t.Error(failed)
	}
}

func TestMistakesOfForm(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want []string // each a part of one line
	}{
		"unknown key, near": {"version: 1\norganisatons: []", []string{`line 2: "organisatons" is not a key here; did you mean "organisations"?`}},
		"unknown key, far":  {"version: 1\nfrobnicate: 1", []string{`line 2: "frobnicate" is not a key here; the keys are accounts,`}},
		"deep":              {"organisations:\n  - id: a\n    clas: external", []string{`line 3: organisations[0]: "clas" is not a key here; did you mean "class"?`}},
		"all at once": {"version: one\norganisations: 7\nrooms: {version: [1]}\nfederation: no\ndeny_all: 3\nexpires: tomorrow",
			[]string{"line 1: version: a whole number", "line 2: organisations: a list", "line 3: rooms.version: a text", "line 4: federation: a map",
				"line 5: deny_all: true or false", `line 6: expires: "tomorrow" is not a date`}},
		"JSON":           {"{\"version\": 1,\n\"issuer\": 3,\n\"isuer\": 4,\n \"rooms\":\n {\"public\": {\"retention\": \"2 weeks\"}}}", []string{`line 3: "isuer" is not a key here; did you mean "issuer"?`, `line 5: rooms.public.retention: "2 weeks" is not a duration`}},
		"JSON, twice":    {`{"version": 1, "version": 2}`, []string{`line 1: "version" stands here twice`}},
		"YAML, twice":    {"version: 1\nversion: 2", []string{"line 2:"}},
		"not YAML":       {"version: [1", []string{"line 1:"}},
		"alias":          {"version: 1\nissuer: &a x\nfederation: *a", []string{"line 2: anchors"}},
		"merge":          {"version: 1\nrooms:\n  <<: {version: 12}", []string{"a key is a plain word"}},
		"tag":            {"version: !!int 1", []string{"anchors, aliases and tags"}},
		"two documents":  {"version: 1\n---\nversion: 2", []string{"a file holds one document"}},
		"empty":          {"# nothing\n", []string{"empty"}},
		"a list":         {"- version", []string{"a map is wanted here"}},
		"negative":       {"rooms: {public: {retention: -3d}}", []string{"is not a duration"}},
		"negative time":  {"rooms: {public: {retention: -3h}}", []string{"is not a duration"}},
		"a list as text": {"rooms: {public: {retention: [3]}}", []string{"a text is wanted"}},
		"text map":       {"organisations: [{id: a, name: x}]", []string{"organisations[0].name: a map is wanted"}},
		"brackets":       {strings.Repeat("[", 300), []string{"nested too deeply"}},
		"deep JSON":      {`{"version":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", []string{"nested too deeply"}},
		"deep YAML":      {"version: " + strings.Repeat("[", 100) + strings.Repeat("]", 100), []string{"nested too deeply"}},
		"dashes":         {strings.Repeat("- ", 300) + "x", []string{"nested too deeply"}},
		"long unknown":   {strings.Repeat("é", 300) + ": 1", []string{"…"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseDocument([]byte(tc.text))
			if err == nil {
				t.Fatal("it was read")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got\n%v\nwant %q in it", err, want)
				}
			}
			if m, ok := errors.AsType[Mistakes](err); !ok || len(m) != len(tc.want) {
				t.Errorf("got %d mistakes, want %d: %v", len(m), len(tc.want), err)
			}
		})
	}
	if _, err := ParseDocument(make([]byte, MaxDocumentBytes+1)); err == nil {
		t.Error("an over-long document was read")
	}
}

func TestMistakesOfMeaning(t *testing.T) {
	t.Parallel()
	const own = "{id: own, class: government, homeservers: [{name: me.example}]}"
	org := func(more string) string { return "version: 2\norganisations:\n- " + own + "\n- " + more }
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"own server missing":  {"version: 2\norganisations: [{id: a, class: government, homeservers: [{name: you.example}]}]", []string{"no organisation has this server, me.example"}},
		"nobody admitted":     {"version: 2\norganisations: []", []string{"no organisation has this server", "deny_all: true"}},
		"deny_all is enough":  {"version: 2\ndeny_all: true\norganisations: []", []string{"no organisation has this server"}},
		"own server blocked":  {"version: 2\ndeny_all: true\norganisations: [{id: a, class: blocked, homeservers: [{name: me.example}]}]", []string{"is blocked"}},
		"own server denied":   {org("{id: b, class: external}") + "\nfederation: {deny: [\"*.example\"]}", []string{"federation.deny: refuses this server itself"}},
		"two with one server": {org("{id: b, class: external, homeservers: [{name: ME.example.}]}"), []string{`line 4: organisations[1].homeservers[0].name: the server me.example belongs to organisation "own" already`}},
		"two with one domain": {org("{id: b, class: external, email_domains: [a.fr, A.fr.]}"), []string{"organisations[1].email_domains[1]: the e-mail domain a.fr belongs"}},
		"one pattern twice":   {org("{id: b, class: external, email_domains: ['*.a.fr', a.fr, '*.A.fr']}"), []string{"the e-mail domain *.a.fr belongs"}},
		"one ID twice":        {org("{id: own, class: external}"), []string{`"own" names another organisation too`}},
		"IDs":                 {org("{id: 'a b', class: external}"), []string{`"a b" is not an ID`}},
		"classes":             {org("{id: b, class: unknown}"), []string{`class: is "unknown"; it is government, external or blocked`}},
		"dates":               {org("{id: b, class: external, starts: 2026-02-01T00:00:00Z, ends: 2026-01-01T00:00:00Z}"), []string{"ends: is not after the start"}},
		"names":               {org("{id: b, class: external, homeservers: [{name: 'a b'}], email_domains: ['*', '127.0.0.1']}"), []string{"is not a server name", "is not a domain name", "is not a domain name"}},
		"keys":                {org("{id: b, class: external, homeservers: [{name: b.fr, keys: {a1: x}}, {name: '*.c.fr', keys: {'ed25519:a': x}}]}"), []string{`"a1" is not the ID`, "keys are pinned for one server"}},
		"federation":          {org("{id: b, class: external}") + "\nfederation: {default: alow, allow: [';'], deny: [';']}", []string{"federation.default: is \"alow\"", "federation.allow[0]", "federation.deny[0]"}},
		"words":               {org("{id: b, class: external}") + "\nrooms: {access_rules: offf, default_rule: direct, encrypt: [public], version: 99}\naccounts: {registration: closd}\nexternals: {max_power: 50}", []string{`did you mean "off"?`, "rooms.default_rule", "rooms.encrypt[0]", "rooms.version", `did you mean "closed"?`, "externals.max_power"}},
		"version":             {strings.Replace(org("{id: b, class: external}"), "version: 2", "version: 0", 1), []string{"version: is a number", "it can only grow"}},
		"old version":         {strings.Replace(org("{id: b, class: external}"), "version: 2", "version: 1", 1), []string{"it can only grow"}},
		"order of dates":      {org("{id: b, class: external}") + "\nexpires: 2027-01-01T00:00:00Z\nstale_at: 2026-01-01T00:00:00Z\nblocks_at: 2025-01-01T00:00:00Z", []string{"stale_at: comes before", "blocks_at: comes before"}},
		"rules": {org("{id: b, class: external}") + `
rules:
  - {id: a, when: actor.orgg == "x", actions: [joinn, leave]}
  - {id: a, when: actor.org}
  - {id: c, when: 'true ||'}
  - {id: d, when: '["a"].exists(x, x == actor.org)'}
  - {id: e, when: '"a".matches(actor.id)  && actor.id.matches("(a+)+$") && (actor.id+actor.id+actor.id+actor.id+actor.id+actor.id+actor.id+actor.id).contains(subject.id+subject.id+subject.id+subject.id)'}`,
			[]string{"undeclared reference to 'actor.orgg'", `did you mean "join"?`, "leave is always allowed", "or names another rule too", "is a string", "rules[2].when: column", "rules[3].when", "rules[4].when: may cost"}},
		"tests": {org("{id: b, class: external}") + `
tests:
  - {can: alice, action: joinn, subject: bob, room: {rule: open}, expect: maybe, because: whim}`,
			[]string{"tests[0].action", "tests[0].expect", "tests[0].because", "tests[0].can", "tests[0].subject", "tests[0].room.rule"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := ParseDocument([]byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			got := d.Check("me.example", 1)
			for _, want := range tc.want {
				if !strings.Contains(got.Error(), want) {
					t.Errorf("got\n%v\nwant %q in it", got, want)
				}
			}
			if len(got) < len(tc.want) || len(got) > len(tc.want)+2 {
				t.Errorf("got %d mistakes, want %d:\n%v", len(got), len(tc.want), got)
			}
			if _, err := Compile(d, "me.example"); (err == nil) != (name == "old version") {
				t.Errorf("Compile: %v", err)
			}
		})
	}
}

func TestLimitsOfRules(t *testing.T) {
	t.Parallel()
	d := Initial("me.example")
	d.Rules = []Rule{{ID: "long", When: "true || " + strings.Repeat(" ", maxRuleBytes)}}
	if m := d.Check("me.example", 0); len(m) != 1 || !strings.Contains(m.Error(), "longer than") {
		t.Error(m)
	}
	d.Rules = make([]Rule, maxRules+1)
	if m := d.Check("me.example", 0); len(m) != 1 || !strings.Contains(m.Error(), "at most") {
		t.Error(m)
	}
	if m := Initial("not a name").Check("not a name", 0); len(m) < 2 {
		t.Error(m)
	}
}

func TestMistakesAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 5 * maxMistakes {
		fmt.Fprintf(&b, "key%d: 1\n", i)
	}
	_, err := ParseDocument([]byte(b.String()))
	if err == nil || strings.Count(err.Error(), "\n") != maxMistakes || !strings.HasSuffix(err.Error(), "and 400 more") {
		t.Errorf("%v", err)
	}
}

func TestReadyDocuments(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]*Document{"initial": Initial("me.example:8448"), "permissive": Permissive("127.0.0.1:8448")} {
		self := Initial("me.example:8448").Organisations[0].Homeservers[0].Name
		if name == "permissive" {
			self = "127.0.0.1:8448"
		}
		if m := d.Check(matrix.ServerName(self), 0); len(m) > 0 {
			t.Errorf("%s: %v", name, m)
		}
		text, err := d.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseDocument(text); err != nil || again.Organisations[0].ID != "local" {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Duration{"90d": Duration(90 * 24 * time.Hour), "36h0m0s": Duration(36 * time.Hour), "0s": 0} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d != want {
			t.Errorf("%s: %v, %v", text, d, err)
		}
		if back, _ := d.MarshalText(); string(back) != text {
			t.Errorf("%s became %s", text, back)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1000000d", "1 week", "-1h", "1.5d"} {
		if err := new(Duration).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(fullDocument))
	f.Add([]byte(testDocument))
	f.Add([]byte(`{"version": 1, "organisations": []}`))
	f.Add([]byte("a: [1, {b: c}]\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := ParseDocument(raw)
		if err != nil {
			return
		}
		if len(d.Rules) < 3 { // compiling CEL is slow
			d.Check("interieur.example", 0)
		}
		out, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseDocument(out); err != nil && json.Valid(out) {
			t.Fatalf("%s: %v", out, err)
		}
	})
}
