package account_test

import (
	"encoding/json"
	"testing"
	"time"

	"beffroi/account"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/storage"
)

func TestUIA(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := start(t, db, nil)
		ctx := t.Context()
		alice, bob := s.person(t, "alice"), s.person(t, "bob")
		phone, err := s.LoginByPassword(ctx, password("alice"), "secret", account.Client{DeviceID: "PHONE"})
		wants(t, err, "")
		c := account.Challenge{Operation: "delete_devices", User: alice.User, Subject: "PHONE", Flows: [][]string{{account.StagePassword}}}
		_, err = s.Prove(ctx, c, nil)
		session, _ := challenge(t, err)
		with := func(fields map[string]any) json.RawMessage {
			fields["session"] = session
			return auth(t, fields)
		}
		right := func() json.RawMessage {
			return with(map[string]any{"type": "m.login.password", "password": "secret",
				"identifier": map[string]any{"type": "m.id.user", "user": "alice"}})
		}
		for name, tc := range map[string]struct {
			challenge account.Challenge
			auth      json.RawMessage
			code      string
		}{
			"wrong password": {c, with(map[string]any{"type": "m.login.password", "password": "guess"}), "M_FORBIDDEN"},
			"password of somebody else": {c, with(map[string]any{"type": "m.login.password", "password": "secret",
				"identifier": map[string]any{"type": "m.id.user", "user": "bob"}}), "M_FORBIDDEN"},
			"a stage of no flow":   {c, with(map[string]any{"type": "m.login.dummy"}), "M_FORBIDDEN"},
			"an unknown stage":     {c, with(map[string]any{"type": "m.login.magic"}), "M_FORBIDDEN"},
			"only the session":     {c, with(map[string]any{}), askAgain},
			"not of its form":      {c, json.RawMessage(`{"type":7}`), "M_BAD_JSON"},
			"another operation":    {account.Challenge{Operation: "password", User: alice.User, Subject: "PHONE", Flows: c.Flows}, right(), "M_FORBIDDEN"},
			"other devices":        {account.Challenge{Operation: c.Operation, User: alice.User, Subject: "OTHER", Flows: c.Flows}, right(), "M_FORBIDDEN"},
			"session of another":   {account.Challenge{Operation: c.Operation, User: bob.User, Subject: "PHONE", Flows: c.Flows}, right(), "M_FORBIDDEN"},
			"session that is none": {c, auth(t, map[string]any{"type": "m.login.password", "session": "guess", "password": "secret"}), "M_FORBIDDEN"},
		} {
			proof, err := s.Prove(ctx, tc.challenge, tc.auth)
			if proof != nil {
				t.Errorf("%s: proven", name)
			}
			wants(t, err, tc.code)
		}
		proof, err := s.Prove(ctx, c, right())
		wants(t, err, "")
		wants(t, s.DeleteDevices(ctx, alice.User, []matrix.DeviceID{"PHONE", "PHONE", "NONE"}, proof), "")
		_, err = s.Authenticate(ctx, phone.Token)
		wants(t, err, "M_UNKNOWN_TOKEN")
		wants(t, s.DeleteDevices(ctx, alice.User, []matrix.DeviceID{alice.Device}, proof), "M_UNAUTHORIZED") // replay
		_, err = s.Prove(ctx, c, right())
		wants(t, err, "M_FORBIDDEN")
		wants(t, s.DeleteDevices(ctx, alice.User, nil, nil), "M_UNAUTHORIZED")

		_, err = s.Prove(ctx, c, nil)
		late, _ := challenge(t, err)
		s.clock.forward(time.Hour)
		_, err = s.Prove(ctx, c, auth(t, map[string]any{"type": "m.login.password", "password": "secret", "session": late}))
		wants(t, err, "M_FORBIDDEN")
	})
}

func TestStagesComeInOrder(t *testing.T) {
	t.Parallel()
	s := start(t, testkit.OpenDB(t, "sqlite"), nil)
	alice := s.person(t, "alice")
	c := account.Challenge{Operation: "x", User: alice.User, Flows: [][]string{{account.StagePassword, account.StageDummy}}}
	_, err := s.Prove(t.Context(), c, dummy)
	wants(t, err, "M_FORBIDDEN")
	_, err = s.Prove(t.Context(), c, auth(t, map[string]any{"type": "m.login.password", "password": "secret"}))
	session, done := challenge(t, err)
	if len(done) != 1 || done[0] != account.StagePassword {
		t.Fatalf("completed %v", done)
	}
	proof, err := s.Prove(t.Context(), c, auth(t, map[string]any{"type": "m.login.dummy", "session": session}))
	wants(t, err, "")
	wants(t, s.Spend(t.Context(), proof), "")
	wants(t, s.Spend(t.Context(), proof), "M_UNAUTHORIZED")
}
