package account_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/account"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/users"
)

func TestAccountData(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := start(t, db, nil)
		ctx, alice := t.Context(), matrix.UserID("@alice:interieur.example")
		s.person(t, "alice")
		for name, tc := range map[string]struct {
			typ, content, code string
		}{
			"object":     {"m.direct", `{"a":1.5,"b":[]}`, ""},
			"array":      {"m.direct", `[]`, "M_BAD_JSON"},
			"null":       {"m.direct", `null`, "M_BAD_JSON"},
			"not JSON":   {"m.direct", `{`, "M_NOT_JSON"},
			"NaN":        {"m.direct", `{"a":NaN}`, "M_NOT_JSON"},
			"twice":      {"m.direct", `{"a":1,"a":2}`, "M_BAD_JSON"},
			"deep":       {"m.direct", `{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, "M_BAD_JSON"},
			"70 KiB":     {"m.direct", `{"a":"` + strings.Repeat("x", 70<<10) + `"}`, "M_TOO_LARGE"},
			"fully read": {"m.fully_read", `{}`, "M_BAD_JSON"},
			"push rules": {"m.push_rules", `{}`, "M_BAD_JSON"},
			"no type":    {"", `{}`, "M_INVALID_PARAM"},
			"long type":  {strings.Repeat("t", 256), `{}`, "M_INVALID_PARAM"},
			"NUL":        {"a\x00b", `{}`, "M_INVALID_PARAM"},
			"escaped":    {"escaped", `{"a":"\u0000"}`, ""},
		} {
			if err := s.SetAccountData(ctx, alice, "", tc.typ, json.RawMessage(tc.content)); !codeIs(err, tc.code) {
				t.Errorf("%s: %v, want %q", name, err, tc.code)
			}
		}
		var before storage.Position
		read := func(after storage.Position) (list []users.AccountData) {
			err := db.View(ctx, func(r *storage.Reader) (err error) {
				if before, err = storage.Head(ctx, r); err != nil {
					return err
				}
				list, err = users.AccountDataAfter(ctx, r, alice, after, before)
				return err
			})
			wants(t, err, "")
			return list
		}
		if got := read(0); len(got) != 2 {
			t.Errorf("%d entries, want 2", len(got))
		}
		start := before
		wants(t, s.SetAccountData(ctx, alice, "!r:x", "m.tag", json.RawMessage(`{"tags":{}}`)), "")
		wants(t, s.SetAccountData(ctx, alice, "", "m.direct", json.RawMessage(`{"b":[],"a":1.5}`)), "") // as it is: nothing happens
		if got := read(start); len(got) != 1 || got[0].Room != "!r:x" || got[0].Content != `{"tags":{}}` {
			t.Errorf("changes %+v", got)
		}
		_, err := s.AccountData(ctx, "@bob:interieur.example", "", "m.direct")
		wants(t, err, "M_NOT_FOUND")
	})
}

func codeIs(err error, code string) bool {
	return code == "" && err == nil || code != "" && matrix.IsCode(err, code)
}

func TestAccountDataIsBounded(t *testing.T) {
	t.Parallel()
	s := start(t, testkit.OpenDB(t, "sqlite"), nil)
	alice := s.person(t, "alice").User
	big := `{"a":"` + strings.Repeat("x", 60<<10) + `"}`
	_, err := s.DB.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
		for i := range 8 << 20 / len(big) {
			if err := users.SetAccountData(ctx, tx, alice, "", fmt.Sprint("t", i), big); err != nil {
				return err
			}
		}
		return nil
	})
	wants(t, err, "")
	wants(t, s.SetAccountData(t.Context(), alice, "", "more", json.RawMessage(big)), "M_TOO_LARGE")
	wants(t, s.SetAccountData(t.Context(), alice, "", "t0", json.RawMessage(big[:len(big)-3]+`y"}`)), "") // it replaces
}

func TestFilters(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := start(t, db, nil)
		ctx, alice := t.Context(), matrix.UserID("@alice:interieur.example")
		for name, tc := range map[string]struct{ filter, code string }{
			"empty":         {`{}`, ""},
			"full":          {`{"event_format":"client","room":{"timeline":{"limit":20,"lazy_load_members":true,"types":["m.*"]},"rooms":["!a:b"]},"x":1}`, ""},
			"limit string":  {`{"room":{"timeline":{"limit":"20"}}}`, "M_BAD_JSON"},
			"limit below 0": {`{"room":{"timeline":{"limit":-1}}}`, "M_INVALID_PARAM"},
			"format":        {`{"event_format":"xml"}`, "M_INVALID_PARAM"},
			"rooms object":  {`{"room":{"rooms":{}}}`, "M_BAD_JSON"},
			"not a room":    {`{"room":{"rooms":["a"]}}`, "M_INVALID_PARAM"},
			"not a sender":  {`{"presence":{"senders":["alice"]}}`, "M_INVALID_PARAM"},
			"array":         {`[]`, "M_BAD_JSON"},
			"70 KiB":        {`{"a":"` + strings.Repeat("x", 70<<10) + `"}`, "M_TOO_LARGE"},
			"deep":          {`{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, "M_BAD_JSON"},
		} {
			if _, err := s.AddFilter(ctx, alice, json.RawMessage(tc.filter)); !codeIs(err, tc.code) {
				t.Errorf("%s: %v, want %q", name, err, tc.code)
			}
		}
		first, err := s.AddFilter(ctx, alice, json.RawMessage(`{"event_fields":[],"event_format":"client"}`))
		wants(t, err, "")
		second, err := s.AddFilter(ctx, alice, json.RawMessage(` {"event_format":"client", "event_fields":[]}`))
		wants(t, err, "")
		if first != second || first[0] == '{' {
			t.Errorf("IDs %s and %s", first, second)
		}
		for i := range 110 {
			s.clock.forward(time.Second)
			_, err := s.AddFilter(ctx, alice, json.RawMessage(fmt.Sprintf(`{"n":%d}`, i)))
			wants(t, err, "")
		}
		_, err = s.Filter(ctx, alice, first)
		wants(t, err, "M_NOT_FOUND") // beyond the bound the oldest went
		_, err = s.Filter(ctx, "@bob:interieur.example", first)
		wants(t, err, "M_NOT_FOUND")
	})
}

func TestProfile(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := start(t, db, nil)
		ctx, alice := t.Context(), s.person(t, "alice").User
		for name, tc := range map[string]struct{ field, value, code string }{
			"name":        {"displayname", `"Alice"`, ""},
			"name again":  {"displayname", `"Alice"`, ""},
			"long name":   {"displayname", `"` + strings.Repeat("é", 129) + `"`, "M_INVALID_PARAM"},
			"number":      {"displayname", `7`, "M_INVALID_PARAM"},
			"NUL":         {"displayname", `"a\u0000"`, "M_INVALID_PARAM"},
			"avatar":      {"avatar_url", `"mxc://a/b"`, ""},
			"avatar http": {"avatar_url", `"https://a/b"`, "M_INVALID_PARAM"},
			"custom":      {"m.tz", `"Europe/Paris"`, ""},
			"float":       {"f", `1.5`, "M_BAD_JSON"},
			"no field":    {"", `1`, "M_KEY_TOO_LARGE"},
			"long field":  {strings.Repeat("f", 256), `1`, "M_KEY_TOO_LARGE"},
			"70 KiB":      {"big", `"` + strings.Repeat("x", 70<<10) + `"`, "M_PROFILE_TOO_LARGE"},
		} {
			if err := s.SetProfileField(ctx, alice, tc.field, json.RawMessage(tc.value)); !codeIs(err, tc.code) {
				t.Errorf("%s: %v, want %q", name, err, tc.code)
			}
		}
		changes, err := s.ProfileChanges(ctx, 0, 100)
		wants(t, err, "")
		if len(changes) != 3 {
			t.Errorf("%d changes, want 3", len(changes))
		}
		half := json.RawMessage(`"` + strings.Repeat("x", 40<<10) + `"`)
		wants(t, s.SetProfileField(ctx, s.person(t, "bob").User, "one", half), "")
		wants(t, s.SetProfileField(ctx, "@bob:interieur.example", "two", half), "M_PROFILE_TOO_LARGE")
		changes, err = s.ProfileChanges(ctx, 0, 100)
		wants(t, err, "")
		last := changes[len(changes)-1].Pos
		wants(t, s.SetProfileField(ctx, alice, "displayname", nil), "")
		changes, err = s.ProfileChanges(ctx, last, 100)
		wants(t, err, "")
		if len(changes) != 1 || changes[0].User != alice || changes[0].Field != "displayname" || changes[0].Value != "" {
			t.Errorf("changes %+v", changes)
		}
		profile, err := s.Profile(ctx, alice)
		wants(t, err, "")
		if len(profile) != 2 || profile["displayname"] != nil {
			t.Errorf("profile %s", profile)
		}
		_, err = s.Profile(ctx, "@nobody:interieur.example")
		wants(t, err, "M_NOT_FOUND")
		wants(t, s.SetProfileField(ctx, "@nobody:interieur.example", "displayname", json.RawMessage(`"x"`)), "M_NOT_FOUND")
	})
}

func TestPasswordsAreTriedSlowly(t *testing.T) {
	t.Parallel()
	s := start(t, testkit.OpenDB(t, "sqlite"), func(o *account.Options) { o.Development = false })
	ctx := t.Context()
	_, err := s.CreateUser(ctx, account.NewUser{Localpart: "alice", Password: goodPassword})
	wants(t, err, "")
	guess := func(name, source string) error {
		_, err := s.LoginByPassword(ctx, password(name), "guess", account.Client{Source: source})
		return err
	}
	for range 5 {
		wants(t, guess("alice", "192.0.2.1"), "M_FORBIDDEN")
		wants(t, guess("nobody", "192.0.2.1"), "M_FORBIDDEN")
	}
	wants(t, guess("alice", "192.0.2.200"), "M_LIMIT_EXCEEDED") // the same network
	wants(t, guess("nobody", "192.0.2.1"), "M_LIMIT_EXCEEDED")  // unknown names are no different
	_, err = s.LoginByPassword(ctx, password("alice"), goodPassword, account.Client{Source: "198.51.100.1"})
	wants(t, err, "") // the owner elsewhere is not locked out
	s.clock.forward(time.Minute)
	for range 4 { // who knows the password is not slowed down
		_, err = s.LoginByPassword(ctx, password("alice"), goodPassword, account.Client{Source: "192.0.2.1"})
		wants(t, err, "")
	}
}

func TestPasswordHashes(t *testing.T) {
	t.Parallel()
	s := start(t, testkit.OpenDB(t, "sqlite"), func(o *account.Options) { o.Development = false })
	ctx := t.Context()
	_, err := s.CreateUser(ctx, account.NewUser{Localpart: "old", Password: goodPassword})
	wants(t, err, "")
	stored := func() (hash string) {
		wants(t, s.DB.View(ctx, func(r *storage.Reader) error {
			u, err := users.ByID(ctx, r, "@old:interieur.example")
			hash = u.Password
			return err
		}), "")
		return hash
	}
	if !strings.HasPrefix(stored(), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("stored %s", stored())
	}
	// An imported account has a hash of bcrypt, which is renewed.
	const imported = "$2a$04$JRLAkZ4JmiYZTWsZoCVjgOVxwDQbgkFjg0ZnoF4/dHz7C9OcN6XMu"
	_, err = s.DB.Append(ctx, setPassword("@old:interieur.example", imported))
	wants(t, err, "")
	_, err = s.LoginByPassword(ctx, password("old"), "wrong", account.Client{})
	wants(t, err, "M_FORBIDDEN")
	if stored() != imported {
		t.Error("a wrong password renewed the hash")
	}
	if u, err := s.User(ctx, "@old:interieur.example"); err != nil || u.Password != "" {
		t.Errorf("the hash left the package: %v", err)
	}
}

func TestManyDevices(t *testing.T) {
	t.Parallel()
	s := start(t, testkit.OpenDB(t, "sqlite"), nil)
	alice := s.person(t, "alice").User
	_, err := s.DB.Append(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
		for i := range 497 {
			if err := users.AddDevice(ctx, tx, alice, users.Device{ID: matrix.DeviceID(fmt.Sprint("D", i))}); err != nil {
				return err
			}
		}
		return nil
	})
	wants(t, err, "")
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			_, err := s.LoginByPassword(t.Context(), password("alice"), "secret", account.Client{DeviceID: matrix.DeviceID(fmt.Sprint("E", i))})
			if err != nil && !matrix.IsCode(err, "M_RESOURCE_LIMIT_EXCEEDED") {
				t.Error(err)
			}
		})
	}
	group.Wait()
	devices, err := s.Devices(t.Context(), alice)
	wants(t, err, "")
	if len(devices) != 500 {
		t.Errorf("%d devices, want 500", len(devices))
	}
	_, err = s.LoginByPassword(t.Context(), password("alice"), "secret", account.Client{DeviceID: "D0"})
	wants(t, err, "") // one that is there can log in again
}
