package e2ee_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"beffroi/e2ee"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/keys"
)

const alice, bob matrix.UserID = "@alice:here.example", "@bob:here.example"

func TestUploadOfIdentities(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *server) {
		d := s.device(t, alice, "PHONE")
		other := s.device(t, bob, "PHONE")
		change := func(fn func(map[string]any)) json.RawMessage {
			fields := d.fields()
			fn(fields)
			return sign(t, fields, d.user, string(d.id), d.key)
		}
		for name, tc := range map[string]struct {
			keys json.RawMessage
			code string
		}{
			"of another account":   {other.identity(t), "M_INVALID_PARAM"},
			"of another device":    {(&device{alice, "ELSE", d.key}).identity(t), "M_INVALID_PARAM"},
			"signed by another":    {sign(t, d.fields(), alice, "PHONE", other.key), "M_INVALID_SIGNATURE"},
			"not signed":           {change(func(m map[string]any) { m["keys"] = map[string]string{} }), "M_INVALID_PARAM"},
			"no algorithms":        {change(func(m map[string]any) { delete(m, "algorithms") }), "M_INVALID_PARAM"},
			"many algorithms":      {change(func(m map[string]any) { m["algorithms"] = make([]string, 33) }), "M_INVALID_PARAM"},
			"algorithms of number": {change(func(m map[string]any) { m["algorithms"] = []int{1} }), "M_BAD_JSON"},
			"key of another name": {change(func(m map[string]any) {
				m["keys"].(map[string]string)["curve25519:ELSE"] = public(d.key)
			}), "M_INVALID_PARAM"},
			"key too short":  {change(func(m map[string]any) { m["keys"].(map[string]string)["curve25519:PHONE"] = "abc" }), "M_INVALID_PARAM"},
			"float":          {json.RawMessage(`{"a":1.5}`), "M_BAD_JSON"},
			"2^53":           {json.RawMessage(`{"a":9007199254740992}`), "M_BAD_JSON"},
			"twice":          {json.RawMessage(`{"a":1,"a":1}`), "M_BAD_JSON"},
			"array":          {json.RawMessage(`[]`), "M_BAD_JSON"},
			"string":         {json.RawMessage(`"keys"`), "M_BAD_JSON"},
			"not JSON":       {json.RawMessage(`{"a":NaN}`), "M_NOT_JSON"},
			"lone surrogate": {json.RawMessage(`{"a":"\ud800"}`), "M_BAD_JSON"},
			"deep":           {json.RawMessage(`{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`), "M_BAD_JSON"},
			"70 KiB":         {change(func(m map[string]any) { m["x"] = strings.Repeat("x", 70<<10) }), "M_TOO_LARGE"},
		} {
			if _, err := s.Upload(t.Context(), alice, "PHONE", e2ee.Upload{DeviceKeys: tc.keys}); !matrix.IsCode(err, tc.code) {
				t.Errorf("%s: %v, want %s", name, err, tc.code)
			}
		}
		if changed := s.changed(t, alice, 0); len(changed) > 0 {
			t.Errorf("refused keys changed %v", changed)
		}
		// What others have signed, and what no signature covers, is not kept.
		identity := sign(t, json.RawMessage(d.identity(t)), bob, "PHONE", other.key)
		identity = json.RawMessage(strings.Replace(string(identity), "{", `{"unsigned":{"x":1},`, 1))
		for range 2 {
			_, err := s.Upload(t.Context(), alice, "PHONE", e2ee.Upload{DeviceKeys: identity})
			wants(t, err, "")
		}
		if changed := s.changed(t, bob, 0); len(changed) != 1 || changed[0] != alice {
			t.Errorf("changed %v", changed)
		}
		result, err := s.Query(t.Context(), bob, e2ee.Query{DeviceKeys: map[matrix.UserID][]matrix.DeviceID{alice: nil, "@nobody:here.example": nil, bob: {"NONE"}}})
		wants(t, err, "")
		got := string(result.DeviceKeys[alice]["PHONE"])
		if strings.Contains(got, "@bob") || strings.Contains(got, `"x":1`) || !strings.Contains(got, `"device_display_name":"name of PHONE"`) {
			t.Errorf("keys %s", got)
		}
		if len(result.DeviceKeys) != 2 || len(result.DeviceKeys[bob]) != 0 {
			t.Errorf("answer %+v", result.DeviceKeys)
		}
		_, err = s.Upload(t.Context(), alice, "GONE", e2ee.Upload{DeviceKeys: (&device{alice, "GONE", d.key}).identity(t)})
		wants(t, err, "M_UNKNOWN_TOKEN")
	})
}

