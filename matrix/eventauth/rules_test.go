package eventauth_test

import (
	"errors"
	"net/http"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	change := func(f func(*ev)) func(string) ev {
		return func(version string) ev {
			e := createEvent(version)
			f(&e)
			return e
		}
	}
	content := func(c string) func(string) ev { return change(func(e *ev) { e.content = c }) }
	scenes := map[string]scene{
		"plain":                     {by: change(func(*ev) {}), want: "1-:ok"},
		"prev_events":               {by: change(func(e *ev) { e.prev = []string{"$x"} }), want: "1-:1.1"},
		"other server's room ID":    {by: change(func(e *ev) { e.room = "!room:b.example" }), want: "1-12:1.2"},
		"room ID without server":    {by: change(func(e *ev) { e.room = "!room" }), want: "1-12:1.2"},
		"room ID of its own server": {by: change(func(e *ev) { e.room = "!room:a.example" }), want: "1-11:ok 12:1.2"},
		"unknown version":           {by: content(`{"creator":"` + alice + `","room_version":"99"}`), want: "1-:1.3"},
		"version is no string":      {by: content(`{"creator":"` + alice + `","room_version":1}`), want: "1-:1.3"},
		"no version":                {by: content(`{"creator":"` + alice + `"}`), want: "1-:ok"},
		"no creator":                {by: content(`{}`), want: "1-10:1.4 11-:ok"},
		"other state key":           {by: change(func(e *ev) { e.key = key("x") }), want: "1-12:1"},
		"no state key":              {by: change(func(e *ev) { e.key = nil }), want: "1-12:1"},
		"creators: no list":         {by: content(`{"additional_creators":"` + bob + `","creator":"x"}`), want: "1-11:ok 12:1.4"},
		"creators: null":            {by: content(`{"additional_creators":null,"creator":"x"}`), want: "1-11:ok 12:1.4"},
		"creators: a number":        {by: content(`{"additional_creators":["` + bob + `",1],"creator":"x"}`), want: "1-11:ok 12:1.4"},
		"creators: no user ID":      {by: content(`{"additional_creators":["bob"],"creator":"x"}`), want: "1-11:ok 12:1.4"},
		"creators: none":            {by: content(`{"additional_creators":[],"creator":"x"}`), want: "1-:ok"},
		"creators: historical":      {by: content(`{"additional_creators":["@Old!Name:c.example"],"creator":"x"}`), want: "1-:ok"},
	}
	runScenes(t, scenes)
}

func TestFederate(t *testing.T) {
	t.Parallel()
	setup := func(value string) func(string) []ev {
		return func(version string) []ev {
			e := createEvent(version)
			e.content = `{"creator":"` + alice + `","m.federate":` + value + `}`
			return []ev{e}
		}
	}
	message := func(sender string) ev { return ev{typ: "m.room.message", sender: sender, content: `{}`} }
	runScenes(t, map[string]scene{
		"closed, own server":   {setup: setup("false"), event: message(adam), want: "1-:ok"},
		"closed, other server": {setup: setup("false"), event: message(bob), want: "1-11:3 12:4"},
		"closed, join":         {setup: setup("false"), event: member(carol, carol, "join"), want: "1-11:3 12:4"},
		"open":                 {setup: setup("true"), event: message(bob), want: "1-:ok"},
		"not a boolean":        {setup: setup(`"false"`), event: message(bob), want: "1-:ok"},
	})
}

func TestAliases(t *testing.T) {
	t.Parallel()
	aliases := func(sender string, k *string) ev {
		return ev{typ: "m.room.aliases", key: k, sender: sender, content: `{"aliases":[]}`}
	}
	runScenes(t, map[string]scene{
		"own server":       {event: aliases(mod, key("b.example")), want: "1-5:ok 6-:ok"},
		"of a non-member":  {event: aliases(eve, key("e.example")), want: "1-5:ok 6-11:5 12:6"},
		"without level":    {event: aliases(bob, key("b.example")), want: "1-5:ok 6-11:7 12:8"},
		"no state key":     {event: aliases(bob, nil), want: "1-5:4.1 6-:ok"},
		"another's server": {event: aliases(mod, key("a.example")), want: "1-5:4.2 6-:ok"},
		"another's, no PL": {without: []string{"m.room.power_levels"}, event: aliases(alice, key("z.example")), want: "1-5:4.2 6-:ok"},
	})
}

