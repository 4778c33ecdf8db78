package pushrules_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/pushrules"
)

const (
	me    matrix.UserID = "@me:x.example"
	other matrix.UserID = "@other:x.example"
)

// parse makes an event of version 11 in a room of its own. What members says
// replaces what stands there.
func parse(t testing.TB, members string) *event.Event {
	t.Helper()
	all := map[string]any{
		"auth_events": []string{}, "prev_events": []string{}, "depth": 1, "hashes": map[string]string{"sha256": "x"},
		"origin_server_ts": 1, "room_id": "!r:x.example", "sender": other, "type": "m.room.message",
		"content": map[string]string{"msgtype": "m.text", "body": "hello"}, "signatures": map[string]any{},
	}
	if err := json.Unmarshal([]byte(members), &all); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := matrix.RoomVersion("11").Rules()
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.ParseStored(raw, "$e", rules)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func always(string) bool { return true }

func TestDefaultRules(t *testing.T) {
	t.Parallel()
	rules := pushrules.Default(me)
	compiled := pushrules.Compile(me, &rules)
	for name, tc := range map[string]struct {
		event    string
		members  int64
		rule     string
		notify   bool
		high     bool
		sound    string
		unallied bool // the sender may not notify the room
	}{
		"message":         {event: `{}`, rule: ".m.rule.message", notify: true},
		"message of two":  {event: `{}`, members: 2, rule: ".m.rule.room_one_to_one", notify: true, sound: `"default"`},
		"notice":          {event: `{"content":{"msgtype":"m.notice","body":"x"}}`, rule: ".m.rule.suppress_notices"},
		"encrypted":       {event: `{"type":"m.room.encrypted"}`, rule: ".m.rule.encrypted", notify: true},
		"encrypted, two":  {event: `{"type":"m.room.encrypted"}`, members: 2, rule: ".m.rule.encrypted_room_one_to_one", notify: true, sound: `"default"`},
		"call":            {event: `{"type":"m.call.invite"}`, rule: ".m.rule.call", notify: true, sound: `"ring"`},
		"invited":         {event: `{"type":"m.room.member","state_key":"@me:x.example","content":{"membership":"invite"}}`, rule: ".m.rule.invite_for_me", notify: true, sound: `"default"`},
		"another invited": {event: `{"type":"m.room.member","state_key":"@you:x.example","content":{"membership":"invite"}}`, rule: ".m.rule.member_event"},
		"mentioned": {event: `{"content":{"body":"x","m.mentions":{"user_ids":["@you:x.example","@me:x.example"]}}}`,
			rule: ".m.rule.is_user_mention", notify: true, high: true, sound: `"default"`},
		"another mentioned": {event: `{"content":{"body":"me","m.mentions":{"user_ids":["@you:x.example"]}}}`, rule: ".m.rule.message", notify: true},
		"mention no list":   {event: `{"content":{"body":"x","m.mentions":{"user_ids":"@me:x.example"}}}`, rule: ".m.rule.message", notify: true},
		"room mentioned": {event: `{"content":{"body":"x","m.mentions":{"room":true}}}`,
			rule: ".m.rule.is_room_mention", notify: true, high: true},
		"room mentioned by anybody": {event: `{"content":{"body":"x","m.mentions":{"room":true}}}`, unallied: true,
			rule: ".m.rule.message", notify: true},
		"room mention no bool": {event: `{"content":{"body":"x","m.mentions":{"room":"true"}}}`, rule: ".m.rule.message", notify: true},
		"name in body":         {event: `{"content":{"body":"me @room Me My"}}`, rule: ".m.rule.message", notify: true},
		"tombstone":            {event: `{"type":"m.room.tombstone","state_key":""}`, rule: ".m.rule.tombstone", notify: true, high: true},
		"tombstone, no state":  {event: `{"type":"m.room.tombstone"}`, rule: ""},
		"tombstone, other key": {event: `{"type":"m.room.tombstone","state_key":"x"}`, rule: ""},
		"reaction":             {event: `{"type":"m.reaction"}`, rule: ".m.rule.reaction"},
		"server ACL":           {event: `{"type":"m.room.server_acl","state_key":""}`, rule: ".m.rule.room.server_acl"},
		"edit":                 {event: `{"content":{"body":"x","m.relates_to":{"rel_type":"m.replace"}}}`, rule: ".m.rule.suppress_edits"},
		"reply":                {event: `{"content":{"body":"x","m.relates_to":{"rel_type":"m.thread"}}}`, rule: ".m.rule.message", notify: true},
		"topic":                {event: `{"type":"m.room.topic","state_key":""}`, rule: ""},
		"own message":          {event: `{"sender":"@me:x.example"}`, rule: ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			members := max(tc.members, 1)
			if tc.members == 0 {
				members = 3
			}
			in := pushrules.NewInput(parse(t, tc.event), members, func(kind string) bool { return kind == "room" && !tc.unallied })
			got := compiled.Evaluate(in, "Me My")
			if got.RuleID != tc.rule || got.Notify != tc.notify || got.Highlight != tc.high || string(got.Tweaks["sound"]) != tc.sound {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestDefaultRulesAreThoseOfTheSpecification(t *testing.T) {
	t.Parallel()
	rules := pushrules.Default(`@"me\:x`)
	got := make(map[pushrules.Kind][]string)
	for _, kind := range pushrules.Kinds() {
		for _, r := range rules.Rules(kind) {
			got[kind] = append(got[kind], strings.TrimPrefix(r.ID, ".m.rule."))
			if !r.Default || r.Enabled == (r.ID == ".m.rule.master") || r.Actions == nil || r.Conditions == nil {
				t.Errorf("%+v", r)
			}
		}
	}
	want := map[pushrules.Kind][]string{
		pushrules.Override: {"master", "suppress_notices", "invite_for_me", "member_event", "is_user_mention", "is_room_mention",
			"tombstone", "reaction", "room.server_acl", "suppress_edits"},
		pushrules.Underride: {"call", "encrypted_room_one_to_one", "room_one_to_one", "message", "encrypted"},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	out, err := json.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`{"rule_id":".m.rule.master","default":true,"enabled":false,"actions":[],"conditions":[]}`,
		`"content":[],"room":[],"sender":[]`,
		`{"kind":"event_property_contains","key":"content.m\\.mentions.user_ids","value":"@\"me\\:x"}`,
		`"actions":["notify",{"set_tweak":"sound","value":"default"},{"set_tweak":"highlight"}]`,
	} {
		if !strings.Contains(string(out), part) {
			t.Errorf("%s lacks %s", out, part)
		}
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	const e = `{"type":"org.example","state_key":"K","content":{"body":"It's time for TEA","n":7,"yes":true,"none":null,"text":"a\"b",
		"f":{"m.x":"dot","m\\y":"slash","\\z":"other"},"list":["a",1,null,{"b":1}],"":"empty"}}`
	for name, tc := range map[string]struct {
		condition string
		want      bool
	}{
		"match":              {`{"kind":"event_match","key":"type","pattern":"ORG.*"}`, true},
		"match sender":       {`{"kind":"event_match","key":"sender","pattern":"@other:*"}`, true},
		"match room":         {`{"kind":"event_match","key":"room_id","pattern":"!r:x.example"}`, true},
		"match event":        {`{"kind":"event_match","key":"event_id","pattern":"$e"}`, true},
		"match whole":        {`{"kind":"event_match","key":"type","pattern":"example"}`, false},
		"match state key":    {`{"kind":"event_match","key":"state_key","pattern":"k"}`, true},
		"match number":       {`{"kind":"event_match","key":"content.n","pattern":"7"}`, false},
		"match absent":       {`{"kind":"event_match","key":"content.q","pattern":"*"}`, false},
		"match below string": {`{"kind":"event_match","key":"content.body.q","pattern":"*"}`, false},
		"match other member": {`{"kind":"event_match","key":"depth.x","pattern":"*"}`, false},
		"match empty name":   {`{"kind":"event_match","key":"content.","pattern":"empty"}`, true},
		"match content":      {`{"kind":"event_match","key":"content","pattern":"*"}`, false},
		"match dot":          {`{"kind":"event_match","key":"content.f.m\\.x","pattern":"dot"}`, true},
		"match without dot":  {`{"kind":"event_match","key":"content.f.m.x","pattern":"dot"}`, false},
		"match backslash":    {`{"kind":"event_match","key":"content.f.m\\\\y","pattern":"slash"}`, true},
		"match left as is":   {`{"kind":"event_match","key":"content.f.\\z","pattern":"other"}`, true},
		"match body":         {`{"kind":"event_match","key":"content.body","pattern":"tea"}`, true},
		"match body, part":   {`{"kind":"event_match","key":"content.body","pattern":"te"}`, false},
		"match too long":     {`{"kind":"event_match","key":"type","pattern":"` + strings.Repeat("*a", 256) + `"}`, false},
		"match no pattern":   {`{"kind":"event_match","key":"type"}`, false},

		"is string":        {`{"kind":"event_property_is","key":"content.text","value":"a\u0022b"}`, true},
		"is type":          {`{"kind":"event_property_is","key":"type","value":"org.example"}`, true},
		"is other case":    {`{"kind":"event_property_is","key":"type","value":"Org.example"}`, false},
		"is number":        {`{"kind":"event_property_is","key":"content.n","value":7}`, true},
		"is no cast":       {`{"kind":"event_property_is","key":"content.n","value":"7"}`, false},
		"is bool":          {`{"kind":"event_property_is","key":"content.yes","value":true}`, true},
		"is null":          {`{"kind":"event_property_is","key":"content.none","value":null}`, true},
		"is null, absent":  {`{"kind":"event_property_is","key":"content.q","value":null}`, false},
		"is object":        {`{"kind":"event_property_is","key":"content.f","value":{}}`, false},
		"is fraction":      {`{"kind":"event_property_is","key":"content.n","value":7.5}`, false},
		"is without value": {`{"kind":"event_property_is","key":"content.n"}`, false},

		"contains string":  {`{"kind":"event_property_contains","key":"content.list","value":"a"}`, true},
		"contains number":  {`{"kind":"event_property_contains","key":"content.list","value":1}`, true},
		"contains null":    {`{"kind":"event_property_contains","key":"content.list","value":null}`, true},
		"contains not":     {`{"kind":"event_property_contains","key":"content.list","value":"b"}`, false},
		"contains object":  {`{"kind":"event_property_contains","key":"content.list","value":{"b":1}}`, false},
		"contains no list": {`{"kind":"event_property_contains","key":"content.text","value":"a"}`, false},
		"contains absent":  {`{"kind":"event_property_contains","key":"content.q","value":"a"}`, false},

		"count":            {`{"kind":"room_member_count","is":"3"}`, true},
		"count ==":         {`{"kind":"room_member_count","is":"==3"}`, true},
		"count <":          {`{"kind":"room_member_count","is":"<3"}`, false},
		"count <=":         {`{"kind":"room_member_count","is":"<=3"}`, true},
		"count >":          {`{"kind":"room_member_count","is":">2"}`, true},
		"count >=":         {`{"kind":"room_member_count","is":">=4"}`, false},
		"count =":          {`{"kind":"room_member_count","is":"=3"}`, false},
		"count signed":     {`{"kind":"room_member_count","is":"+3"}`, false},
		"count empty":      {`{"kind":"room_member_count","is":">"}`, false},
		"count overflow":   {`{"kind":"room_member_count","is":"<99999999999999999999"}`, false},
		"count number":     {`{"kind":"room_member_count","is":3}`, false},
		"count without is": {`{"kind":"room_member_count"}`, false},

		"permission":         {`{"kind":"sender_notification_permission","key":"room"}`, true},
		"other permission":   {`{"kind":"sender_notification_permission","key":"org.example"}`, false},
		"permission, no key": {`{"kind":"sender_notification_permission"}`, false},

		"unknown kind": {`{"kind":"org.example"}`, false},
		"no kind":      {`{}`, false},
		"no object":    {`1`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := pushrules.Ruleset{Override: []pushrules.Rule{{ID: "r", Enabled: true,
				Actions: []json.RawMessage{[]byte(`"notify"`)}, Conditions: []json.RawMessage{[]byte(tc.condition)}}}}
			in := pushrules.NewInput(parse(t, e), 3, func(kind string) bool { return kind == "room" })
			compiled := pushrules.Compile(me, &rules)
			for range 2 { // what was looked up is remembered
				if got := compiled.Evaluate(in, "").Notify; got != tc.want {
					t.Errorf("%v, want %v", got, tc.want)
				}
			}
		})
	}
}

func TestDisplayName(t *testing.T) {
	t.Parallel()
	rules := pushrules.Ruleset{Underride: []pushrules.Rule{{ID: "r", Enabled: true,
		Actions:    []json.RawMessage{[]byte(`"notify"`), []byte(`{"set_tweak":"highlight","value":false}`)},
		Conditions: []json.RawMessage{[]byte(`{"kind":"contains_display_name"}`)}}}}
	compiled := pushrules.Compile(me, &rules)
	for name, tc := range map[string]struct {
		body, displayName string
		want              bool
	}{
		"named":         {"hello, anne-marie!", "Anne-Marie", true},
		"not ASCII":     {"salut ÉLOÏSE", "Éloïse", true},
		"part of word":  {"annexe", "Anne", false},
		"no wildcard":   {"hello there", "h*", false},
		"star itself":   {"hello h* there", "h*", true},
		"no name":       {"hello", "", false},
		"name too long": {strings.Repeat("a", 300), strings.Repeat("a", 300), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := pushrules.NewInput(parse(t, fmt.Sprintf(`{"content":{"body":%q}}`, tc.body)), 3, nil)
			if got := compiled.Evaluate(in, tc.displayName); got.Notify != tc.want || got.Highlight {
				t.Errorf("%+v, want %v", got, tc.want)
			}
		})
	}
}

func TestOrderOfRules(t *testing.T) {
	t.Parallel()
	rule := func(id, condition string) pushrules.Rule {
		return pushrules.Rule{ID: id, Enabled: true, Pattern: "hello", Actions: []json.RawMessage{[]byte(`"notify"`)},
			Conditions: []json.RawMessage{[]byte(condition)}}
	}
	const yes, no = `{"kind":"event_match","key":"type","pattern":"*"}`, `{"kind":"event_match","key":"type","pattern":"x"}`
	off := rule("off", yes)
	off.Enabled = false
	all := pushrules.Ruleset{
		Override:  []pushrules.Rule{off, rule("no", no), rule("o1", yes), rule("o2", yes)},
		Content:   []pushrules.Rule{off, rule("c", "")},
		Room:      []pushrules.Rule{rule("!other:x", ""), rule("!r:x.example", "")},
		Sender:    []pushrules.Rule{rule("@nobody:x", ""), rule(string(other), "")},
		Underride: []pushrules.Rule{rule("u", yes)},
	}
	for _, tc := range []struct {
		drop func()
		want string
	}{
		{func() {}, "o1"},
		{func() { all.Override = nil }, "c"},
		{func() { all.Content = nil }, "!r:x.example"},
		{func() { all.Room = nil }, string(other)},
		{func() { all.Sender = nil }, "u"},
		{func() { all.Underride = nil }, ""},
	} {
		tc.drop()
		in := pushrules.NewInput(parse(t, `{}`), 3, always)
		if got := pushrules.Compile(me, &all).Evaluate(in, ""); got.RuleID != tc.want || got.Notify != (tc.want != "") {
			t.Errorf("%q decided, want %q", got.RuleID, tc.want)
		}
	}
}

func TestActions(t *testing.T) {
	t.Parallel()
	rules := pushrules.Ruleset{Override: []pushrules.Rule{{ID: "r", Enabled: true, Conditions: []json.RawMessage{},
		Actions: []json.RawMessage{[]byte(`"dont_notify"`), []byte(`"org.example"`), []byte(`7`), []byte(`{"set_tweak":"sound"}`),
			[]byte(`{"set_tweak":"org.example.flash","value":[1]}`)}}}}
	got := pushrules.Compile(me, &rules).Evaluate(pushrules.NewInput(parse(t, `{}`), 3, always), "")
	if got.Notify || got.Highlight || got.RuleID != "r" || string(got.Tweaks["org.example.flash"]) != "[1]" || len(got.Actions) != 5 {
		t.Errorf("%+v", got)
	}
	if out, err := json.Marshal(got.Tweaks); err != nil || string(out) != `{"org.example.flash":[1],"sound":null}` {
		t.Errorf("%s %v", out, err)
	}
}
