package account_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"beffroi/account"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/users"
)

const serverName = "interieur.example"

const document = `
version: 1
issuer: test.example
organisations:
  - id: interieur
    class: government
    homeservers: [{name: interieur.example}]
    email_domains: [interieur.gouv.example]
  - id: sante
    class: government
    homeservers: [{name: sante.example}]
    email_domains: [sante.gouv.example]
`

// gate asks a real engine.
type gate struct{ engine *policy.Engine }

func (g gate) Check(_ context.Context, req *policy.Request) error {
	if e := g.engine.Decide(req).Error("test"); e != nil {
		return e
	}
	return nil
}

// clock is a clock that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

type server struct {
	*account.Server
	clock *clock
}

// start returns accounts on a database. Its options can be changed before.
func start(t *testing.T, db *storage.DB, change func(*account.Options)) server {
	t.Helper()
	doc := policy.Permissive(serverName)
	o := account.Options{Development: true}
	if change != nil {
		change(&o)
	}
	if !o.Development {
		var err error
		if doc, err = policy.ParseDocument([]byte(document)); err != nil {
			t.Fatal(err)
		}
	}
	compiled, err := policy.Compile(doc, serverName)
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{at: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
	o.DB, o.ServerName, o.Gate, o.Now = db, serverName, gate{policy.NewEngine(compiled)}, c.now
	s, err := account.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return server{s, c}
}

func password(name string) account.Identifier {
	return account.Identifier{Type: account.IdentifierUser, User: name}
}

// person makes an account with the password "secret" and logs it in.
func (s server) person(t *testing.T, name string) account.Login {
	t.Helper()
	login, err := s.Register(t.Context(), account.Registration{Username: name, Password: "secret"}, dummy)
	if err != nil {
		t.Fatal(err)
	}
	return login
}

var dummy = json.RawMessage(`{"type":"m.login.dummy"}`)

// askAgain is the answer that asks for more, without anything being wrong.
const askAgain = "401"

// wants fails unless err is an answer with a code; "" is success.
func wants(t *testing.T, err error, code string) {
	t.Helper()
	answer, ok := errors.AsType[*matrix.Error](err)
	switch {
	case code == askAgain && ok && answer.Status == http.StatusUnauthorized && answer.Code == "":
	case code == "" && err != nil:
		t.Errorf("%v, want success", err)
	case code != "" && !ok:
		t.Errorf("%v, want %s", err, code)
	case code != "" && answer.Code != code:
		t.Errorf("%s, want %s", answer.Code, code)
	}
}

// challenge returns the session of an answer that asks for more.
func challenge(t *testing.T, err error) (session string, completed []string) {
	t.Helper()
	answer, ok := errors.AsType[*matrix.Error](err)
	if !ok || answer.Status != http.StatusUnauthorized || answer.Fields["session"] == nil {
		t.Fatalf("%v, want a challenge", err)
	}
	completed, _ = answer.Fields["completed"].([]string)
	return answer.Fields["session"].(string), completed
}

func auth(t *testing.T, fields map[string]any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestSessions(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := start(t, db, nil)
		ctx := t.Context()
		alice := s.person(t, "alice")
		second, err := s.LoginByPassword(ctx, password("@ALICE:interieur.example"), "secret", account.Client{DeviceID: "PHONE", DisplayName: "phone"})
		wants(t, err, "")
		who, err := s.Authenticate(ctx, second.Token)
		wants(t, err, "")
		if who.User != "@alice:interieur.example" || who.Device != "PHONE" || who.Admin || who.Guest {
			t.Errorf("session %+v", who)
		}
		again, err := s.LoginByPassword(ctx, password("alice"), "secret", account.Client{DeviceID: "PHONE", DisplayName: "ignored"})
		wants(t, err, "")
		_, err = s.Authenticate(ctx, second.Token)
		wants(t, err, "M_UNKNOWN_TOKEN") // a device has one token
		devices, err := s.Devices(ctx, alice.User)
		wants(t, err, "")
		if len(devices) != 2 {
			t.Errorf("%d devices, want 2", len(devices))
		}
		if d, err := s.Device(ctx, alice.User, "PHONE"); err != nil || d.DisplayName != "phone" {
			t.Errorf("device %+v, %v", d, err)
		}
		who, err = s.Authenticate(ctx, again.Token)
		wants(t, err, "")
		wants(t, s.Logout(ctx, who), "")
		_, err = s.Authenticate(ctx, again.Token)
		wants(t, err, "M_UNKNOWN_TOKEN")
		_, err = s.Device(ctx, alice.User, "PHONE")
		wants(t, err, "M_NOT_FOUND")
		_, err = s.Authenticate(ctx, alice.Token)
		wants(t, err, "")
		wants(t, s.LogoutAll(ctx, alice.User), "")
		_, err = s.Authenticate(ctx, alice.Token)
		wants(t, err, "M_UNKNOWN_TOKEN")
		_, err = s.Authenticate(ctx, "")
		wants(t, err, "M_MISSING_TOKEN")
	})
}