func TestEveryOtherEvent(t *testing.T) {
	t.Parallel()
	message := func(sender, typ string) ev { return ev{typ: typ, sender: sender, content: `{}`} }
	runScenes(t, map[string]scene{
		"message":                       {event: message(bob, "m.room.message"), want: "1-:ok"},
		"by a stranger":                 {event: message(eve, "m.room.message"), want: "1-5:6 6-11:5 12:6"},
		"by one invited":                {event: message(carol, "m.room.message"), want: "1-5:6 6-11:5 12:6"},
		"type with a level":             {event: message(mod, "m.custom"), want: "1-5:8 6-11:7 12:8"},
		"type with a level, admin":      {event: message(adam, "m.custom"), want: "1-:ok"},
		"events_default":                {setup: levels(`"events_default":10`), event: message(bob, "m.room.message"), want: "1-5:8 6-11:7 12:8"},
		"state below state_default":     {event: state("m.room.topic", "", bob, `{}`), want: "1-5:8 6-11:7 12:8"},
		"state at state_default":        {event: state("m.room.topic", "", mod, `{}`), want: "1-:ok"},
		"state with a level":            {event: state("m.room.name", "", mod, `{}`), want: "1-5:8 6-11:7 12:8"},
		"state without PL":              {without: []string{"m.room.power_levels"}, event: state("m.room.topic", "", bob, `{}`), want: "1-5:8 6-11:7 12:8"},
		"state without PL, creator":     {without: []string{"m.room.power_levels"}, event: state("m.room.topic", "", alice, `{}`), want: "1-:ok"},
		"state without PL, 2nd creator": {without: []string{"m.room.power_levels"}, event: state("m.room.topic", "", "@cleo:c.example", `{}`), want: "1-5:8 6-11:7 12:ok"},
		"own user as key":               {setup: levels(`"state_default":0`), event: state("m.own", bob, bob, `{}`), want: "1-:ok"},
		"another user as key":           {event: state("m.own", bob, adam, `{}`), want: "1-5:9 6-11:8 12:9"},
		"key that is not quite a user":  {event: state("m.own", "@", adam, `{}`), want: "1-5:9 6-11:8 12:9"},
		"third-party invite":            {event: state("m.room.third_party_invite", "t", mod, `{}`), want: "1-:ok"},
		"third-party invite, low":       {event: state("m.room.third_party_invite", "t", bob, `{}`), want: "1-5:7.1 6-11:6.1 12:7.1"},
		"third-party invite, outsider":  {event: state("m.room.third_party_invite", "t", eve, `{}`), want: "1-5:6 6-11:5 12:6"},
		"creator beats every level":     {setup: levels(`"events":{"m.high":9007199254740991}`), event: message(alice, "m.high"), want: "1-5:8 6-11:7 12:ok"},
	})
}

func TestRedaction(t *testing.T) {
	t.Parallel()
	redaction := func(sender, redacts string) ev {
		return ev{typ: "m.room.redaction", sender: sender, content: `{}`, redacts: redacts, id: "$r:b.example"}
	}
	runScenes(t, map[string]scene{
		"own server":         {event: redaction(bob, "$x:b.example"), want: "1-:ok"},
		"by mod":             {event: redaction(mod, "$x:a.example"), want: "1-:ok"},
		"of another server":  {event: redaction(bob, "$x:a.example"), want: "1-2:11.3 3-:ok"},
		"of nothing":         {event: redaction(bob, ""), want: "1-2:11.3 3-:ok"},
		"no domain anywhere": {event: ev{typ: "m.room.redaction", sender: bob, content: `{}`, redacts: "$x", id: "$r"}, want: "1-2:11.3 3-:ok"},
	})
}

