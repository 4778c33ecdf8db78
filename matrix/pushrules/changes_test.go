package pushrules_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/pushrules"
)

func raws(texts ...string) []json.RawMessage {
	out := []json.RawMessage{}
	for _, text := range texts {
		out = append(out, json.RawMessage(text))
	}
	return out
}

func ids(rules []pushrules.Rule) string {
	var out []string
	for _, r := range rules {
		if !r.Default {
			out = append(out, r.ID)
		}
	}
	return strings.Join(out, " ")
}

var simple = pushrules.NewRule{Actions: raws(`"notify"`), Pattern: "tea"}

func TestPutOrders(t *testing.T) {
	t.Parallel()
	var c pushrules.Changes
	for _, tc := range []struct{ id, before, after, want string }{
		{"a", "", "", "a"},
		{"b", "", "", "b a"},
		{"c", "", "b", "b c a"},
		{"d", "c", "", "b d c a"},
		{"b", "", "", "b d c a"},      // changed: stays
		{"b", "", "a", "d c a b"},     // changed and moved
		{"b", "c", "", "d b c a"},     // changed and moved
		{"e", "a", "d", "d b c e a"},  // before decides
		{"a", "d", "", "a d b c e"},   // to the front
		{"f", "", "e", "a d b c e f"}, // to the end
	} {
		if err := c.Put(pushrules.Override, tc.id, simple, tc.before, tc.after); err != nil {
			t.Fatal(err)
		}
		rules := c.Ruleset(me)
		if got := ids(rules.Override); got != tc.want {
			t.Fatalf("%+v gives %s", tc, got)
		}
		if rules.Override[0].ID != ".m.rule.master" || rules.Override[len(rules.Override)-1].ID != ".m.rule.suppress_edits" {
			t.Error("the default rules are not around the user's own")
		}
	}
	if err := c.Delete(pushrules.Override, "d"); err != nil {
		t.Fatal(err)
	}
	if rules := c.Ruleset(me); ids(rules.Override) != "a b c e f" {
		t.Error(ids(rules.Override))
	}
}

func TestPutRefuses(t *testing.T) {
	t.Parallel()
	many := func(n int, text string) []json.RawMessage {
		return raws(strings.Fields(strings.Repeat(text+" ", n))...)
	}
	long := `{"set_tweak":"x","value":"` + strings.Repeat("a", pushrules.MaxRuleBytes) + `"}`
	ok := raws(`"notify"`)
	for name, tc := range map[string]struct {
		kind   pushrules.Kind
		id     string
		rule   pushrules.NewRule
		before string
		code   string
	}{
		"empty ID":            {pushrules.Room, "", simple, "", "M_INVALID_PARAM"},
		"default ID":          {pushrules.Override, ".m.rule.master", simple, "", "M_INVALID_PARAM"},
		"slash":               {pushrules.Override, "a/b", simple, "", "M_INVALID_PARAM"},
		"backslash":           {pushrules.Override, `a\b`, simple, "", "M_INVALID_PARAM"},
		"ID too long":         {pushrules.Override, strings.Repeat("a", 256), simple, "", "M_INVALID_PARAM"},
		"no actions":          {pushrules.Override, "a", pushrules.NewRule{}, "", "M_MISSING_PARAM"},
		"too many actions":    {pushrules.Override, "a", pushrules.NewRule{Actions: many(17, `"notify"`)}, "", "M_INVALID_PARAM"},
		"malformed action":    {pushrules.Override, "a", pushrules.NewRule{Actions: raws(`7`)}, "", "M_BAD_JSON"},
		"empty action":        {pushrules.Override, "a", pushrules.NewRule{Actions: raws(`{}`)}, "", "M_BAD_JSON"},
		"actions too long":    {pushrules.Override, "a", pushrules.NewRule{Actions: raws(long)}, "", "M_TOO_LARGE"},
		"conditions too long": {pushrules.Override, "a", pushrules.NewRule{Actions: ok, Conditions: raws(long)}, "", "M_TOO_LARGE"},
		"too many conditions": {pushrules.Override, "a", pushrules.NewRule{Actions: ok, Conditions: many(33, `{"kind":"x"}`)}, "", "M_INVALID_PARAM"},
		"no kind":             {pushrules.Override, "a", pushrules.NewRule{Actions: ok, Conditions: raws(`{}`)}, "", "M_BAD_JSON"},
		"malformed condition": {pushrules.Underride, "a", pushrules.NewRule{Actions: ok, Conditions: raws(`{"kind":"event_match"}`)}, "", "M_BAD_JSON"},
		"no pattern":          {pushrules.Content, "a", pushrules.NewRule{Actions: ok}, "", "M_MISSING_PARAM"},
		"pattern too long":    {pushrules.Content, "a", pushrules.NewRule{Actions: ok, Pattern: strings.Repeat("a", 256)}, "", "M_INVALID_PARAM"},
		"unknown anchor":      {pushrules.Override, "a", simple, "nowhere", "M_UNKNOWN"},
		"default anchor":      {pushrules.Override, "a", simple, ".m.rule.master", "M_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c pushrules.Changes
			if err := c.Put(tc.kind, tc.id, tc.rule, tc.before, ""); !matrix.IsCode(err, tc.code) {
				t.Errorf("%v, want %s", err, tc.code)
			}
			if rules := c.Ruleset(me); ids(rules.Rules(tc.kind)) != "" {
				t.Error("the rule was added")
			}
		})
	}
}