func TestOneTimeKeysStandForThemselves(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *server) {
		d := s.device(t, alice, "PHONE")
		_, err := s.Upload(t.Context(), alice, "PHONE", e2ee.Upload{OneTimeKeys: d.oneTime(t, "A", 1)})
		wants(t, err, "M_INVALID_PARAM") // nobody can tell who signed it
		s.publish(t, d, 2)
		stranger := &device{alice, "PHONE", newKey(t)}
		list := d.oneTime(t, "B", 1)
		maps.Copy(list, map[string]json.RawMessage{
			"signed_curve25519:A000":                 d.oneTime(t, "A", 1)["signed_curve25519:A000"], // another key under its ID
			"signed_curve25519:forged":               stranger.oneTime(t, "A", 1)["signed_curve25519:A000"],
			"signed_curve25519:null":                 json.RawMessage(`null`),
			"signed_curve25519:text":                 json.RawMessage(`"` + public(d.key) + `"`),
			"signed_curve25519:big":                  json.RawMessage(`{"key":"` + strings.Repeat("x", 70<<10) + `"}`),
			"signed_curve25519:deep":                 json.RawMessage(`{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`),
			"signed_curve25519:":                     json.RawMessage(`{}`),
			"rot13:x":                                json.RawMessage(`{}`),
			"x":                                      json.RawMessage(`{}`),
			"curve25519:plain":                       json.RawMessage(`"` + public(d.key) + `"`),
			"curve25519:" + strings.Repeat("k", 250): json.RawMessage(`"` + public(d.key) + `"`),
			"curve25519:nul\x00":                     json.RawMessage(`"` + public(d.key) + `"`),
		})
		result, err := s.Upload(t.Context(), alice, "PHONE", e2ee.Upload{OneTimeKeys: list})
		wants(t, err, "")
		if len(result.Failures) != len(list)-2 || result.Counts["signed_curve25519"] != 3 || result.Counts["curve25519"] != 1 {
			t.Errorf("counts %v, failures %v", result.Counts, result.Failures)
		}
		if f := result.Failures["signed_curve25519:A000"]; f.Code != "M_UNKNOWN" {
			t.Errorf("a key ID in use: %+v", f)
		}
		if f := result.Failures["signed_curve25519:forged"]; f.Code != "M_INVALID_SIGNATURE" {
			t.Errorf("a forged key: %+v", f)
		}
		empty, err := s.Upload(t.Context(), alice, "PHONE", e2ee.Upload{})
		wants(t, err, "")
		if !maps.Equal(empty.Counts, result.Counts) {
			t.Errorf("counts %v, want %v", empty.Counts, result.Counts)
		}
		_, err = s.Upload(t.Context(), alice, "PHONE", e2ee.Upload{OneTimeKeys: d.oneTime(t, "C", 501)})
		wants(t, err, "M_TOO_LARGE")
		full, err := s.Upload(t.Context(), alice, "PHONE", e2ee.Upload{OneTimeKeys: d.oneTime(t, "D", 500)})
		wants(t, err, "")
		if full.Counts["signed_curve25519"] != 500 || len(full.Failures) != 3 {
			t.Errorf("counts %v, %d failures", full.Counts, len(full.Failures))
		}
	})
}

func claimOf(user matrix.UserID, devices ...matrix.DeviceID) e2ee.Claim {
	c := e2ee.Claim{OneTimeKeys: map[matrix.UserID]map[matrix.DeviceID]string{user: {}}}
	for _, d := range devices {
		c.OneTimeKeys[user][d] = "signed_curve25519"
	}
	return c
}

// claimed returns the IDs of the keys of a device in an answer.
func claimed(r e2ee.ClaimResult, user matrix.UserID, device matrix.DeviceID) []string {
	return slices.Collect(maps.Keys(r.OneTimeKeys[user][device]))
}

func TestClaimsAreInOrderAndFinal(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *server) {
		d := s.device(t, alice, "PHONE")
		first := d.oneTime(t, "B", 1)
		up := e2ee.Upload{DeviceKeys: d.identity(t), OneTimeKeys: first}
		_, err := s.Upload(t.Context(), alice, "PHONE", up)
		wants(t, err, "")
		_, err = s.Upload(t.Context(), alice, "PHONE", e2ee.Upload{OneTimeKeys: d.oneTime(t, "A", 2),
			FallbackKeys: map[string]json.RawMessage{"signed_curve25519:F": sign(t, map[string]any{"key": public(newKey(t)), "fallback": true}, alice, "PHONE", d.key)}})
		wants(t, err, "")
		unused := func() (list []string) {
			read(t, s.db, func(r *storage.Reader) (err error) {
				list, err = keys.UnusedFallbackTypes(t.Context(), r, alice, "PHONE")
				return err
			})
			return list
		}
		if got := unused(); len(got) != 1 {
			t.Errorf("unused fallback keys %v", got)
		}
		before := s.head(t)
		for _, want := range []string{"B000", "A000", "A001", "F", "F"} {
			got, err := s.Claim(t.Context(), claimOf(alice, "PHONE", "NONE", "a\nb"))
			wants(t, err, "")
			if ids := claimed(got, alice, "PHONE"); len(ids) != 1 || ids[0] != "signed_curve25519:"+want {
				t.Errorf("claimed %v, want %s", ids, want)
			}
			// The client repeats an upload whose answer it lost: nothing comes back.
			result, err := s.Upload(t.Context(), alice, "PHONE", up)
			wants(t, err, "")
			if len(result.Failures) > 0 {
				t.Errorf("failures %v", result.Failures)
			}
		}
		if got := unused(); len(got) != 0 {
			t.Errorf("unused fallback keys %v", got)
		}
		read(t, s.db, func(r *storage.Reader) error {
			changes, err := keys.CountChanges(t.Context(), r, before, 1<<62)
			if len(changes) != 4 { // three one-time keys, and the fallback key became used
				t.Errorf("count changes %v", changes)
			}
			return err
		})
	})
}

