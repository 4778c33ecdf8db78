package eventauth_test

import (
	"maps"
	"slices"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/eventauth"
)

func TestParsePowerLevels(t *testing.T) {
	t.Parallel()
	content := `{"ban":1,"events":{"m.a":2,"m.b":3},"events_default":4,"invite":5,"kick":6,"notifications":{"room":7},` +
		`"redact":8,"state_default":9,"users":{"` + bob + `":10,"` + alice + `":11},"users_default":12}`
	p, err := eventauth.ParsePowerLevels([]byte(content), rulesOf(t, "12"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ got, want eventauth.Level }{
		"ban": {p.Ban(), 1}, "kick": {p.Kick(), 6}, "invite": {p.Invite(), 5}, "redact": {p.Redact(), 8},
		"events_default": {p.EventsDefault(), 4}, "state_default": {p.StateDefault(), 9}, "users_default": {p.UsersDefault(), 12},
		"event": {p.Event("m.b", false), 3}, "state of a type": {p.Event("m.a", true), 2},
		"other event": {p.Event("m.c", false), 4}, "other state": {p.Event("m.c", true), 9},
		"user": {p.User(bob), 10}, "user out of order": {p.User(alice), 11}, "other user": {p.User(eve), 12},
		"notification": {p.Notification("room"), 7}, "other notification": {p.Notification("x"), 50},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %d, want %d", name, c.got, c.want)
		}
	}
	want := map[matrix.UserID]eventauth.Level{bob: 10, alice: 11}
	if got := maps.Collect(p.Users()); !maps.Equal(got, want) {
		t.Errorf("users are %v", got)
	}
	for user := range p.Users() {
		if user != alice {
			t.Errorf("the users begin with %s", user)
		}
		break
	}
}

