package clientapi_test

import (
	"fmt"
	"strings"
	"testing"

	"beffroi/internal/testkit"
	"beffroi/storage"
)

const backupAlgorithm = "m.megolm_backup.v1.curve25519-aes-sha2"

func sessionOf(first, forwarded int, verified bool, data string) body {
	return body{"first_message_index": first, "forwarded_count": forwarded, "is_verified": verified, "session_data": body{"ciphertext": data}}
}

func (p *person) beginsBackup(t *testing.T) string {
	t.Helper()
	return p.post(t, "/room_keys/version", body{"algorithm": backupAlgorithm, "auth_data": body{"public_key": "abc"}}).ok(t).Get("version").String()
}

// TestKeyBackup tells the life of a backup: begun, filled, read and removed in
// all three sizes.
func TestKeyBackup(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		h := startOn(t, db)
		alice, bob := h.registers(t, "alice"), h.registers(t, "bob")
		alice.get(t, "/room_keys/version").wants(t, 404, "M_NOT_FOUND")
		alice.put(t, "/room_keys/keys?version=1", body{"rooms": body{}}).wants(t, 404, "M_NOT_FOUND")
		v := "?version=" + alice.beginsBackup(t)
		bob.get(t, "/room_keys/version/1").wants(t, 404, "M_NOT_FOUND")

		first := alice.put(t, "/room_keys/keys"+v, body{"rooms": body{
			"!a:x": body{"sessions": body{"one": sessionOf(3, 0, false, "1"), "two": sessionOf(0, 0, false, "2")}},
			"!b:x": body{"sessions": body{"one": sessionOf(0, 0, false, "3")}}}}).ok(t)
		if first.Get("count").Int() != 3 {
			t.Error(first.Raw)
		}
		alice.put(t, "/room_keys/keys/!b:x"+v, body{"sessions": body{"two": sessionOf(0, 0, false, "4")}}).ok(t)
		last := alice.put(t, "/room_keys/keys/!c:x/one"+v, sessionOf(0, 0, false, "5")).ok(t)
		if last.Get("count").Int() != 5 || last.Get("etag").String() == first.Get("etag").String() {
			t.Error(last.Raw)
		}
		about := alice.get(t, "/room_keys/version").ok(t)
		if about.Get("count").Int() != 5 || about.Get("etag").String() != last.Get("etag").String() ||
			about.Get("auth_data.public_key").String() != "abc" || about.Get("algorithm").String() != backupAlgorithm {
			t.Error(about.Raw)
		}
		if got := alice.get(t, "/room_keys/keys"+v).ok(t); len(got.Get("rooms").Map()) != 3 ||
			got.Get("rooms").Map()["!a:x"].Get("sessions.two.session_data.ciphertext").String() != "2" {
			t.Error(got.Raw)
		}
		if got := alice.get(t, "/room_keys/keys/!b:x"+v).ok(t); len(got.Get("sessions").Map()) != 2 {
			t.Error(got.Raw)
		}
		if got := alice.get(t, "/room_keys/keys/!none:x"+v).ok(t); got.Raw != `{"sessions":{}}` {
			t.Error(got.Raw)
		}
		if got := alice.get(t, "/room_keys/keys/!a:x/one"+v).ok(t); got.Get("first_message_index").Int() != 3 {
			t.Error(got.Raw)
		}
		alice.get(t, "/room_keys/keys/!a:x/none"+v).wants(t, 404, "M_NOT_FOUND")
		if got := alice.delete(t, "/room_keys/keys/!a:x/one"+v).ok(t); got.Get("count").Int() != 4 {
			t.Error(got.Raw)
		}
		if got := alice.delete(t, "/room_keys/keys/!b:x"+v).ok(t); got.Get("count").Int() != 2 {
			t.Error(got.Raw)
		}
		if got := alice.delete(t, "/room_keys/keys"+v).ok(t); got.Get("count").Int() != 0 {
			t.Error(got.Raw)
		}
		if got := alice.get(t, "/room_keys/keys"+v).ok(t); got.Raw != `{"rooms":{}}` {
			t.Error(got.Raw)
		}
	})
}

// TestKeyBackupVersions has several backups, of which only the newest takes
// sessions.
func TestKeyBackupVersions(t *testing.T) {
	t.Parallel()
	alice := start(t).registers(t, "alice")
	one, two := alice.beginsBackup(t), alice.beginsBackup(t)
	if one == two {
		t.Fatal("two backups have one version")
	}
	up := sessionOf(0, 0, false, "1")
	got := alice.put(t, "/room_keys/keys/!a:x/s?version="+one, up).wants(t, 403, "M_WRONG_ROOM_KEYS_VERSION")
	if got.Get("current_version").String() != two {
		t.Error(got.Raw)
	}
	alice.put(t, "/room_keys/version/"+one, body{"algorithm": backupAlgorithm, "auth_data": body{"public_key": "new"}}).ok(t)
	if got := alice.get(t, "/room_keys/version/"+one).ok(t); got.Get("auth_data.public_key").String() != "new" {
		t.Error(got.Raw)
	}
	alice.delete(t, "/room_keys/version/"+two).ok(t)
	alice.delete(t, "/room_keys/version/"+two).ok(t)
	alice.get(t, "/room_keys/version/"+two).wants(t, 404, "M_NOT_FOUND")
	alice.get(t, "/room_keys/keys?version="+two).wants(t, 404, "M_NOT_FOUND")
	alice.put(t, "/room_keys/keys/!a:x/s?version="+one, up).ok(t)
	if three := alice.beginsBackup(t); three == two {
		t.Error("the version of a deleted backup came again")
	}
}

