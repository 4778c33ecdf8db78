package clientapi_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"beffroi/account"
	"beffroi/clientapi"
	"beffroi/internal/testkit"
	"beffroi/policystore"
	"beffroi/storage"
)

// TestOrderOfANewRoom reads the events of a room in the order that the
// specification gives them.
func TestOrderOfANewRoom(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob, carol := h.registers(t, "alice"), h.registers(t, "bob"), h.registers(t, "carol")
		bob.put(t, "/profile/"+bob.id+"/displayname", body{"displayname": "Bob"}).ok(t)
		_, room := alice.creates(t, body{"room_alias_name": "pub", "name": "Pub", "topic": "Beer", "preset": "trusted_private_chat",
			"invite": []string{bob.id, alice.id, "@eve:away.example", bob.id, carol.id},
			"initial_state": []any{body{"type": "b", "content": body{}}, body{"type": "a", "content": body{}},
				body{"type": "m.room.encryption", "content": body{"algorithm": "m.megolm.v1.aes-sha2"}}}})
		var types []string
		for _, e := range alice.get(t, room+"/messages?dir=f&limit=50").ok(t).Get("chunk").Array() {
			types = append(types, e.Get("type").String())
		}
		want := []string{"m.room.create", "m.room.member", "m.room.power_levels", "m.room.canonical_alias", "m.room.join_rules",
			"m.room.history_visibility", "m.room.guest_access", "m.room.encryption", "b", "a", "m.room.name", "m.room.topic", "m.room.member", "m.room.member"}
		if !slices.Equal(types, want) {
			t.Errorf("the order is %v, want %v", types, want)
		}
		if got := alice.get(t, room+"/state/m.room.member/"+bob.id).ok(t); got.Get("displayname").String() != "Bob" || got.Get("membership").String() != "invite" {
			t.Error(got.Raw)
		}
		for typ, want := range map[string]string{"m.room.join_rules": `{"join_rule":"invite"}`,
			"m.room.history_visibility": `{"history_visibility":"shared"}`, "m.room.guest_access": `{"guest_access":"can_join"}`} {
			if got := alice.get(t, room+"/state/"+typ).ok(t); got.Raw != want {
				t.Errorf("%s: %s", typ, got.Raw)
			}
		}
	})
}

// TestVersionOfANewRoom asks who decides about the version of a room.
func TestVersionOfANewRoom(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	text := "version: 1\nissuer: here.example\norganisations:\n" +
		"  - {id: here, class: government, homeservers: [{name: here.example}], contact: \"mailto:a@here.example\"}\n" +
		"accounts: {registration: open}\nrooms: {version: \"11\"}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set := func(_ *account.Options, c *clientapi.Options, _ *policystore.Options) { c.DefaultVersion = "10" }
	say := func(_ *account.Options, _ *clientapi.Options, p *policystore.Options) { p.File = file }
	for name, tc := range map[string]struct {
		with []options
		want string
	}{"nothing": {nil, "12"}, "the configuration": {[]options{set}, "10"}, "the policy": {[]options{set, say}, "11"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice := start(t, tc.with...).registers(t, "alice")
			_, room := alice.creates(t, body{})
			got := alice.get(t, room+"/state/m.room.create").ok(t).Get("room_version").String()
			told := alice.get(t, "/capabilities").ok(t).Get(`capabilities.m\.room_versions.default`).String()
			if got != tc.want || told != tc.want {
				t.Errorf("made %s and told %s, want %s", got, told, tc.want)
			}
			_, room = alice.creates(t, body{"room_version": "9"})
			if got := alice.get(t, room+"/state/m.room.create").ok(t); got.Get("room_version").String() != "9" {
				t.Error(got.Raw)
			}
		})
	}
}
