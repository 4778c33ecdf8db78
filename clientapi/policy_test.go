package clientapi_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"beffroi/account"
	"beffroi/clientapi"
	"beffroi/policystore"
)

// document makes this server that of a class of organisations.
func document(t *testing.T, class string) options {
	t.Helper()
	text := `
version: 1
issuer: here.example
organisations:
  - {id: here, name: {fr: Ici, en: Here}, class: ` + class + `, homeservers: [{name: here.example}], email_domains: [here.example], contact: "mailto:ssi@here.example"}
  - {id: there, name: {fr: Là, en: There}, class: government, homeservers: [{name: there.example}], email_domains: [there.example]}
federation: {default: deny}
accounts: {registration: open}
`
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(_ *account.Options, _ *clientapi.Options, o *policystore.Options) { o.File = file }
}

// TestExternalAccounts has a server whose own people are partners: what the
// policy keeps from them is refused before the handler.
func TestExternalAccounts(t *testing.T) {
	t.Parallel()
	h := start(t, document(t, "external"))
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	for name, got := range map[string]reply{
		"create":     alice.post(t, "/createRoom", body{}),
		"invite":     alice.post(t, "/rooms/!x:here.example/invite", body{"user_id": bob.id}),
		"directory":  alice.get(t, "/publicRooms"),
		"search":     alice.post(t, "/publicRooms", body{}),
		"alias":      alice.put(t, "/directory/room/%23a:here.example", body{"room_id": "!x:here.example"}),
		"publish":    alice.put(t, "/directory/list/room/!x:here.example", body{}),
		"profile":    alice.get(t, "/profile/"+bob.id),
		"field":      alice.get(t, "/profile/"+bob.id+"/displayname"),
		"3pid":       alice.post(t, "/rooms/!x:here.example/invite", body{"medium": "email", "address": "a@there.example"}),
		"other side": alice.get(t, "/profile/@eve:stranger.example"),
	} {
		why := got.Get(`org\.beffroi\.policy`)
		if got.status != http.StatusForbidden || got.Get("errcode").String() != "M_FORBIDDEN" || why.Get("reason").String() == "" || why.Get("decision").String() == "" {
			t.Errorf("%s: %d %s", name, got.status, got.Raw)
		}
	}
	alice.get(t, "/profile/"+alice.id).ok(t)
	alice.post(t, "/keys/query", body{"device_keys": body{alice.id: []string{}}}).ok(t)
	alice.post(t, "/rooms/!x:here.example/leave", body{}).wants(t, http.StatusNotFound, "")
}

func TestGovernmentAccountsInviteNoUnknownAddress(t *testing.T) {
	t.Parallel()
	h := start(t, document(t, "government"))
	alice := h.registers(t, "alice")
	_, room := alice.creates(t, body{})
	invite := func(address string) reply {
		return alice.post(t, room+"/invite", body{"medium": "email", "address": address, "id_server": "x", "id_access_token": "x"})
	}
	if got := invite("eve@stranger.example").wants(t, 403, "M_FORBIDDEN"); !got.Get(`org\.beffroi\.policy`).Exists() {
		t.Error(got.Raw)
	}
	invite("bob@there.example").wants(t, 403, "M_THREEPID_DENIED")
	if got := alice.post(t, room+"/invite", body{"user_id": "@eve:stranger.example"}).wants(t, 403, "M_FORBIDDEN"); !got.Get(`org\.beffroi\.policy`).Exists() {
		t.Error(got.Raw)
	}
	if got := alice.post(t, "/createRoom", body{"invite": []string{"@eve:stranger.example"}}).wants(t, 403, "M_FORBIDDEN"); !got.Get(`org\.beffroi\.policy`).Exists() {
		t.Error(got.Raw)
	}
}

// TestStrangersOutsideDevelopment keeps people and rooms from those who have no
// account: otherwise a partner would only have to drop the token.
func TestStrangersOutsideDevelopment(t *testing.T) {
	t.Parallel()
	h := start(t, func(_ *account.Options, o *clientapi.Options, _ *policystore.Options) { o.Development = false })
	alice := h.registers(t, "alice")
	for _, path := range []string{"/profile/" + alice.id, "/profile/" + alice.id + "/displayname", "/publicRooms", "/directory/list/room/!x:here.example"} {
		h.call(t, "", "GET", path, nil).wants(t, http.StatusUnauthorized, "M_MISSING_TOKEN")
	}
	alice.get(t, "/profile/"+alice.id).ok(t)
}

func TestLimits(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h := start(t, func(_ *account.Options, o *clientapi.Options, _ *policystore.Options) {
		o.Development, o.Now = false, func() time.Time { return now }
	})
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	for range 30 {
		alice.creates(t, body{})
	}
	got := alice.post(t, "/createRoom", body{}).wants(t, http.StatusTooManyRequests, "M_LIMIT_EXCEEDED")
	if got.Get("retry_after_ms").Int() != 5000 || got.header.Get("Retry-After") != "5" {
		t.Errorf("%s, %v", got.Raw, got.header)
	}
	bob.creates(t, body{})
	now = now.Add(5 * time.Second)
	alice.creates(t, body{})
	alice.post(t, "/createRoom", body{}).wants(t, http.StatusTooManyRequests, "M_LIMIT_EXCEEDED")

	for range 100 {
		h.call(t, "", "POST", "/login", body{"type": "m.login.sso"}).wants(t, http.StatusBadRequest, "")
	}
	h.call(t, "", "POST", "/login", body{"type": "m.login.sso"}).wants(t, http.StatusTooManyRequests, "M_LIMIT_EXCEEDED")
}