func TestLastKeysAreNeverDoubled(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *server) {
		const claims, have = 64, 40
		d := s.device(t, alice, "PHONE")
		s.publish(t, d, have)
		var mu sync.Mutex
		seen := map[string]int{}
		var group sync.WaitGroup
		for range claims {
			group.Go(func() {
				got, err := s.Claim(t.Context(), claimOf(alice, "PHONE"))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, id := range claimed(got, alice, "PHONE") {
					seen[id]++
				}
			})
		}
		group.Wait()
		if len(seen) != have {
			t.Errorf("%d keys were claimed, want %d", len(seen), have)
		}
		for id, n := range seen {
			if n > 1 {
				t.Errorf("%s was given to %d", id, n)
			}
		}
	})
}

func TestClaimForManyDevices(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *server) {
		const devices = 300
		var list []matrix.DeviceID
		var group sync.WaitGroup
		for i := range devices {
			id := matrix.DeviceID(fmt.Sprintf("D%03d", i))
			list = append(list, id)
			group.Go(func() {
				d := s.device(t, alice, id)
				if i%10 != 0 {
					s.publish(t, d, 1)
				}
			})
		}
		group.Wait()
		before := s.db.Statements()
		started := time.Now()
		got, err := s.Claim(t.Context(), claimOf(alice, list...))
		wants(t, err, "")
		t.Logf("%d statements, %v", s.db.Statements()-before, time.Since(started))
		if n := s.db.Statements() - before; n > 60 {
			t.Errorf("%d statements for %d devices", n, devices)
		}
		if len(got.OneTimeKeys[alice]) != devices*9/10 {
			t.Errorf("%d keys, want %d", len(got.OneTimeKeys[alice]), devices*9/10)
		}
	})
}

func TestANewIdentityMakesOldKeysWorthless(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *server) {
		d := s.device(t, alice, "PHONE")
		s.publish(t, d, 5)
		fresh := &device{alice, "PHONE", newKey(t)}
		result, err := s.Upload(t.Context(), alice, "PHONE", e2ee.Upload{DeviceKeys: fresh.identity(t), OneTimeKeys: fresh.oneTime(t, "A", 1)})
		wants(t, err, "")
		if result.Counts["signed_curve25519"] != 1 || len(result.Failures) > 0 {
			t.Errorf("upload %+v", result)
		}
	})
}

func TestUploadsRace(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *server) {
		d := s.device(t, alice, "PHONE")
		s.publish(t, d, 0)
		up := e2ee.Upload{DeviceKeys: d.identity(t), OneTimeKeys: d.oneTime(t, "A", 20)}
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				if result, err := s.Upload(t.Context(), alice, "PHONE", up); err != nil || result.Counts["signed_curve25519"] != 20 {
					t.Errorf("%+v, %v", result, err)
				}
			})
		}
		group.Wait()
	})
}

func TestDeletedDeviceLeavesNothing(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := alone(db)
		d := s.device(t, alice, "PHONE")
		s.publish(t, d, 3)
		wants(t, s.Send(t.Context(), bob, "B", "m.test", "1", e2ee.Messages{alice: {"PHONE": json.RawMessage(`{}`)}}), "")
		write(t, db, deleteDevice(alice, "PHONE"))
		read(t, db, func(r *storage.Reader) error {
			for _, table := range []string{"device_keys", "one_time_keys", "fallback_keys", "claimed_keys", "to_device", "key_signatures", "devices"} {
				var n int
				if err := r.QueryRow(t.Context(), `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil || n > 0 {
					t.Errorf("%s has %d rows, %v", table, n, err)
				}
			}
			return nil
		})
		got, err := s.Claim(t.Context(), claimOf(alice, "PHONE"))
		wants(t, err, "")
		if len(got.OneTimeKeys) > 0 {
			t.Errorf("claimed %v of a device that is gone", got.OneTimeKeys)
		}
	})
}
