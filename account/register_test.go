package account_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"beffroi/account"
	"beffroi/internal/testkit"
	"beffroi/matrix"
	"beffroi/storage"
)

func TestRegistrationRaces(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := start(t, db, nil)
		var won atomic.Int64
		var group sync.WaitGroup
		for range 32 {
			group.Go(func() {
				_, err := s.Register(t.Context(), account.Registration{Username: "alice", Password: "secret"}, dummy)
				if err == nil {
					won.Add(1)
				} else if !matrix.IsCode(err, "M_USER_IN_USE") {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if won.Load() != 1 {
			t.Errorf("%d accounts of one name", won.Load())
		}
	})
}

func TestRegisterNames(t *testing.T) {
	t.Parallel()
	s := start(t, testkit.OpenDB(t, "sqlite"), nil)
	for name, tc := range map[string]struct {
		username, password string
		device             matrix.DeviceID
		code               string
	}{
		"good":                {"al.ice_=-/+1", "p", "", ""},
		"upper case":          {"Alice", "p", "", ""},
		"other upper case":    {"ÉMILE", "p", "", "M_INVALID_USERNAME"},
		"space":               {"a b", "p", "", "M_INVALID_USERNAME"},
		"too long":            {strings.Repeat("a", 255-len("@:"+serverName)+1), "p", "", "M_INVALID_USERNAME"},
		"longest":             {strings.Repeat("a", 255-len("@:"+serverName)), "p", "", ""},
		"no password":         {"nopass", "", "", "M_MISSING_PARAM"},
		"long password":       {"longpass", strings.Repeat("p", 513), "", "M_INVALID_PARAM"},
		"long device":         {"longdev", "p", matrix.DeviceID(strings.Repeat("d", 256)), "M_INVALID_PARAM"},
		"NUL in the device":   {"nuldev", "p", "a\x00b", "M_INVALID_PARAM"},
		"broken UTF-8 device": {"baddev", "p", "\xff", "M_INVALID_PARAM"},
		"no name":             {"", "p", "", ""},
	} {
		login, err := s.Register(t.Context(), account.Registration{
			Username: tc.username, Password: tc.password, Client: account.Client{DeviceID: tc.device}}, dummy)
		wants(t, err, tc.code)
		if err == nil && (login.Token == "" || login.Device == "") {
			t.Errorf("%s: %+v", name, login)
		}
	}
}

func TestRegistrationIsClosedWithoutMailAndTokens(t *testing.T) {
	t.Parallel()
	s := start(t, testkit.OpenDB(t, "sqlite"), func(o *account.Options) { o.Development = false })
	_, err := s.Register(t.Context(), account.Registration{Username: "mallory", Password: "a long password"}, dummy)
	wants(t, err, "M_FORBIDDEN")
}

func TestFirstAdministrator(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s := start(t, db, func(o *account.Options) { o.Development = false })
		ctx := t.Context()
		old, err := s.CreateFirstAdminToken(ctx)
		wants(t, err, "")
		token, err := s.CreateFirstAdminToken(ctx)
		wants(t, err, "")
		want := account.Registration{Username: "root", Password: "a long password"}
		for _, bad := range []string{"", "nonsense", old} {
			_, err := s.RegisterWithToken(ctx, bad, want)
			wants(t, err, "M_FORBIDDEN")
		}
		var won atomic.Int64
		var group sync.WaitGroup
		for _, name := range []string{"root", "root2", "root3", "root4"} {
			group.Go(func() {
				want := want
				want.Username = name
				login, err := s.RegisterWithToken(ctx, token, want)
				if err != nil {
					return
				}
				won.Add(1)
				if who, err := s.Authenticate(ctx, login.Token); err != nil || !who.Admin {
					t.Errorf("session %+v, %v", who, err)
				}
			})
		}
		group.Wait()
		if won.Load() != 1 {
			t.Errorf("%d administrators of one token", won.Load())
		}
		if again, err := s.CreateFirstAdminToken(ctx); err != nil || again != "" {
			t.Errorf("a second first administrator: %q, %v", again, err)
		}
	})
}

func TestFirstAdministratorByUIA(t *testing.T) {
	t.Parallel()
	s := start(t, testkit.OpenDB(t, "sqlite"), func(o *account.Options) { o.Development = false })
	token, err := s.CreateFirstAdminToken(t.Context())
	wants(t, err, "")
	s.clock.forward(23 * time.Hour)
	login, err := s.Register(t.Context(), account.Registration{Username: "root", Password: "a long password"},
		auth(t, map[string]any{"type": "m.login.registration_token", "token": token}))
	wants(t, err, "")
	if who, err := s.Authenticate(t.Context(), login.Token); err != nil || !who.Admin {
		t.Errorf("session %+v, %v", who, err)
	}
}

