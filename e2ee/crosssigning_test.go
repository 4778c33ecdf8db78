package e2ee_test

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"

	"beffroi/e2ee"
	"beffroi/matrix"
	"beffroi/storage/keys"
)

// identityOf is the cross-signing keys of an account.
type identityOf struct {
	user                             matrix.UserID
	master, selfSigning, userSigning ed25519.PrivateKey
}

func newIdentity(t *testing.T, user matrix.UserID) identityOf {
	t.Helper()
	return identityOf{user, newKey(t), newKey(t), newKey(t)}
}

func (i identityOf) fields(usage string, key ed25519.PrivateKey) map[string]any {
	return map[string]any{"user_id": i.user, "usage": []string{usage}, "keys": map[string]string{"ed25519:" + public(key): public(key)}}
}

// bare returns a key without signatures.
func (i identityOf) bare(t *testing.T, usage string, key ed25519.PrivateKey) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(i.fields(usage, key))
	wants(t, err, "")
	return raw
}

// signed returns a key signed by the master key.
func (i identityOf) signed(t *testing.T, usage string, key ed25519.PrivateKey) json.RawMessage {
	t.Helper()
	return sign(t, i.fields(usage, key), i.user, public(i.master), i.master)
}

func (i identityOf) upload(t *testing.T) e2ee.CrossSigning {
	t.Helper()
	return e2ee.CrossSigning{Master: i.bare(t, keys.Master, i.master),
		SelfSigning: i.signed(t, keys.SelfSigning, i.selfSigning), UserSigning: i.signed(t, keys.UserSigning, i.userSigning)}
}

func query(users ...matrix.UserID) e2ee.Query {
	q := e2ee.Query{DeviceKeys: map[matrix.UserID][]matrix.DeviceID{}}
	for _, u := range users {
		q.DeviceKeys[u] = nil
	}
	return q
}

