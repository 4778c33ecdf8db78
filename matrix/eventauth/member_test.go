package eventauth_test

import "testing"

func joinRule(rule string) []ev {
	return []ev{state("m.room.join_rules", "", alice, `{"join_rule":"`+rule+`"}`)}
}

// authorised is a join that a member vouches for.
func authorised(user, by string) ev {
	return state("m.room.member", user, user, `{"join_authorised_via_users_server":"`+by+`","membership":"join"}`)
}

func TestMemberForm(t *testing.T) {
	t.Parallel()
	runScenes(t, map[string]scene{
		"no state key":              {event: ev{typ: "m.room.member", sender: bob, content: `{"membership":"join"}`}, want: "1-5:5.1 6-11:4.1 12:5.1"},
		"no membership":             {event: state("m.room.member", bob, bob, `{}`), want: "1-5:5.1 6-11:4.1 12:5.1"},
		"membership is no string":   {event: state("m.room.member", bob, bob, `{"membership":1}`), want: "1-5:5.1 6-11:4.1 12:5.1"},
		"unknown membership":        {event: member(bob, bob, "jump"), want: "1-5:5.6 6:4.6 7:4.7 8-11:4.8 12:5.8"},
		"authoriser is no string":   {with: joinRule("public"), event: state("m.room.member", eve, eve, `{"join_authorised_via_users_server":1,"membership":"join"}`), want: "1-7:ok 8-11:4.2.1 12:5.2.1"},
		"authoriser is no user":     {with: joinRule("public"), event: authorised(eve, "mod"), want: "1-7:ok 8-11:4.2.1 12:5.2.1"},
		"leaving with no user's OK": {event: state("m.room.member", bob, bob, `{"join_authorised_via_users_server":null,"membership":"leave"}`), want: "1-7:ok 8-11:4.2.1 12:5.2.1"},
	})
}

func TestJoin(t *testing.T) {
	t.Parallel()
	first := func(user string) ev {
		e := member(user, user, "join")
		e.prev = []string{"$create"}
		return e
	}
	forOther := member(mod, alice, "join")
	forOther.prev = []string{"$create"}
	second := first(alice)
	second.prev = append(second.prev, "$other")
	runScenes(t, map[string]scene{
		"creator right after create":       {without: []string{"m.room.member", "m.room.power_levels", "m.room.join_rules"}, event: first(alice), want: "1-:ok"},
		"creator with another prev":        {without: []string{"m.room.member"}, event: second, want: "1-5:5.2.4 6-7:4.2.4 8-11:4.3.4 12:5.3.4"},
		"somebody right after create":      {event: first(eve), want: "1-5:5.2.4 6-7:4.2.4 8-11:4.3.4 12:5.3.4"},
		"additional creator, after create": {without: []string{"m.room.member"}, event: first("@cleo:c.example"), want: "12:5.3.4"},
		// The rule asks whose membership it is, not who sent it.
		"creator's first join by another": {event: forOther, want: "1-:ok"},
		"creator of content, not sender": {
			setup: func(version string) []ev {
				e := createEvent(version)
				e.content = `{"creator":"` + eve + `"}`
				return []ev{e}
			}, event: first(eve), want: "1-10:ok 11:4.3.4 12:5.3.4",
		},
		"creator is no string": {
			setup: func(version string) []ev {
				e := createEvent(version)
				e.content = `{"creator":7}`
				return []ev{e}
			},
			event: ev{typ: "m.room.member", key: key(""), sender: eve, content: `{"membership":"join"}`, prev: []string{"$create"}},
			want:  "1-5:5.2.2 6-7:4.2.2 8-10:4.3.2",
		},
		"for somebody else":             {event: member(mod, bob, "join"), want: "1-5:5.2.2 6-7:4.2.2 8-11:4.3.2 12:5.3.2"},
		"banned":                        {with: joinRule("public"), event: member(dave, dave, "join"), want: "1-5:5.2.3 6-7:4.2.3 8-11:4.3.3 12:5.3.3"},
		"invited":                       {event: member(carol, carol, "join"), want: "1-:ok"},
		"again":                         {event: member(bob, bob, "join"), want: "1-:ok"},
		"uninvited":                     {event: member(eve, eve, "join"), want: "1-5:5.2.4 6-7:4.2.4 8-11:4.3.4 12:5.3.4"},
		"after leaving":                 {event: member(lea, lea, "join"), want: "1-5:5.2.4 6-7:4.2.4 8-11:4.3.4 12:5.3.4"},
		"knocked":                       {with: joinRule("knock"), event: member(kim, kim, "join"), want: "1-5:5.2.6 6:4.2.6 7:4.2.4 8-11:4.3.4 12:5.3.4"},
		"no join rules, uninvited":      {without: []string{"m.room.join_rules"}, event: member(eve, eve, "join"), want: "1-5:5.2.4 6-7:4.2.4 8-11:4.3.4 12:5.3.4"},
		"no join rules, invited":        {without: []string{"m.room.join_rules"}, event: member(carol, carol, "join"), want: "1-:ok"},
		"public":                        {with: joinRule("public"), event: member(eve, eve, "join"), want: "1-:ok"},
		"private":                       {with: joinRule("private"), event: member(carol, carol, "join"), want: "1-5:5.2.6 6-7:4.2.6 8-11:4.3.7 12:5.3.7"},
		"join rules without rule":       {with: []ev{state("m.room.join_rules", "", alice, `{}`)}, event: member(carol, carol, "join"), want: "1-5:5.2.6 6-7:4.2.6 8-11:4.3.7 12:5.3.7"},
		"knock room, invited":           {with: joinRule("knock"), event: member(carol, carol, "join"), want: "1-5:5.2.6 6:4.2.6 7-:ok"},
		"knock room, uninvited":         {with: joinRule("knock"), event: member(eve, eve, "join"), want: "1-5:5.2.6 6:4.2.6 7:4.2.4 8-11:4.3.4 12:5.3.4"},
		"restricted, invited":           {with: joinRule("restricted"), event: member(carol, carol, "join"), want: "1-5:5.2.6 6-7:4.2.6 8-:ok"},
		"restricted, in it":             {with: joinRule("restricted"), event: member(bob, bob, "join"), want: "8-:ok"},
		"restricted, alone":             {with: joinRule("restricted"), event: member(eve, eve, "join"), want: "1-5:5.2.6 6-7:4.2.6 8-11:4.3.5.2 12:5.3.5.2"},
		"restricted, by mod":            {with: joinRule("restricted"), event: authorised(eve, mod), want: "1-5:5.2.6 6-7:4.2.6 8-:ok"},
		"restricted, by creator":        {with: joinRule("restricted"), event: authorised(eve, alice), want: "8-:ok"},
		"restricted, by one too low":    {with: joinRule("restricted"), event: authorised(eve, bob), want: "8-11:4.3.5.2 12:5.3.5.2"},
		"restricted, by an outsider":    {with: joinRule("restricted"), event: authorised(eve, carol), want: "8-11:4.3.5.2 12:5.3.5.2"},
		"restricted, by themself":       {with: joinRule("restricted"), event: authorised(eve, eve), want: "8-11:4.3.5.2 12:5.3.5.2"},
		"restricted, banned":            {with: joinRule("restricted"), event: authorised(dave, mod), want: "8-11:4.3.3 12:5.3.3"},
		"knock_restricted, by mod":      {with: joinRule("knock_restricted"), event: authorised(eve, mod), want: "1-5:5.2.6 6-7:4.2.6 8-9:4.3.7 10-:ok"},
		"knock_restricted, invited":     {with: joinRule("knock_restricted"), event: member(carol, carol, "join"), want: "8-9:4.3.7 10-:ok"},
		"knock_restricted, after knock": {with: joinRule("knock_restricted"), event: member(kim, kim, "join"), want: "8-9:4.3.7 10-11:4.3.5.2 12:5.3.5.2"},
	})
}