func TestWhatEndsASession(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := start(t, db, nil)
		ctx := t.Context()
		for name, tc := range map[string]struct {
			do         func(matrix.UserID) error
			undo       func(matrix.UserID) error
			code       string
			loginCode  string
			logoutWork bool
		}{
			"locked": {
				func(u matrix.UserID) error { return s.Lock(ctx, u, true) },
				func(u matrix.UserID) error { return s.Lock(ctx, u, false) }, "M_USER_LOCKED", "M_USER_LOCKED", true,
			},
			"expired": {
				func(u matrix.UserID) error { return s.SetValidity(ctx, u, s.clock.now()) },
				func(u matrix.UserID) error { return s.SetValidity(ctx, u, time.Time{}) },
				"ORG_MATRIX_EXPIRED_ACCOUNT", "", true,
			},
			"deactivated": {
				func(u matrix.UserID) error { return s.Deactivate(ctx, u, false, &account.Proof{User: u}) }, nil,
				"M_UNKNOWN_TOKEN", "M_FORBIDDEN", false,
			},
		} {
			login := s.person(t, name)
			_, err := s.Authenticate(ctx, login.Token)
			wants(t, err, "")
			wants(t, tc.do(login.User), "")
			_, err = s.Authenticate(ctx, login.Token)
			wants(t, err, tc.code)
			_, err = s.LoginByPassword(ctx, password(name), "secret", account.Client{})
			wants(t, err, tc.loginCode)
			_, err = s.LoginByPassword(ctx, password(name), "wrong", account.Client{})
			wants(t, err, "M_FORBIDDEN") // only who knows the password learns more
			if _, err := s.AuthenticateAny(ctx, login.Token); (err == nil) != tc.logoutWork {
				t.Errorf("%s: logging out: %v", name, err)
			}
			if tc.undo != nil {
				wants(t, tc.undo(login.User), "")
				_, err = s.Authenticate(ctx, login.Token)
				wants(t, err, "")
			}
		}
		_, err := s.Register(ctx, account.Registration{Username: "deactivated", Password: "secret"}, dummy)
		wants(t, err, "M_USER_IN_USE") // a name is never given twice
	})
}

func TestTokensAreStoredAsHashes(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := start(t, db, nil)
		login := s.person(t, "alice")
		first, err := s.CreateFirstAdminToken(t.Context())
		wants(t, err, "")
		err = db.View(t.Context(), func(r *storage.Reader) error {
			for secret, q := range map[string]string{
				login.Token: `SELECT COUNT(*) FROM access_tokens WHERE token_hash LIKE $1`,
				first:       `SELECT COUNT(*) FROM registration_tokens WHERE token_hash LIKE $1`,
				"secret":    `SELECT COUNT(*) FROM users WHERE password LIKE $1`,
			} {
				var n int
				if err := r.QueryRow(t.Context(), q, "%"+secret+"%").Scan(&n); err != nil || n > 0 {
					t.Errorf("%s: %d, %v", q, n, err)
				}
			}
			return nil
		})
		wants(t, err, "")
	})
}

func TestAnotherNodeEndsASession(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		a, b := start(t, db, nil), start(t, db, nil)
		login := a.person(t, "alice")
		_, err := b.Authenticate(t.Context(), login.Token)
		wants(t, err, "")
		wants(t, a.LogoutAll(t.Context(), login.User), "")
		b.clock.forward(2 * time.Minute) // even a node that does not follow the log finds out
		_, err = b.Authenticate(t.Context(), login.Token)
		wants(t, err, "M_UNKNOWN_TOKEN")
	})
}

func TestAuthenticateCostsNoQuery(t *testing.T) {
	t.Parallel()
	db := testkit.OpenDB(t, "sqlite")
	s := start(t, db, nil)
	login := s.person(t, "alice")
	if _, err := s.Authenticate(t.Context(), login.Token); err != nil {
		t.Fatal(err)
	}
	before := db.Statements()
	for range 1000 {
		if _, err := s.Authenticate(t.Context(), login.Token); err != nil {
			t.Fatal(err)
		}
	}
	if n := db.Statements() - before; n > 0 {
		t.Errorf("%d statements for 1,000 requests, want none", n)
	}
}

// setPassword stores a hash as an import would.
func setPassword(user matrix.UserID, hash string) func(context.Context, *storage.Tx) error {
	return func(ctx context.Context, tx *storage.Tx) error { return users.SetPassword(ctx, tx, user, hash) }
}

func TestSightingsAreWrittenWhenTheServerStops(t *testing.T) {
	t.Parallel()
	s := start(t, testkit.OpenDB(t, "sqlite"), nil)
	login := s.person(t, "alice")
	who, err := s.Authenticate(t.Context(), login.Token)
	wants(t, err, "")
	s.clock.forward(time.Hour)
	s.Saw(who, "192.0.2.7")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	wants(t, s.Run(ctx), "")
	d, err := s.Device(t.Context(), login.User, login.Device)
	wants(t, err, "")
	if d.SeenIP != "192.0.2.7" || d.Seen != s.clock.now().UnixMilli() {
		t.Errorf("device %+v", d)
	}
}
