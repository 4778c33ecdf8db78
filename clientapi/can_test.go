package clientapi_test

import (
	"net/http"
	"net/url"
	"testing"
)

// TestCan asks before trying: the answer is what the try would be told, and no
// question leaves a trace.
func TestCan(t *testing.T) {
	t.Parallel()
	h := start(t, document(t, "government"))
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	room, _ := alice.creates(t, body{})
	direct, _ := alice.creates(t, body{"is_direct": true, "preset": "trusted_private_chat", "invite": []string{bob.id}})
	can := func(c *person, query url.Values) reply {
		return h.call(t, c.token, http.MethodGet, "/_matrix/client/unstable/org.beffroi.policy/can?"+query.Encode(), nil)
	}
	for name, tc := range map[string]struct {
		query   url.Values
		allowed bool
		reason  string
	}{
		"invite one of ours":  {url.Values{"action": {"invite"}, "room": {room}, "user": {bob.id}}, true, ""},
		"invite elsewhere":    {url.Values{"action": {"invite"}, "room": {room}, "user": {"@x:there.example"}}, true, ""},
		"invite a stranger":   {url.Values{"action": {"invite"}, "room": {room}, "user": {"@eve:stranger.example"}}, false, "unknown_server"},
		"a third in a direct": {url.Values{"action": {"invite"}, "room": {direct}, "user": {"@x:there.example"}}, false, "direct_room_full"},
		"an address":          {url.Values{"action": {"invite_3pid"}, "room": {room}, "address": {"a@there.example"}}, true, ""},
		"an unknown address":  {url.Values{"action": {"invite_3pid"}, "room": {room}, "address": {"a@stranger.example"}}, false, "email_unknown_domain"},
		"two addresses":       {url.Values{"action": {"invite_3pid"}, "room": {room}, "address": {"a@stranger.example@there.example"}}, false, "email_invalid"},
		"create":              {url.Values{"action": {"create_room"}}, true, ""},
		"publish":             {url.Values{"action": {"publish_room"}, "room": {room}}, false, "room_not_publishable"},
		"profile":             {url.Values{"action": {"read_profile"}, "user": {bob.id}}, true, ""},
	} {
		got := can(alice, tc.query).ok(t)
		if got.Get("allowed").Bool() != tc.allowed || got.Get(`org\.beffroi\.policy.reason`).String() != tc.reason {
			t.Errorf("%s: %s", name, got.Raw)
		}
		if !tc.allowed && (got.Get("texts.fr").String() == "" || got.Get("error").String() == "" || got.Get(`org\.beffroi\.policy.decision`).Exists()) {
			t.Errorf("%s: %s", name, got.Raw)
		}
	}
	for name, tc := range map[string]struct {
		who    *person
		query  url.Values
		status int
		code   string
	}{
		"no action":        {alice, url.Values{}, 400, "M_INVALID_PARAM"},
		"unknown action":   {alice, url.Values{"action": {"dance"}}, 400, "M_INVALID_PARAM"},
		"of servers":       {alice, url.Values{"action": {"federate_in"}}, 400, "M_INVALID_PARAM"},
		"no room":          {alice, url.Values{"action": {"invite"}, "user": {bob.id}}, 400, "M_MISSING_PARAM"},
		"no user":          {alice, url.Values{"action": {"invite"}, "room": {room}}, 400, "M_MISSING_PARAM"},
		"no address":       {alice, url.Values{"action": {"invite_3pid"}, "room": {room}}, 400, "M_MISSING_PARAM"},
		"bad user":         {alice, url.Values{"action": {"invite"}, "room": {room}, "user": {"x"}}, 400, "M_INVALID_PARAM"},
		"bad room":         {alice, url.Values{"action": {"join"}, "room": {"x"}}, 400, "M_INVALID_PARAM"},
		"another's room":   {bob, url.Values{"action": {"invite"}, "room": {room}, "user": {alice.id}}, 403, "M_FORBIDDEN"},
		"an unknown room":  {bob, url.Values{"action": {"join"}, "room": {"!x:here.example"}}, 404, "M_NOT_FOUND"},
		"nobody's session": {&person{}, url.Values{"action": {"create_room"}}, 401, "M_MISSING_TOKEN"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := can(tc.who, tc.query); got.status != tc.status || got.Get("errcode").String() != tc.code {
				t.Errorf("%d %s", got.status, got.Raw)
			}
		})
	}
}