func TestInvite(t *testing.T) {
	t.Parallel()
	runScenes(t, map[string]scene{
		"by mod":             {event: member(mod, eve, "invite"), want: "1-:ok"},
		"by outsider":        {event: member(carol, eve, "invite"), want: "1-5:5.3.2 6-7:4.3.2 8-11:4.4.2 12:5.4.2"},
		"of a member":        {event: member(mod, bob, "invite"), want: "1-5:5.3.3 6-7:4.3.3 8-11:4.4.3 12:5.4.3"},
		"of a banned":        {event: member(mod, dave, "invite"), want: "1-5:5.3.3 6-7:4.3.3 8-11:4.4.3 12:5.4.3"},
		"again":              {event: member(mod, carol, "invite"), want: "1-:ok"},
		"of one who knocked": {event: member(mod, kim, "invite"), want: "1-:ok"},
		"too low":            {event: member(bob, eve, "invite"), want: "1-5:5.3.5 6-7:4.3.5 8-11:4.4.5 12:5.4.5"},
		"level 0 without PL": {without: []string{"m.room.power_levels"}, event: member(bob, eve, "invite"), want: "1-:ok"},
		"additional creator": {event: member("@cleo:c.example", eve, "invite"), want: "1-5:5.3.5 6-7:4.3.5 8-11:4.4.5 12:ok"},
	})
}