func TestPutKeepsWhatBelongsToTheKind(t *testing.T) {
	t.Parallel()
	var c pushrules.Changes
	rule := pushrules.NewRule{Actions: raws(`"notify"`, `"dont_notify"`, `"coalesce"`), Conditions: raws(`{"kind":"org.example","x":1}`),
		Pattern: "tea"}
	for kind, want := range map[pushrules.Kind]string{
		pushrules.Override:  `{"rule_id":"a","default":false,"enabled":true,"actions":["notify"],"conditions":[{"kind":"org.example","x":1}]}`,
		pushrules.Content:   `{"rule_id":"a","default":false,"enabled":true,"actions":["notify"],"pattern":"tea"}`,
		pushrules.Room:      `{"rule_id":"a","default":false,"enabled":true,"actions":["notify"]}`,
		pushrules.Sender:    `{"rule_id":"a","default":false,"enabled":true,"actions":["notify"]}`,
		pushrules.Underride: `{"rule_id":"a","default":false,"enabled":true,"actions":["notify"],"conditions":[{"kind":"org.example","x":1}]}`,
	} {
		if err := c.Put(kind, "a", rule, "", ""); err != nil {
			t.Fatal(err)
		}
		rules := c.Ruleset(me)
		got, err := rules.Rule(kind, "a")
		if out, _ := json.Marshal(got); err != nil || string(out) != want {
			t.Errorf("%s: %s, want %s", kind, out, want)
		}
	}
	stored, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var again pushrules.Changes
	if err := json.Unmarshal(stored, &again); err != nil {
		t.Fatal(err)
	}
	if before, after := c.Ruleset(me), again.Ruleset(me); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Error("the rules change when they are stored")
	}
}

func TestMaxRules(t *testing.T) {
	t.Parallel()
	var c pushrules.Changes
	for i := range pushrules.MaxRules {
		c.Own.Room = append(c.Own.Room, pushrules.Rule{ID: fmt.Sprintf("!%d:x", i)})
	}
	if err := c.Put(pushrules.Sender, "@a:x", simple, "", ""); !matrix.IsCode(err, "M_INVALID_PARAM") {
		t.Errorf("one more: %v", err)
	}
	if err := c.Put(pushrules.Room, "!7:x", simple, "", ""); err != nil {
		t.Errorf("one of them changed: %v", err)
	}
}

func TestChangingRules(t *testing.T) {
	t.Parallel()
	var c pushrules.Changes
	if err := c.Put(pushrules.Content, "tea", simple, "", ""); err != nil {
		t.Fatal(err)
	}
	before := c
	for _, err := range []error{
		c.SetEnabled(pushrules.Content, "tea", false),
		c.SetActions(pushrules.Content, "tea", raws(`"notify"`, `{"set_tweak":"highlight"}`)),
		c.SetEnabled(pushrules.Override, ".m.rule.master", true),
		c.SetActions(pushrules.Underride, ".m.rule.message", raws()),
		c.SetEnabled(pushrules.Underride, ".m.rule.message", true),
		c.Put(pushrules.Content, "tea", simple, "", ""), // stays off
	} {
		if err != nil {
			t.Error(err)
		}
	}
	rules := c.Ruleset(me)
	for _, tc := range []struct {
		kind    pushrules.Kind
		id      string
		enabled bool
		actions int
	}{
		{pushrules.Content, "tea", false, 1},
		{pushrules.Override, ".m.rule.master", true, 0},
		{pushrules.Underride, ".m.rule.message", true, 0},
		{pushrules.Underride, ".m.rule.encrypted", true, 1},
	} {
		got, err := rules.Rule(tc.kind, tc.id)
		if err != nil || got.Enabled != tc.enabled || len(got.Actions) != tc.actions || got.Actions == nil {
			t.Errorf("%+v, %v, want %+v", got, err, tc)
		}
	}
	if old := before.Ruleset(me); !old.Content[0].Enabled || old.Override[0].Enabled {
		t.Error("an older copy has changed")
	}
	in := pushrules.NewInput(parse(t, `{}`), 3, always)
	if got := pushrules.Compile(me, &rules).Evaluate(in, ""); got.RuleID != ".m.rule.master" || got.Notify {
		t.Errorf("%+v, want the master rule to silence all", got)
	}
	for name, err := range map[string]error{
		"unknown":            c.SetEnabled(pushrules.Content, "coffee", true),
		"other kind":         c.SetEnabled(pushrules.Underride, ".m.rule.master", true),
		"unknown actions":    c.SetActions(pushrules.Content, "coffee", raws()),
		"delete unknown":     c.Delete(pushrules.Content, "coffee"),
		"delete a default":   c.Delete(pushrules.Override, ".m.rule.master"),
		"find an other kind": func() error { _, err := rules.Rule(pushrules.Room, "tea"); return err }(),
	} {
		if !matrix.IsCode(err, "M_NOT_FOUND") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.SetActions(pushrules.Content, "tea", raws(`[]`)); !matrix.IsCode(err, "M_BAD_JSON") {
		t.Error(err)
	}
}

func TestParseKind(t *testing.T) {
	t.Parallel()
	for _, kind := range pushrules.Kinds() {
		if got, err := pushrules.ParseKind(string(kind)); got != kind || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if _, err := pushrules.ParseKind("global"); !matrix.IsCode(err, "M_INVALID_PARAM") {
		t.Error(err)
	}
}
