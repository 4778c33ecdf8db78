package federation_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"beffroi/matrix"
	"beffroi/roomserver"
)

// TestAnInvitationIsBlocked tells the other server, and its user, that bob does
// not want to be invited.
func TestAnInvitationIsBlocked(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a, b := n.start(t, "sqlite", one, ministries), n.start(t, "sqlite", two, ministries)
	b.user(t, bob)
	room := a.room(t, alice, "", "private_chat")
	invite := roomserver.MembershipRequest{Sender: alice, Target: bob, Room: room}
	must(t, b.accounts.SetAccountData(t.Context(), bob, "", "m.invite_permission_config", json.RawMessage(`{"default_action":"block"}`)))
	if err := a.rooms.Invite(t.Context(), invite); !matrix.IsCode(err, "M_INVITE_BLOCKED") || matrix.Answer(err).Status != http.StatusForbidden {
		t.Fatal(err)
	}
	must(t, b.accounts.SetAccountData(t.Context(), bob, "", "m.invite_permission_config", json.RawMessage(`{}`)))
	must(t, a.rooms.Invite(t.Context(), invite))
}

func TestOpenIDUserInfo(t *testing.T) {
	t.Parallel()
	h := newNetwork(t).start(t, "sqlite", two, ministries)
	h.user(t, bob)
	token, _, err := h.accounts.OpenIDToken(t.Context(), bob)
	must(t, err)
	for name, tc := range map[string]struct {
		query  string
		status int
		body   string
	}{
		"right":    {"?access_token=" + token, 200, `{"sub":"@bob:two.example"}`},
		"wrong":    {"?access_token=x", 401, `{"errcode":"M_UNKNOWN_TOKEN","error":"The token is unknown or has expired"}`},
		"no token": {"", 401, `{"errcode":"M_MISSING_TOKEN","error":"Missing access token"}`},
	} {
		w := httptest.NewRecorder()
		h.router.ServeHTTP(w, httptest.NewRequest("GET", "/_matrix/federation/v1/openid/userinfo"+tc.query, nil))
		if w.Code != tc.status || w.Body.String() != tc.body {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}