func TestLeave(t *testing.T) {
	t.Parallel()
	runScenes(t, map[string]scene{
		"leave":                       {event: member(bob, bob, "leave"), want: "1-:ok"},
		"decline":                     {event: member(carol, carol, "leave"), want: "1-:ok"},
		"withdraw a knock":            {event: member(kim, kim, "leave"), want: "1-5:5.4.1 6:4.4.1 7-:ok"},
		"never there":                 {event: member(eve, eve, "leave"), want: "1-5:5.4.1 6-7:4.4.1 8-11:4.5.1 12:5.5.1"},
		"left":                        {event: member(lea, lea, "leave"), want: "1-5:5.4.1 6-7:4.4.1 8-11:4.5.1 12:5.5.1"},
		"banned":                      {event: member(dave, dave, "leave"), want: "1-5:5.4.1 6-7:4.4.1 8-11:4.5.1 12:5.5.1"},
		"kick":                        {event: member(mod, bob, "leave"), want: "1-:ok"},
		"kick by outsider":            {event: member(carol, bob, "leave"), want: "1-5:5.4.2 6-7:4.4.2 8-11:4.5.2 12:5.5.2"},
		"kick too low":                {event: member(bob, carol, "leave"), want: "1-5:5.4.5 6-7:4.4.5 8-11:4.5.5 12:5.5.5"},
		"kick of an equal":            {event: member(adam, alice, "leave"), want: "1-5:5.4.5 6-7:4.4.5 8-11:4.5.5 12:5.5.5"},
		"kick of a lower admin":       {event: member(alice, adam, "leave"), want: "1-5:5.4.5 6-7:4.4.5 8-11:4.5.5 12:ok"},
		"creator against creator":     {event: member(alice, "@cleo:c.example", "leave"), want: "12:5.5.5"},
		"unban":                       {event: member(mod, dave, "leave"), want: "1-:ok"},
		"unban below the ban level":   {setup: levels(`"ban":60`), event: member(mod, dave, "leave"), want: "1-5:5.4.3 6-7:4.4.3 8-11:4.5.3 12:5.5.3"},
		"unban below the kick level":  {setup: levels(`"ban":40,"kick":60`), event: member(mod, dave, "leave"), want: "1-5:5.4.5 6-7:4.4.5 8-11:4.5.5 12:5.5.5"},
		"kick without PL, by creator": {without: []string{"m.room.power_levels"}, event: member(alice, bob, "leave"), want: "1-:ok"},
		"kick without PL":             {without: []string{"m.room.power_levels"}, event: member(adam, bob, "leave"), want: "1-5:5.4.5 6-7:4.4.5 8-11:4.5.5 12:5.5.5"},
	})
}

func TestBan(t *testing.T) {
	t.Parallel()
	runScenes(t, map[string]scene{
		"ban":             {event: member(mod, bob, "ban"), want: "1-:ok"},
		"of a stranger":   {event: member(mod, eve, "ban"), want: "1-:ok"},
		"by outsider":     {event: member(carol, bob, "ban"), want: "1-5:5.5.1 6-7:4.5.1 8-11:4.6.1 12:5.6.1"},
		"too low":         {event: member(bob, eve, "ban"), want: "1-5:5.5.3 6-7:4.5.3 8-11:4.6.3 12:5.6.3"},
		"of an equal":     {event: member(adam, alice, "ban"), want: "1-5:5.5.3 6-7:4.5.3 8-11:4.6.3 12:5.6.3"},
		"of a higher":     {event: member(mod, adam, "ban"), want: "1-5:5.5.3 6-7:4.5.3 8-11:4.6.3 12:5.6.3"},
		"of oneself":      {event: member(mod, mod, "ban"), want: "1-5:5.5.3 6-7:4.5.3 8-11:4.6.3 12:5.6.3"},
		"above ban level": {setup: levels(`"ban":51`), event: member(mod, bob, "ban"), want: "1-5:5.5.3 6-7:4.5.3 8-11:4.6.3 12:5.6.3"},
	})
}

func TestKnock(t *testing.T) {
	t.Parallel()
	runScenes(t, map[string]scene{
		"knock":               {with: joinRule("knock"), event: member(eve, eve, "knock"), want: "1-5:5.6 6:4.6 7-:ok"},
		"after leaving":       {with: joinRule("knock"), event: member(lea, lea, "knock"), want: "7-:ok"},
		"again":               {with: joinRule("knock"), event: member(kim, kim, "knock"), want: "7-:ok"},
		"knock_restricted":    {with: joinRule("knock_restricted"), event: member(eve, eve, "knock"), want: "7:4.6.1 8-9:4.7.1 10-:ok"},
		"on an invite room":   {event: member(eve, eve, "knock"), want: "7:4.6.1 8-11:4.7.1 12:5.7.1"},
		"for somebody else":   {with: joinRule("knock"), event: member(mod, eve, "knock"), want: "7:4.6.2 8-11:4.7.2 12:5.7.2"},
		"banned":              {with: joinRule("knock"), event: member(dave, dave, "knock"), want: "7:4.6.4 8-11:4.7.4 12:5.7.4"},
		"invited":             {with: joinRule("knock"), event: member(carol, carol, "knock"), want: "7:4.6.4 8-11:4.7.4 12:5.7.4"},
		"already in the room": {with: joinRule("knock"), event: member(bob, bob, "knock"), want: "7:4.6.4 8-11:4.7.4 12:5.7.4"},
	})
}
