package eventauth_test

import (
	"strings"
	"testing"
)

// levels replaces the power levels of the room by its users and this.
func levels(more string) func(string) []ev {
	return func(version string) []ev {
		return []ev{state("m.room.power_levels", "", alice, `{"users":`+users(version)+`,`+more+`}`)}
	}
}

// set is a power levels event by sender. USERS stands for those of the room.
func set(sender, content string) func(string) ev {
	return func(version string) ev {
		list := strings.Trim(users(version), "{}")
		return state("m.room.power_levels", "", sender, strings.ReplaceAll(content, "USERS", list))
	}
}

func TestPowerLevelForm(t *testing.T) {
	t.Parallel()
	const users = "1-5:10.1 6-9:9.1 10-11:9.3 12:10.3"
	const named = "1-5:10.3 6-9:9.3 10-11:9.1 12:10.1"
	const lists = "1-5:10.4 6-9:9.4 10-11:9.2 12:10.2"
	scenes := map[string]scene{
		"nothing":                  {by: set(adam, `{}`), want: "1-:ok"},
		"users: a list":            {by: set(adam, `{"users":[]}`), want: users},
		"users: null":              {by: set(adam, `{"users":null}`), want: users},
		"users: no user ID":        {by: set(adam, `{"users":{"bob":1}}`), want: users},
		"users: a boolean":         {by: set(adam, `{"users":{"`+bob+`":true}}`), want: users},
		"users: null level":        {by: set(adam, `{"users":{"`+bob+`":null}}`), want: users},
		"users: text":              {by: set(adam, `{"users":{"`+bob+`":"high"}}`), want: users},
		"users: empty string":      {by: set(adam, `{"users":{"`+bob+`":""}}`), want: users},
		"users: float as string":   {by: set(adam, `{"users":{"`+bob+`":"1.5"}}`), want: users},
		"users: two signs":         {by: set(adam, `{"users":{"`+bob+`":"--1"}}`), want: users},
		"users: inner space":       {by: set(adam, `{"users":{"`+bob+`":"1 0"}}`), want: users},
		"users: string":            {by: set(adam, `{"users":{"`+bob+`":"1"}}`), want: "1-9:ok 10-11:9.3 12:10.3"},
		"users: spaces and sign":   {by: set(adam, `{"users":{"`+bob+`":" +0010 "}}`), want: "1-9:ok 10-11:9.3 12:10.3"},
		"users: float":             {by: set(adam, `{"users":{"`+bob+`":10.9}}`), want: "1-5:ok 6-9:9.1 10-11:9.3 12:10.3"},
		"users: exponent":          {by: set(adam, `{"users":{"`+bob+`":1e1}}`), want: "1-5:ok 6-9:9.1 10-11:9.3 12:10.3"},
		"users: beyond a double":   {by: set(adam, `{"users":{"`+bob+`":1e999}}`), want: users},
		"users: long, low":         {by: set(adam, `{"users":{"`+bob+`":-100000000000000000000}}`), want: "1-5:ok 6-9:9.1 10-11:9.3 12:10.3"},
		"users: huge":              {by: set(adam, `{"users":{"`+bob+`":100000000000000000000}}`), want: "1-5:10.7.1 6-9:9.1 10-11:9.3 12:10.3"},
		"users: huge string":       {by: set(adam, `{"users":{"`+bob+`":"100000000000000000000"}}`), want: "1-5:10.7.1 6-9:9.7.1 10-11:9.3 12:10.3"},
		"named: text":              {by: set(adam, `{"ban":"x"}`), want: named},
		"named: null":              {by: set(adam, `{"ban":null}`), want: named},
		"named: string":            {by: set(adam, `{"ban":"50"}`), want: "1-9:ok 10-11:9.1 12:10.1"},
		"named: float":             {by: set(adam, `{"ban":50.5}`), want: "1-5:ok 6-9:9.3 10-11:9.1 12:10.1"},
		"events: a list":           {by: set(adam, `{"events":[]}`), want: lists},
		"events: text":             {by: set(adam, `{"events":{"m.x":"x"}}`), want: lists},
		"events: string":           {by: set(adam, `{"events":{"m.x":"1"}}`), want: "1-9:ok 10-11:9.2 12:10.2"},
		"notifications: text":      {by: set(adam, `{"notifications":{"room":"x"}}`), want: "1-5:ok 6-9:9.4 10-11:9.2 12:10.2"},
		"notifications: a list":    {by: set(adam, `{"notifications":[]}`), want: "1-5:ok 6-9:9.4 10-11:9.2 12:10.2"},
		"other keys mean nothing":  {by: set(adam, `{"other":[],"users":{}}`), want: "1-:ok"},
		"unreadable levels before": {with: []ev{state("m.room.power_levels", "", alice, `[]`)}, by: set(alice, `{}`), want: "1-5:8 6-11:7 12:8"},
	}
	for name, s := range scenes {
		if s.with == nil { // no one is named before, so that only the form matters
			s.setup = func(version string) []ev {
				list := `{"` + adam + `":200}`
				return []ev{state("m.room.power_levels", "", alice, `{"users":`+list+`,"state_default":0}`)}
			}
			scenes[name] = s
		}
	}
	runScenes(t, scenes)
}