func TestCrossSigning(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		s.publish(t, s.device(t, alice, "PHONE"), 0)
		s.device(t, bob, "B")
		id := newIdentity(t, alice)
		up := id.upload(t)
		wrong := newIdentity(t, alice)
		named := newIdentity(t, alice)
		s.device(t, alice, matrix.DeviceID(public(named.selfSigning)))
		for name, tc := range map[string]struct {
			up   e2ee.CrossSigning
			code string
		}{
			"no master":            {e2ee.CrossSigning{SelfSigning: up.SelfSigning}, "M_MISSING_PARAM"},
			"signed by another":    {e2ee.CrossSigning{Master: up.Master, SelfSigning: wrong.signed(t, keys.SelfSigning, id.selfSigning)}, "M_INVALID_SIGNATURE"},
			"not signed":           {e2ee.CrossSigning{Master: up.Master, SelfSigning: id.bare(t, keys.SelfSigning, id.selfSigning)}, "M_INVALID_SIGNATURE"},
			"of another account":   {newIdentity(t, bob).upload(t), "M_INVALID_PARAM"},
			"another usage":        {e2ee.CrossSigning{Master: id.bare(t, keys.SelfSigning, id.master)}, "M_INVALID_PARAM"},
			"called like a device": {named.upload(t), "M_FORBIDDEN"},
			"one key for two":      {e2ee.CrossSigning{Master: up.Master, SelfSigning: id.signed(t, keys.SelfSigning, id.master)}, "M_FORBIDDEN"},
			"key of no bytes":      {e2ee.CrossSigning{Master: json.RawMessage(`{"user_id":"@alice:here.example","usage":["master"],"keys":{"ed25519:a":"a"}}`)}, "M_INVALID_PARAM"},
			"array":                {e2ee.CrossSigning{Master: json.RawMessage(`[]`)}, "M_BAD_JSON"},
			"usage of a string":    {e2ee.CrossSigning{Master: json.RawMessage(`{"usage":"master"}`)}, "M_BAD_JSON"},
			"70 KiB":               {e2ee.CrossSigning{Master: json.RawMessage(`{"a":"` + strings.Repeat("x", 70<<10) + `"}`)}, "M_TOO_LARGE"},
		} {
			if err := s.UploadCrossSigning(ctx, alice, tc.up, true); !matrix.IsCode(err, tc.code) {
				t.Errorf("%s: %v, want %s", name, err, tc.code)
			}
			if _, err := s.NeedsAuth(ctx, alice, tc.up); !matrix.IsCode(err, tc.code) {
				t.Errorf("%s before authentication: %v, want %s", name, err, tc.code)
			}
		}
		needs := func(up e2ee.CrossSigning) bool {
			n, err := s.NeedsAuth(ctx, alice, up)
			wants(t, err, "")
			return n
		}
		if needs(up) {
			t.Error("the first upload needs authentication")
		}
		before := s.head(t)
		wants(t, s.UploadCrossSigning(ctx, alice, up, false), "")
		if got := s.changed(t, bob, before); len(got) != 1 || got[0] != alice {
			t.Errorf("changed %v", got)
		}
		if needs(up) || !needs(wrong.upload(t)) {
			t.Error("authentication is needed for the same keys, or not for others")
		}
		wants(t, s.UploadCrossSigning(ctx, alice, up, false), "")
		wants(t, s.UploadCrossSigning(ctx, alice, wrong.upload(t), false), "M_FORBIDDEN")
		for viewer, userSigning := range map[matrix.UserID]bool{alice: true, bob: false} {
			got, err := s.Query(ctx, viewer, query(alice))
			wants(t, err, "")
			if got.MasterKeys[alice] == nil || got.SelfSigningKeys[alice] == nil || (got.UserSigningKeys[alice] != nil) != userSigning {
				t.Errorf("%s sees %+v", viewer, got)
			}
		}
		// Another master key takes what the old one signed with it.
		wants(t, s.UploadCrossSigning(ctx, alice, e2ee.CrossSigning{Master: wrong.upload(t).Master}, true), "")
		got, err := s.Query(ctx, alice, query(alice))
		wants(t, err, "")
		if len(got.SelfSigningKeys) > 0 || !strings.Contains(string(got.MasterKeys[alice]), public(wrong.master)) {
			t.Errorf("after another master key: %+v", got)
		}
	})
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *server) {
		ctx := t.Context()
		phone := s.device(t, alice, "PHONE")
		s.publish(t, phone, 0)
		s.device(t, bob, "B")
		a, b := newIdentity(t, alice), newIdentity(t, bob)
		wants(t, s.UploadCrossSigning(ctx, alice, a.upload(t), false), "")
		wants(t, s.UploadCrossSigning(ctx, bob, b.upload(t), false), "")
		bobMaster := public(b.master)
		for name, tc := range map[string]struct {
			target matrix.UserID
			key    string
			object json.RawMessage
			code   string
		}{
			"forged":                             {alice, "PHONE", sign(t, phone.fields(), alice, public(a.selfSigning), a.master), "M_INVALID_SIGNATURE"},
			"by the master key":                  {alice, "PHONE", sign(t, phone.fields(), alice, public(a.master), a.master), "M_INVALID_SIGNATURE"},
			"by nobody":                          {alice, "PHONE", phone.identity(t), "M_INVALID_SIGNATURE"},
			"on another device":                  {alice, "PHONE", sign(t, map[string]any{"device_id": "ELSE"}, alice, public(a.selfSigning), a.selfSigning), "M_INVALID_PARAM"},
			"on an unknown device":               {alice, "NONE", sign(t, phone.fields(), alice, public(a.selfSigning), a.selfSigning), "M_NOT_FOUND"},
			"on a device of another":             {bob, "B", sign(t, map[string]any{}, alice, public(a.userSigning), a.userSigning), "M_NOT_FOUND"},
			"of another by the self-signing key": {bob, bobMaster, sign(t, b.fields(keys.Master, b.master), alice, public(a.selfSigning), a.selfSigning), "M_INVALID_SIGNATURE"},
			"in the name of another":             {bob, bobMaster, sign(t, b.fields(keys.Master, b.master), bob, public(b.userSigning), b.userSigning), "M_INVALID_SIGNATURE"},
			"array":                              {alice, "PHONE", json.RawMessage(`[]`), "M_BAD_JSON"},
			"70 KiB":                             {alice, "PHONE", json.RawMessage(`{"a":"` + strings.Repeat("x", 70<<10) + `"}`), "M_TOO_LARGE"},
		} {
			failures, err := s.UploadSignatures(ctx, alice, e2ee.SignatureUpload{tc.target: {tc.key: tc.object}})
			wants(t, err, "")
			if failures[tc.target][tc.key].Code != tc.code {
				t.Errorf("%s: %+v, want %s", name, failures, tc.code)
			}
		}
		before := s.head(t)
		// Good ones are stored although a bad one is among them.
		failures, err := s.UploadSignatures(ctx, alice, e2ee.SignatureUpload{
			alice: {
				"PHONE":          sign(t, phone.fields(), alice, public(a.selfSigning), a.selfSigning),
				public(a.master): sign(t, a.fields(keys.Master, a.master), alice, "PHONE", phone.key),
				"NONE":           json.RawMessage(`{}`),
			},
			bob: {bobMaster: sign(t, b.fields(keys.Master, b.master), alice, public(a.userSigning), a.userSigning)},
		})
		wants(t, err, "")
		if len(failures) != 1 || len(failures[alice]) != 1 {
			t.Errorf("failures %+v", failures)
		}
		if got := s.changed(t, bob, before); len(got) != 1 || got[0] != alice {
			t.Errorf("bob sees changed %v: what others sign of him is not his to know", got)
		}
		if got := s.changed(t, alice, before); len(got) != 2 {
			t.Errorf("alice sees changed %v", got)
		}
		for viewer, social := range map[matrix.UserID]bool{alice: true, bob: false} {
			got, err := s.Query(ctx, viewer, query(alice, bob))
			wants(t, err, "")
			if !strings.Contains(string(got.DeviceKeys[alice]["PHONE"]), public(a.selfSigning)) ||
				!strings.Contains(string(got.MasterKeys[alice]), "ed25519:PHONE") {
				t.Errorf("%s does not see alice's own signatures", viewer)
			}
			if strings.Contains(string(got.MasterKeys[bob]), public(a.userSigning)) != social {
				t.Errorf("%s sees whom alice has verified: %v, want %v", viewer, !social, social)
			}
		}
		// The device goes, and with it what it has signed.
		write(t, s.db, deleteDevice(alice, "PHONE"))
		got, err := s.Query(ctx, bob, query(alice))
		wants(t, err, "")
		if strings.Contains(string(got.MasterKeys[alice]), "ed25519:PHONE") {
			t.Error("the signature of a device outlives it")
		}
	})
}

func TestTooManySignatures(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *server) {
		up := e2ee.SignatureUpload{alice: {}}
		for i := range 501 {
			up[alice][strings.Repeat("x", i+1)] = json.RawMessage(`{}`)
		}
		_, err := s.UploadSignatures(t.Context(), alice, up)
		wants(t, err, "M_TOO_LARGE")
	})
}