func TestParsePowerLevelsRefuses(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"no object": `[]`, "text": `{"ban":"x"}`, "users": `{"users":{"bob":1}}`, "list": `{"events":[]}`,
	} {
		_, err := eventauth.ParsePowerLevels([]byte(content), rulesOf(t, "5"))
		if !matrix.IsCode(err, "M_BAD_JSON") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLevelForms covers the forms of a level by version.
func TestLevelForms(t *testing.T) {
	t.Parallel()
	type forms map[string]eventauth.Level // by version range as in scenes; absent is refused
	const big = 1<<63 - 2
	for raw, want := range map[string]forms{
		`0`: {"1-": 0}, `-7`: {"1-": -7}, `9007199254740991`: {"1-": 9007199254740991},
		`50.57`: {"1-5": 50}, `-1.9`: {"1-5": -1}, `5.114698E4`: {"1-5": 51146}, `1e-400`: {"1-5": 0}, `-0`: {"1-": 0},
		`9223372036854775807`: {"1-": big}, `1e300`: {"1-5": big}, `-1e300`: {"1-5": -big}, `1e309`: {}, `-1e309`: {},
		`"100"`: {"1-9": 100}, `"000100"`: {"1-9": 100}, `"+100"`: {"1-9": 100}, `"-100"`: {"1-9": -100},
		`" 00100 "`: {"1-9": 100}, `"\t -5\n"`: {"1-9": -5}, `"99999999999999999999"`: {"1-9": big}, `"-99999999999999999999"`: {"1-9": -big},
		`""`: {}, `" "`: {}, `"+"`: {}, `"1.5"`: {}, `"1e3"`: {}, `"0x10"`: {}, `"1_000"`: {}, `"+-1"`: {}, `"９"`: {}, `"Infinity"`: {},
		`true`: {}, `null`: {}, `[]`: {}, `{}`: {},
	} {
		read := make(map[string]eventauth.Level)
		for versions, level := range want {
			for version := range expand(t, versions+":x") {
				read[version] = level
			}
		}
		for _, version := range matrix.RoomVersions() {
			p, err := eventauth.ParsePowerLevels([]byte(`{"kick":`+raw+`}`), rulesOf(t, string(version)))
			level, ok := read[string(version)]
			switch {
			case ok && err != nil:
				t.Errorf("version %s refuses %s: %v", version, raw, err)
			case !ok && err == nil:
				t.Errorf("version %s reads %s as %d", version, raw, p.Kick())
			case ok && p.Kick() != level:
				t.Errorf("version %s reads %s as %d, want %d", version, raw, p.Kick(), level)
			}
		}
	}
}

func TestEffectivePowerLevels(t *testing.T) {
	t.Parallel()
	const cleo = "@cleo:c.example"
	for _, version := range matrix.RoomVersions() {
		v := string(version)
		create := build(t, v, createEvent(v))
		power := build(t, v, state("m.room.power_levels", "", alice, `{"users":{"`+bob+`":7},"users_default":3}`))
		without, err := eventauth.EffectivePowerLevels(create, nil)
		if err != nil {
			t.Fatal(err)
		}
		with, err := eventauth.EffectivePowerLevels(create, power)
		if err != nil {
			t.Fatal(err)
		}
		creator, second, later, laterSecond := eventauth.Level(100), eventauth.Level(0), eventauth.Level(3), eventauth.Level(3)
		if v == "12" {
			creator, second, later, laterSecond = eventauth.Infinite, eventauth.Infinite, eventauth.Infinite, eventauth.Infinite
		}
		for name, c := range map[string]struct{ got, want eventauth.Level }{
			"creator": {without.User(alice), creator}, "second": {without.User(cleo), second}, "bob": {without.User(bob), 0},
			"state": {without.Event("m.x", true), 50}, "event": {without.Event("m.x", false), 0}, "invite": {without.Invite(), 0},
			"ban": {without.Ban(), 50}, "kick": {without.Kick(), 50}, "redact": {without.Redact(), 50}, "room": {without.Notification("room"), 50},
			"creator with PL": {with.User(alice), later}, "second with PL": {with.User(cleo), laterSecond}, "bob with PL": {with.User(bob), 7},
		} {
			if c.got != c.want {
				t.Errorf("version %s, %s: got %d, want %d", v, name, c.got, c.want)
			}
		}
	}
	if none, err := eventauth.EffectivePowerLevels(nil, nil); err != nil || none.User(alice) != 0 {
		t.Errorf("without any event: %v", err)
	}
}

func TestCreators(t *testing.T) {
	t.Parallel()
	for version, want := range map[string][]matrix.UserID{
		"1": {eve}, "10": {eve}, "11": {alice}, "12": {alice, bob, carol},
	} {
		create := build(t, version, state("m.room.create", "", alice,
			`{"additional_creators":["`+bob+`","`+alice+`","`+carol+`","`+bob+`",7],"creator":"`+eve+`"}`))
		if got := eventauth.Creators(create); !slices.Equal(got, want) {
			t.Errorf("version %s: got %v, want %v", version, got, want)
		}
	}
}

// FuzzParsePowerLevels looks for content that is read in a way in which it
// could not be looked up again.
func FuzzParsePowerLevels(f *testing.F) {
	for _, seed := range []string{
		`{"users":{"@a:b":1,"@b:b":"2"},"events":{"m.x":1.5},"ban":50}`, `{"users":{"@b:b":1,"@a:b":2}}`, `{}`, `[]`, `{"users":[]}`,
		`{"users":{"\u0040a:b":1e5}}`, `{"kick":"  -007 "}`, `{"notifications":{"room":null}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, version := range []string{"1", "6", "12"} {
			p, err := eventauth.ParsePowerLevels(content, rulesOf(t, version))
			if err != nil {
				if !matrix.IsCode(err, "M_BAD_JSON") {
					t.Fatalf("%v", err)
				}
				continue
			}
			last := matrix.UserID("")
			for user, level := range p.Users() {
				if user < last || level >= eventauth.Infinite {
					t.Fatalf("user %q has %d and comes after %q", user, level, last)
				}
				last = user
			}
		}
	})
}