func TestSharedSecret(t *testing.T) {
	t.Parallel()
	s := start(t, testkit.OpenDB(t, "sqlite"), func(o *account.Options) { o.RegistrationSecret = "shared" })
	ctx := t.Context()
	sign := func(req account.SecretRegistration, secret string) account.SecretRegistration {
		mac := hmac.New(sha1.New, []byte(secret))
		role := "notadmin"
		if req.Admin {
			role = "admin"
		}
		text := req.Nonce + "\x00" + req.Username + "\x00" + req.Password + "\x00" + role
		if req.UserType != "" {
			text += "\x00" + req.UserType
		}
		mac.Write([]byte(text))
		req.MAC = hex.EncodeToString(mac.Sum(nil))
		return req
	}
	for name, tc := range map[string]struct {
		secret string
		change func(*account.SecretRegistration)
		after  time.Duration
		code   string
	}{
		"user":          {"shared", func(*account.SecretRegistration) {}, 0, ""},
		"admin":         {"shared", func(*account.SecretRegistration) {}, 0, ""},
		"bot":           {"shared", func(*account.SecretRegistration) {}, 0, ""},
		"wrong secret":  {"guess", func(*account.SecretRegistration) {}, 0, "M_FORBIDDEN"},
		"changed role":  {"shared", func(r *account.SecretRegistration) { r.Admin = true }, 0, "M_FORBIDDEN"},
		"changed nonce": {"shared", func(r *account.SecretRegistration) { r.Nonce = "x" }, 0, "M_INVALID_PARAM"},
		"not hex":       {"shared", func(r *account.SecretRegistration) { r.MAC = "zz" }, 0, "M_FORBIDDEN"},
		"too late":      {"shared", func(*account.SecretRegistration) {}, 2 * time.Minute, "M_INVALID_PARAM"},
	} {
		nonce, err := s.RegistrationNonce()
		wants(t, err, "")
		req := account.SecretRegistration{Nonce: nonce, Username: strings.ReplaceAll(name, " ", "-"), Password: "p"}
		req.Admin = name == "admin"
		if name == "bot" {
			req.UserType = "bot"
		}
		req = sign(req, tc.secret)
		tc.change(&req)
		s.clock.forward(tc.after)
		login, err := s.RegisterBySecret(ctx, req, account.Client{})
		wants(t, err, tc.code)
		_, err = s.RegisterBySecret(ctx, req, account.Client{})
		if tc.code == "" {
			wants(t, err, "M_INVALID_PARAM") // a nonce is good for one try
			if who, err := s.Authenticate(ctx, login.Token); err != nil || who.Admin != req.Admin {
				t.Errorf("%s: %+v, %v", name, who, err)
			}
		}
	}
	closed := start(t, testkit.OpenDB(t, "sqlite"), nil)
	_, err := closed.RegistrationNonce()
	wants(t, err, "M_UNRECOGNIZED")
}

func TestNonceMemoryIsBounded(t *testing.T) {
	t.Parallel()
	s := start(t, testkit.OpenDB(t, "sqlite"), func(o *account.Options) { o.RegistrationSecret = "shared" })
	for range 1000 {
		_, err := s.RegistrationNonce()
		wants(t, err, "")
	}
	_, err := s.RegistrationNonce()
	wants(t, err, "M_LIMIT_EXCEEDED")
	s.clock.forward(2 * time.Minute)
	_, err = s.RegistrationNonce()
	wants(t, err, "")
}

func TestNamesOfAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]struct{ localpart, display string }{
		"prenom.nom@interieur.gouv.fr":            {"prenom.nom-interieur.gouv.fr", "Prenom Nom [Interieur]"},
		"jean-pierre.d'arc@sante.gouv.fr":         {"jean-pierre.darc-sante.gouv.fr", "Jean-Pierre D'arc [Sante]"},
		"alice@police.interieur.gouv.fr":          {"alice-police.interieur.gouv.fr", "Alice [Interieur]"},
		"alice@gouv.fr":                           {"alice-gouv.fr", "Alice [Gouv]"},
		"alice+news@ville.example":                {"alice+news-ville.example", "Alice [Ville]"},
		"Alice.MARTIN@externe.partenaire.example": {"alice.martin-externe.partenaire.example", "Alice Martin [Partenaire]"},
	} {
		if got := account.LocalpartOf(address); got != want.localpart {
			t.Errorf("%s: localpart %s, want %s", address, got, want.localpart)
		}
		if got := account.DisplayNameOf(address); got != want.display {
			t.Errorf("%s: display name %s, want %s", address, got, want.display)
		}
	}
}
