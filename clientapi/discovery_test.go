package clientapi_test

import (
	"net/http"
	"slices"
	"testing"

	"beffroi/account"
	"beffroi/clientapi"
	"beffroi/policystore"
)

func TestDiscovery(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	for _, token := range []string{"", alice.token, "expired"} {
		got := h.call(t, token, "GET", "/_matrix/client/versions", nil).ok(t)
		var list []string
		for _, v := range got.Get("versions").Array() {
			list = append(list, v.String())
		}
		for _, want := range []string{"r0.0.1", "r0.6.1", "v1.1", "v1.4", "v1.11", "v1.13"} {
			if !slices.Contains(list, want) {
				t.Errorf("%s is not among %v", want, list)
			}
		}
	}
	if got := h.call(t, "", "GET", "/.well-known/matrix/client", nil).ok(t); got.Get(`m\.homeserver.base_url`).String() != "https://matrix.here.example" {
		t.Error(got.Raw)
	}
	if got := h.call(t, "", "GET", "/.well-known/matrix/server", nil).ok(t); got.Get(`m\.server`).String() != "matrix.here.example:8448" {
		t.Error(got.Raw)
	}
	caps := alice.get(t, "/capabilities").ok(t)
	if versions := caps.Get(`capabilities.m\.room_versions`); versions.Get("default").String() != "12" || versions.Get("available.10").String() != "stable" {
		t.Error(caps.Raw)
	}
	for _, path := range []string{"/voip/turnServer", "/thirdparty/protocols"} {
		if got := alice.get(t, path).ok(t); got.Raw != "{}" {
			t.Error(got.Raw)
		}
	}
	h.call(t, "", "GET", "/_matrix/client/r0/login", nil).ok(t)
}

func TestWellKnownNeedsConfiguration(t *testing.T) {
	t.Parallel()
	h := start(t, func(_ *account.Options, o *clientapi.Options, _ *policystore.Options) {
		o.PublicURL, o.FederationAddress = "", ""
	})
	for _, path := range []string{"client", "server", "support", "policy_server"} {
		h.call(t, "", "GET", "/.well-known/matrix/"+path, nil).wants(t, http.StatusNotFound, "M_NOT_FOUND")
	}
}

func TestWellKnownSupport(t *testing.T) {
	t.Parallel()
	h := start(t, func(_ *account.Options, o *clientapi.Options, _ *policystore.Options) {
		o.Support = clientapi.Support{Page: "https://help.example", Contacts: []clientapi.Contact{
			{Role: "m.role.admin", MatrixID: "@admin:here.example"}, {Role: "m.role.security", Email: "ssi@here.example"}}}
	})
	got := h.call(t, "", "GET", "/.well-known/matrix/support", nil).ok(t)
	const want = `{"contacts":[{"role":"m.role.admin","matrix_id":"@admin:here.example"},` +
		`{"role":"m.role.security","email_address":"ssi@here.example"}],"support_page":"https://help.example"}`
	if got.Raw != want {
		t.Error(got.Raw)
	}
}
