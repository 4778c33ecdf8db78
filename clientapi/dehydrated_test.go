package clientapi_test

import (
	"net/http"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/matrix/signing"
	"beffroi/storage"
)

const dehydratedPath = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"

// TestDehydratedDevice leaves a device behind, writes to it, and takes it over
// in both forms.
func TestDehydratedDevice(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
		alice.get(t, dehydratedPath).wants(t, http.StatusNotFound, "M_NOT_FOUND")
		alice.delete(t, dehydratedPath).wants(t, http.StatusNotFound, "M_NOT_FOUND")

		leave := func(id string) body {
			key := signer(t, alice.id, id)
			return body{"device_id": id, "device_data": body{"algorithm": "m.dehydration.v2", "device_pickle": "x"},
				"initial_device_display_name": "left behind",
				"device_keys": signed(t, body{"user_id": alice.id, "device_id": id, "dehydrated": true,
					"algorithms": []string{"m.olm.v1.curve25519-aes-sha2"},
					"keys":       body{"ed25519:" + id: signing.EncodeBase64(key.Public()), "curve25519:" + id: signing.EncodeBase64(key.Public())}}, key),
				"one_time_keys": body{"signed_curve25519:AAAAAQ": signed(t, body{"key": signing.EncodeBase64(key.Public())}, key)}}
		}
		for name, broken := range map[string]body{
			"no id":   {"device_data": body{}, "device_keys": body{}},
			"no data": {"device_id": "D", "device_keys": body{}},
			"no keys": {"device_id": "D", "device_data": body{}},
			"mine":    leave(alice.device),
		} {
			if got := alice.put(t, dehydratedPath, broken); got.status != http.StatusBadRequest {
				t.Errorf("%s: %d %s", name, got.status, got.Raw)
			}
		}
		alice.put(t, dehydratedPath, leave("OLD")).ok(t)
		if got := alice.put(t, dehydratedPath, leave("LEFT")).ok(t); got.Get("device_id").String() != "LEFT" {
			t.Errorf("left: %s", got.Raw)
		}
		alice.get(t, "/devices/OLD").wants(t, http.StatusNotFound, "M_NOT_FOUND")
		if got := alice.get(t, dehydratedPath).ok(t); got.Get("device_id").String() != "LEFT" || got.Get("device_data.device_pickle").String() != "x" {
			t.Errorf("found: %s", got.Raw)
		}
		if got := bob.post(t, "/keys/query", body{"device_keys": body{alice.id: []string{}}}).ok(t); !got.Get("device_keys").Map()[alice.id].Get("LEFT.dehydrated").Bool() {
			t.Errorf("seen by others: %s", got.Raw)
		}
		bob.put(t, "/sendToDevice/m.test/t1", body{"messages": body{alice.id: body{"LEFT": body{"n": 1}}}}).ok(t)

		events := dehydratedPath + "/LEFT/events"
		for range 2 { // reading deletes nothing
			if got := alice.get(t, events).ok(t); got.Get("events.0.content.n").Int() != 1 || got.Get("next_batch").Exists() {
				t.Errorf("events: %s", got.Raw)
			}
		}
		got := alice.post(t, events, body{}).ok(t)
		if got.Get("events.#").Int() != 1 || got.Get("events.0.sender").String() != bob.id {
			t.Errorf("events: %s", got.Raw)
		}
		if got = alice.post(t, events, body{"next_batch": got.Get("next_batch").String()}).ok(t); got.Get("events.#").Int() != 0 {
			t.Errorf("events at the end: %s", got.Raw)
		}
		alice.get(t, dehydratedPath+"/"+alice.device+"/events").wants(t, http.StatusForbidden, "M_FORBIDDEN")
		bob.get(t, events).wants(t, http.StatusForbidden, "M_FORBIDDEN")
		alice.get(t, events+"?from=x").wants(t, http.StatusBadRequest, "M_INVALID_PARAM")

		if got := alice.delete(t, dehydratedPath).ok(t); got.Get("device_id").String() != "LEFT" {
			t.Errorf("deleted: %s", got.Raw)
		}
		alice.get(t, dehydratedPath).wants(t, http.StatusNotFound, "M_NOT_FOUND")
		alice.get(t, "/devices/LEFT").wants(t, http.StatusNotFound, "M_NOT_FOUND")
	})
}