func TestRoomWithoutCreate(t *testing.T) {
	t.Parallel()
	for version, want := range expand(t, "1-11:2.4 12:2") {
		room := newRoom(t, version)
		err := eventauth.Check(build(t, version, member(bob, bob, "leave")), room, nil)
		if got := ruleOf(t, err); got != want {
			t.Errorf("version %s: got %s, want %s", version, got, want)
		}
	}
}

func TestEventOfAnotherRoom(t *testing.T) {
	t.Parallel()
	for version, want := range expand(t, "1-11:2.5 12:2") {
		room := newRoom(t, version)
		e := member(bob, bob, "leave")
		e.room = "!other:a.example"
		if got := ruleOf(t, eventauth.Check(build(t, version, e), room, room.create())); got != want {
			t.Errorf("version %s: got %s, want %s", version, got, want)
		}
	}
}

func TestRefusalIsForbidden(t *testing.T) {
	t.Parallel()
	room := newRoom(t, "10")
	err := eventauth.Check(build(t, "10", member(eve, eve, "join")), room, room.create())
	answer, ok := errors.AsType[*matrix.Error](err)
	if !ok || answer.Status != http.StatusForbidden || answer.Code != "M_FORBIDDEN" {
		t.Fatalf("a client sees %v", answer)
	}
	if want := "joining the room needs an invitation"; answer.Text != want {
		t.Errorf("the client reads %q, want %q", answer.Text, want)
	}
	if want := "auth rule 4.3.4 of room version 10: joining the room needs an invitation"; err.Error() != want {
		t.Errorf("the log reads %q, want %q", err, want)
	}
}

// TestUnreadableLevels covers what the state of no room should hold.
func TestUnreadableLevels(t *testing.T) {
	t.Parallel()
	broken := []ev{state("m.room.power_levels", "", alice, `{"users":[]}`)}
	restricted := append(joinRule("restricted"), broken...)
	public := append(joinRule("public"), broken...)
	runScenes(t, map[string]scene{
		"message": {with: broken, event: ev{typ: "m.room.message", sender: alice, content: `{}`}, want: "1-5:8 6-11:7 12:8"},
		"join":    {with: public, event: member(eve, eve, "join"), want: "1-:ok"},
		"vouched": {with: restricted, event: authorised(eve, mod), want: "8-11:7 12:8"},
		"invite":  {with: broken, event: member(mod, eve, "invite"), want: "1-5:8 6-11:7 12:8"},
		"kick":    {with: broken, event: member(mod, bob, "leave"), want: "1-5:8 6-11:7 12:8"},
		"ban":     {with: broken, event: member(mod, bob, "ban"), want: "1-5:8 6-11:7 12:8"},
	})
}

// leveled is a State that keeps its levels parsed.
type leveled struct {
	roomState
	levels *eventauth.PowerLevels
	asked  int
}

func (l *leveled) PowerLevels() (*eventauth.PowerLevels, error) {
	l.asked++
	return l.levels, nil
}

func TestLeveledStateIsAsked(t *testing.T) {
	t.Parallel()
	room := newRoom(t, "11")
	levels, err := eventauth.EffectivePowerLevels(room.create(), room.Event("m.room.power_levels", ""))
	if err != nil {
		t.Fatal(err)
	}
	delete(room, event.StateTuple{Type: "m.room.power_levels"}) // the copy is what counts
	l := &leveled{roomState: room, levels: levels}
	if err := eventauth.Check(build(t, "11", member(adam, bob, "ban")), l, room.create()); err != nil || l.asked != 1 {
		t.Fatalf("%v after %d questions", err, l.asked)
	}
}
