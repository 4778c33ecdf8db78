package clientapi_test

import (
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"testing"

	"beffroi/matrix"
	"beffroi/matrix/signing"
)

// signer signs for an account as a device or a cross-signing key does.
func signer(t *testing.T, user, id string) signing.Key {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if id == "" {
		id = signing.EncodeBase64(private.Public().(ed25519.PublicKey))
	}
	return signing.Key{Server: matrix.ServerName(user), ID: matrix.KeyID("ed25519:" + id), Private: private}
}

func signed(t *testing.T, object body, by ...signing.Key) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range by {
		if raw, err = signing.Sign(raw, key); err != nil {
			t.Fatal(err)
		}
	}
	return raw
}

// publishes uploads the keys of a person's device, with a one-time key.
func (p *person) publishes(t *testing.T) signing.Key {
	t.Helper()
	key := signer(t, p.id, p.device)
	p.post(t, "/keys/upload", body{
		"device_keys": signed(t, body{"user_id": p.id, "device_id": p.device, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2"},
			"keys": body{"ed25519:" + p.device: signing.EncodeBase64(key.Public()), "curve25519:" + p.device: signing.EncodeBase64(key.Public())}}, key),
		"one_time_keys": body{"signed_curve25519:AAAA": signed(t, body{"key": signing.EncodeBase64(key.Public())}, key)},
	}).ok(t)
	return key
}

func TestKeys(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
	alice.publishes(t)
	if got := alice.post(t, "/keys/upload", nil).ok(t); got.Get("one_time_key_counts.signed_curve25519").Int() != 1 {
		t.Error(got.Raw)
	}
	alice.post(t, "/keys/upload/OTHER", body{}).wants(t, http.StatusForbidden, "M_FORBIDDEN")
	query := bob.post(t, "/keys/query", body{"device_keys": body{alice.id: []string{}, "@eve:away.example": []string{}}}).ok(t)
	if query.Get("device_keys").Map()[alice.id].Get(alice.device+".user_id").String() != alice.id || !query.Get(`failures.away\.example`).Exists() {
		t.Error(query.Raw)
	}
	claim := func() reply {
		return bob.post(t, "/keys/claim", body{"one_time_keys": body{alice.id: body{alice.device: "signed_curve25519"}}}).ok(t)
	}
	if got := claim(); !got.Get("one_time_keys").Map()[alice.id].Get(alice.device + `.signed_curve25519:AAAA.key`).Exists() {
		t.Error(got.Raw)
	}
	if got := claim(); len(got.Get("one_time_keys").Map()) != 0 {
		t.Errorf("claimed twice: %s", got.Raw)
	}
	bob.put(t, "/sendToDevice/m.room_key/1", body{"messages": body{alice.id: body{"*": body{"x": 1}}}}).ok(t)
	for name, tc := range map[string]struct {
		got    reply
		status int
		code   string
	}{
		"query nothing": {bob.post(t, "/keys/query", body{}), 400, "M_BAD_JSON"},
		"claim nothing": {bob.post(t, "/keys/claim", body{}), 400, "M_BAD_JSON"},
		"send nothing":  {bob.put(t, "/sendToDevice/m.x/2", body{}), 400, "M_MISSING_PARAM"},
		"wrong type":    {bob.post(t, "/keys/query", body{"device_keys": []string{}}), 400, "M_BAD_JSON"},
		"bad device":    {bob.post(t, "/keys/upload", body{"device_keys": body{"user_id": alice.id}}), 400, ""},
	} {
		if tc.got.status != tc.status || tc.code != "" && tc.got.Get("errcode").String() != tc.code {
			t.Errorf("%s: %d %s, want %d %s", name, tc.got.status, tc.got.Raw, tc.status, tc.code)
		}
	}
}

// TestCrossSigning uploads the first keys without a password, and others only
// with it.
func TestCrossSigning(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice := h.registers(t, "alice")
	device := alice.publishes(t)
	master := func() (signing.Key, body) {
		m, self := signer(t, alice.id, ""), signer(t, alice.id, "")
		public := func(k signing.Key, usage string) body {
			return body{"user_id": alice.id, "usage": []string{usage}, "keys": body{string(k.ID): signing.EncodeBase64(k.Public())}}
		}
		return self, body{"master_key": public(m, "master"), "self_signing_key": signed(t, public(self, "self_signing"), m)}
	}
	self, first := master()
	alice.post(t, "/keys/device_signing/upload", first).ok(t)
	alice.post(t, "/keys/device_signing/upload", first).ok(t) // the same changes nothing
	_, second := master()
	ask := alice.post(t, "/keys/device_signing/upload", second).wants(t, http.StatusUnauthorized, "")
	if ask.Get("flows.0.stages.0").String() != "m.login.password" {
		t.Error(ask.Raw)
	}
	keys := body{"user_id": alice.id, "device_id": alice.device, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2"},
		"keys": body{"ed25519:" + alice.device: signing.EncodeBase64(device.Public()), "curve25519:" + alice.device: signing.EncodeBase64(device.Public())}}
	if got := alice.post(t, "/keys/signatures/upload", body{alice.id: body{alice.device: signed(t, keys, self)}}).ok(t); got.Raw != `{"failures":{}}` {
		t.Error(got.Raw)
	}
	query := alice.post(t, "/keys/query", body{"device_keys": body{alice.id: []string{}}}).ok(t)
	if n := len(query.Get("device_keys").Map()[alice.id].Get(alice.device + ".signatures").Map()[alice.id].Map()); n != 2 {
		t.Errorf("%d signatures: %s", n, query.Raw)
	}
	second["auth"] = body{"type": "m.login.password", "session": ask.Get("session").String(), "password": "pass-alice", "user": alice.id}
	alice.post(t, "/keys/device_signing/upload", second).ok(t)
	alice.post(t, "/keys/device_signing/upload", body{"master_key": body{"user_id": "@eve:here.example"}}).wants(t, http.StatusBadRequest, "")
}

func TestKeyChanges(t *testing.T) {
	t.Parallel()
	h := start(t)
	alice, bob, carol := h.registers(t, "alice"), h.registers(t, "bob"), h.registers(t, "carol")
	_, room := alice.creates(t, body{"preset": "public_chat"})
	bob.post(t, room+"/join", nil).ok(t)
	from := bob.get(t, "/sync").ok(t).Get("next_batch").String()
	changes := func() reply {
		return bob.get(t, "/keys/changes?from="+from+"&to="+bob.get(t, "/sync").ok(t).Get("next_batch").String()).ok(t)
	}
	if got := changes(); got.Raw != `{"changed":[],"left":[]}` {
		t.Error(got.Raw)
	}
	alice.publishes(t)
	carol.publishes(t) // who shares no room with bob
	if got := changes(); got.Raw != `{"changed":["`+alice.id+`"],"left":[]}` {
		t.Error(got.Raw)
	}
	carol.post(t, room+"/join", nil).ok(t)
	alice.post(t, room+"/leave", nil).ok(t)
	if got := changes(); got.Get("changed.0").String() != carol.id || got.Get("left.0").String() != alice.id {
		t.Error(got.Raw)
	}
	for _, query := range []string{"", "?from=" + from, "?from=x&to=" + from, "?from=" + from + "&to=x"} {
		if got := bob.get(t, "/keys/changes"+query); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, got.status, got.Raw)
		}
	}
}
