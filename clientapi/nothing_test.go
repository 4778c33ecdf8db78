package clientapi_test

import "testing"

// TestWhatIsNotHere asks for what this server has none of: bridges, telephones,
// a policy server.
func TestWhatIsNotHere(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	if got := alice.get(t, "/thirdparty/protocols").ok(t); got.Raw != "{}" {
		t.Error(got.Raw)
	}
	for _, path := range []string{"/thirdparty/protocol/irc", "/thirdparty/location", "/thirdparty/location/irc?channel=x",
		"/thirdparty/user", "/thirdparty/user/irc?nick=x", "/.well-known/matrix/policy_server"} {
		alice.get(t, path).wants(t, 404, "M_NOT_FOUND")
	}
	for _, path := range []string{"/register/msisdn/requestToken", "/account/password/msisdn/requestToken", "/account/3pid/msisdn/requestToken"} {
		h.call(t, "", "POST", path, body{"client_secret": "s", "country": "FR", "phone_number": "0600000000", "send_attempt": 1}).
			wants(t, 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")
	}
	h.call(t, "", "POST", "/register?kind=guest", "{}").wants(t, 403, "M_GUEST_ACCESS_FORBIDDEN")
	h.call(t, "", "POST", "/register?kind=robot", "{}").wants(t, 400, "M_INVALID_PARAM")
}

func TestFiltersAndTags(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	own := "/user/" + alice.id
	id := alice.post(t, own+"/filter", body{"room": body{"timeline": body{"limit": 3}}}).ok(t).Get("filter_id").String()
	if got := alice.get(t, own+"/filter/"+id).ok(t); got.Get("room.timeline.limit").Int() != 3 {
		t.Error(got.Raw)
	}
	alice.get(t, own+"/filter/none").wants(t, 404, "M_NOT_FOUND")
	bob.get(t, own+"/filter/"+id).wants(t, 403, "M_FORBIDDEN")
	bob.post(t, own+"/filter", body{}).wants(t, 403, "M_FORBIDDEN")
	alice.post(t, own+"/filter", body{"room": body{"timeline": body{"limit": "x"}}}).wants(t, 400, "M_BAD_JSON")

	_, room := alice.creates(t, body{})
	alice.put(t, own+room+"/tags/m.favourite", body{"order": 0.5}).ok(t)
	alice.put(t, own+room+"/tags/u.work", body{}).ok(t)
	if got := alice.get(t, own+room+"/tags").ok(t); got.Raw != `{"tags":{"m.favourite":{"order":0.5},"u.work":{}}}` {
		t.Error(got.Raw)
	}
	alice.delete(t, own+room+"/tags/m.favourite").ok(t)
	alice.delete(t, own+room+"/tags/m.favourite").ok(t)
	if got := alice.get(t, own+room+"/tags").ok(t); got.Raw != `{"tags":{"u.work":{}}}` {
		t.Error(got.Raw)
	}
	bob.get(t, own+room+"/tags").wants(t, 403, "M_FORBIDDEN")

	for _, typ := range []string{"m.fully_read", "m.push_rules"} {
		for _, path := range []string{own, own + room} {
			alice.put(t, path+"/account_data/"+typ, body{}).wants(t, 405, "M_BAD_JSON")
		}
	}
	alice.get(t, own+"/account_data/m.never").wants(t, 404, "M_NOT_FOUND")
	alice.put(t, own+"/account_data/m.mine", `[]`).wants(t, 400, "M_BAD_JSON")
	alice.put(t, own+"/account_data/m.mine", `{`).wants(t, 400, "M_NOT_JSON")
	alice.put(t, own+"/rooms/nothing/account_data/m.mine", body{}).wants(t, 400, "M_INVALID_PARAM")
}