func TestFirstPowerLevels(t *testing.T) {
	t.Parallel()
	none := []string{"m.room.power_levels"}
	runScenes(t, map[string]scene{
		"any levels":        {without: none, by: set(alice, `{"ban":1000,"users":{"`+bob+`":500}}`), want: "1-:ok"},
		"names creator":     {without: none, by: set(alice, `{"users":{"`+alice+`":100}}`), want: "1-11:ok 12:10.4"},
		"names 2nd creator": {without: none, by: set(alice, `{"users":{"@cleo:c.example":1}}`), want: "1-11:ok 12:10.4"},
		"by an outsider":    {without: none, by: set(eve, `{}`), want: "1-5:6 6-11:5 12:6"},
		"by no creator":     {without: none, by: set(adam, `{}`), want: "1-5:8 6-11:7 12:8"},
	})
}

func TestPowerLevelChanges(t *testing.T) {
	t.Parallel()
	// The moderator has 50; the room lets 50 change power levels.
	base := levels(`"ban":50,"kick":60,"events":{"m.a":50,"m.b":60},"notifications":{"room":50,"x":60},"invite":0`)
	same := `"ban":50,"kick":60,"events":{"m.a":50,"m.b":60},"notifications":{"room":50,"x":60},"invite":0`
	change := func(old, to string) func(string) ev {
		return set(mod, `{`+strings.Replace(same, old, to, 1)+`,"users":{USERS}}`)
	}
	people := func(sender, list string) func(string) ev {
		return set(sender, `{`+same+`,"users":{`+list+`}}`)
	}
	runScenes(t, map[string]scene{
		"nothing changes":              {setup: base, by: change("", ""), want: "1-:ok"},
		"named lowered":                {setup: base, by: change(`"ban":50`, `"ban":0`), want: "1-:ok"},
		"named raised to own":          {setup: base, by: change(`"invite":0`, `"invite":50`), want: "1-:ok"},
		"named raised above own":       {setup: base, by: change(`"ban":50`, `"ban":51`), want: "1-5:10.3.2 6-9:9.3.2 10-11:9.5.2 12:10.6.2"},
		"named above own lowered":      {setup: base, by: change(`"kick":60`, `"kick":50`), want: "1-5:10.3.1 6-9:9.3.1 10-11:9.5.1 12:10.6.1"},
		"named above own removed":      {setup: base, by: change(`"kick":60,`, ``), want: "1-5:10.3.1 6-9:9.3.1 10-11:9.5.1 12:10.6.1"},
		"named removed":                {setup: base, by: change(`"ban":50,`, ``), want: "1-:ok"},
		"named added":                  {setup: base, by: change(`"ban":50`, `"ban":50,"redact":50`), want: "1-:ok"},
		"named added above own":        {setup: base, by: change(`"ban":50`, `"ban":50,"redact":51`), want: "1-5:10.3.2 6-9:9.3.2 10-11:9.5.2 12:10.6.2"},
		"named: the same as a string":  {setup: base, by: change(`"kick":60`, `"kick":"60"`), want: "1-9:ok 10-11:9.1 12:10.1"},
		"event lowered":                {setup: base, by: change(`"m.a":50`, `"m.a":0`), want: "1-:ok"},
		"event raised above own":       {setup: base, by: change(`"m.a":50`, `"m.a":51`), want: "1-5:10.5.1 6-9:9.5.1 10-11:9.7.1 12:10.8.1"},
		"event above own lowered":      {setup: base, by: change(`"m.b":60`, `"m.b":50`), want: "1-5:10.4.1 6-9:9.4.1 10-11:9.6.1 12:10.7.1"},
		"event above own removed":      {setup: base, by: change(`,"m.b":60`, ``), want: "1-5:10.4.1 6-9:9.4.1 10-11:9.6.1 12:10.7.1"},
		"event removed":                {setup: base, by: change(`"m.a":50,`, ``), want: "1-:ok"},
		"event added":                  {setup: base, by: change(`"m.a":50`, `"m.0":1,"m.a":50`), want: "1-:ok"},
		"event added above own":        {setup: base, by: change(`"m.b":60`, `"m.b":60,"m.c":51`), want: "1-5:10.5.1 6-9:9.5.1 10-11:9.7.1 12:10.8.1"},
		"notification above own":       {setup: base, by: change(`"x":60`, `"x":50`), want: "1-5:ok 6-9:9.4.1 10-11:9.6.1 12:10.7.1"},
		"notification added above own": {setup: base, by: change(`"x":60`, `"x":60,"y":99`), want: "1-5:ok 6-9:9.5.1 10-11:9.7.1 12:10.8.1"},
		"user added":                   {setup: base, by: people(mod, `USERS,"`+bob+`":50`), want: "1-:ok"},
		"user added above own":         {setup: base, by: people(mod, `USERS,"`+bob+`":51`), want: "1-5:10.7.1 6-9:9.7.1 10-11:9.9.1 12:10.10.1"},
		"equal removed":                {setup: base, by: people(alice, `"`+alice+`":100,"`+mod+`":50`), want: "1-5:10.6.1 6-9:9.6.1 10-11:9.8.1 12:10.4"},
		"admin removed by mod":         {setup: base, by: set(mod, `{`+same+`,"users":{"`+mod+`":50}}`), want: "1-5:10.6.1 6-9:9.6.1 10-11:9.8.1 12:10.9.1"},
		"admin lowered by creator":     {setup: base, by: set(alice, `{`+same+`,"users":{"`+adam+`":1,"`+mod+`":50}}`), want: "1-5:10.6.1 6-9:9.6.1 10-11:9.8.1 12:ok"},
		"creators named":               {setup: base, by: people(alice, `"`+alice+`":1000,"`+adam+`":100,"`+mod+`":50`), want: "1-5:10.7.1 6-9:9.7.1 10-11:9.9.1 12:10.4"},
		"creator has no limit":         {setup: base, by: people(alice, `USERS,"`+bob+`":9007199254740991`), want: "1-5:10.7.1 6-9:9.7.1 10-11:9.9.1 12:ok"},
		"everything by default power":  {setup: levels(`"users_default":100`), by: set(bob, `{"users":{USERS,"`+bob+`":100},"users_default":100}`), want: "1-:ok"},
		"mod lowered by an admin":      {setup: base, by: set(adam, `{`+same+`,"users":{USERS,"`+bob+`":3}}`), want: "1-:ok"},
	})
}

func TestOwnLevelMayBeLowered(t *testing.T) {
	t.Parallel()
	content := `{"users":{"` + adam + `":100,"` + mod + `":10}}`
	scene{
		with:  []ev{state("m.room.power_levels", "", alice, strings.Replace(content, ":10}", ":50}", 1))},
		event: state("m.room.power_levels", "", mod, content),
		want:  "1-:ok",
	}.run(t)
	scene{ // also by taking it away
		with:  []ev{state("m.room.power_levels", "", alice, content)},
		event: state("m.room.power_levels", "", adam, `{"users":{"`+mod+`":10}}`),
		want:  "1-:ok",
	}.run(t)
}