// TestBetterCopyStays holds the order in which copies of a session are worth
// more than others.
func TestBetterCopyStays(t *testing.T) {
	t.Parallel()
	alice := start(t).registers(t, "alice")
	path := "/room_keys/keys/!a:x/s?version=" + alice.beginsBackup(t)
	etag := ""
	for i, step := range []struct {
		first, forwarded int
		verified, stays  bool
	}{
		{5, 5, false, true},
		{5, 5, false, false}, // the same
		{5, 6, false, false}, // more hands
		{5, 4, false, true},  // fewer hands
		{6, 0, false, false}, // later
		{4, 9, false, true},  // earlier
		{9, 9, true, true},   // verified
		{0, 0, false, false}, // not verified
	} {
		data := fmt.Sprint(i)
		state := alice.put(t, path, sessionOf(step.first, step.forwarded, step.verified, data)).ok(t)
		if changed := state.Get("etag").String() != etag; changed != step.stays || state.Get("count").Int() != 1 {
			t.Errorf("step %d: %s", i, state.Raw)
		}
		etag = state.Get("etag").String()
		if got := alice.get(t, path).ok(t); (got.Get("session_data.ciphertext").String() == data) != step.stays {
			t.Errorf("step %d: %s", i, got.Raw)
		}
	}
}

func TestBadKeyBackups(t *testing.T) {
	t.Parallel()
	alice := start(t).registers(t, "alice")
	v := "?version=" + alice.beginsBackup(t)
	good := sessionOf(0, 0, false, "1")
	for name, tc := range map[string]struct {
		got    reply
		status int
		code   string
	}{
		"no algorithm":      {alice.post(t, "/room_keys/version", body{"auth_data": body{}}), 400, "M_BAD_JSON"},
		"no auth_data":      {alice.post(t, "/room_keys/version", body{"algorithm": "a"}), 400, "M_BAD_JSON"},
		"large auth_data":   {alice.post(t, "/room_keys/version", body{"algorithm": "a", "auth_data": body{"x": strings.Repeat("a", 64<<10)}}), 413, "M_TOO_LARGE"},
		"other algorithm":   {alice.put(t, "/room_keys/version/1", body{"algorithm": "a", "auth_data": body{}}), 400, "M_INVALID_PARAM"},
		"other version":     {alice.put(t, "/room_keys/version/1", body{"algorithm": backupAlgorithm, "auth_data": body{}, "version": "2"}), 400, "M_INVALID_PARAM"},
		"unknown version":   {alice.put(t, "/room_keys/version/7", body{"algorithm": backupAlgorithm, "auth_data": body{}}), 404, "M_NOT_FOUND"},
		"delete unknown":    {alice.delete(t, "/room_keys/version/7"), 404, "M_NOT_FOUND"},
		"no number":         {alice.get(t, "/room_keys/version/01"), 404, "M_NOT_FOUND"},
		"no version":        {alice.get(t, "/room_keys/keys"), 400, "M_MISSING_PARAM"},
		"put no version":    {alice.put(t, "/room_keys/keys/!a:x/s", good), 400, "M_MISSING_PARAM"},
		"delete no version": {alice.delete(t, "/room_keys/keys"), 400, "M_MISSING_PARAM"},
		"no room":           {alice.put(t, "/room_keys/keys/a/s"+v, good), 400, "M_INVALID_PARAM"},
		"no rooms":          {alice.put(t, "/room_keys/keys"+v, body{}), 400, "M_BAD_JSON"},
		"no sessions":       {alice.put(t, "/room_keys/keys/!a:x"+v, body{}), 400, "M_BAD_JSON"},
		"no index":          {alice.put(t, "/room_keys/keys/!a:x/s"+v, body{"forwarded_count": 1, "is_verified": true, "session_data": body{}}), 400, "M_BAD_JSON"},
		"negative":          {alice.put(t, "/room_keys/keys/!a:x/s"+v, sessionOf(-1, 0, false, "")), 400, "M_BAD_JSON"},
		"no data":           {alice.put(t, "/room_keys/keys/!a:x/s"+v, body{"first_message_index": 1, "forwarded_count": 1, "is_verified": true}), 400, "M_BAD_JSON"},
		"large data":        {alice.put(t, "/room_keys/keys/!a:x/s"+v, sessionOf(0, 0, false, strings.Repeat("a", 8<<10))), 413, "M_TOO_LARGE"},
		"long session":      {alice.put(t, "/room_keys/keys/!a:x/"+strings.Repeat("s", 300)+v, good), 400, "M_INVALID_PARAM"},
	} {
		if tc.got.status != tc.status || tc.got.Get("errcode").String() != tc.code {
			t.Errorf("%s: %d %s, want %d %s", name, tc.got.status, tc.got.Raw, tc.status, tc.code)
		}
	}
	if got := alice.get(t, "/room_keys/version").ok(t); got.Get("count").Int() != 0 {
		t.Errorf("something was stored: %s", got.Raw)
	}
}
