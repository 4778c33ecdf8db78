package account

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the protocol of shared secrets is HMAC-SHA1
	"encoding/hex"
	"sync"
	"time"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/users"
)

// NewUser is an account that an administrator makes.
type NewUser struct {
	Localpart   string
	Password    string // "" makes an account without login by password
	DisplayName string
	Email       string // taken as proven; "" for none
	Admin       bool
	Kind        string // one of the kinds of package storage/users
}

// CreateUser makes an account on the word of an administrator.
func (s *Server) CreateUser(ctx context.Context, u NewUser) (matrix.UserID, error) {
	return s.createUser(ctx, u, nil)
}

// createUser makes the account, with a session if one is given.
func (s *Server) createUser(ctx context.Context, u NewUser, open *newSession) (matrix.UserID, error) {
	n := newAccount{user: s.newUser(""), chosen: u.Localpart, displayName: u.DisplayName, session: open}
	if err := s.Available(ctx, u.Localpart); err != nil {
		return "", err
	}
	if !plain(u.DisplayName, maxDisplayNameBytes) {
		return "", matrix.InvalidParam("a display name has at most %d bytes and no control characters", maxDisplayNameBytes)
	}
	switch u.Kind {
	case users.KindPerson, users.KindBot, users.KindSupport:
	default:
		return "", matrix.InvalidParam("%q is not a kind of account", clip(u.Kind))
	}
	if u.Email != "" {
		address, err := normaliseEmail(u.Email)
		if err != nil {
			return "", err
		}
		n.email = address
	}
	if err := s.mayRegister(ctx, n.email, policy.SourceAdmin); err != nil {
		return "", err
	}
	if u.Password != "" {
		if err := s.acceptable(u.Password); err != nil {
			return "", err
		}
		hashed, err := s.hasher.hash(ctx, u.Password)
		if err != nil {
			return "", err
		}
		n.user.Password = hashed
	}
	n.user.Admin, n.user.Kind = u.Admin, u.Kind
	return s.create(ctx, n)
}

// firstAdminLifetime is for how long the first administrator may take.
const firstAdminLifetime = 24 * time.Hour

// CreateFirstAdminToken returns a token with which one person registers as an
// administrator ([Server.RegisterWithToken], or the stage StageToken of
// [Server.Register]), or "" if the server has an administrator. Tokens that
// were given before end. Only its hash is stored.
func (s *Server) CreateFirstAdminToken(ctx context.Context) (token string, err error) {
	fresh, have := randomID(), false
	err = s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		if have, err = users.HasAdmin(ctx, &tx.Reader); err != nil || have {
			return err
		}
		if err := users.DeleteAdminTokens(ctx, tx); err != nil {
			return err
		}
		return users.AddRegistrationToken(ctx, tx, users.RegistrationToken{
			Hash: hash(fresh), Admin: true, UsesLeft: 1, Created: s.now(), Expires: s.now() + firstAdminLifetime.Milliseconds()})
	})
	if err != nil || have {
		return "", err
	}
	return fresh, nil
}

// nonces are the numbers of registrations by shared secret that are under way.
type nonces struct {
	mu   sync.Mutex
	open map[string]time.Time // guarded by mu; until when
}

const (
	nonceLifetime = time.Minute
	// maxNonces bounds the memory of those who only ask.
	maxNonces = 1000
)

// RegistrationNonce begins a registration by shared secret, which Synapse's
// register_new_matrix_user and many scripts speak. It is M_UNRECOGNIZED if
// there is no secret.
func (s *Server) RegistrationNonce() (string, error) {
	if s.RegistrationSecret == "" {
		return "", matrix.Unrecognized()
	}
	s.nonces.mu.Lock()
	defer s.nonces.mu.Unlock()
	if s.nonces.open == nil {
		s.nonces.open = map[string]time.Time{}
	}
	for nonce, until := range s.nonces.open {
		if until.Before(s.Now()) {
			delete(s.nonces.open, nonce)
		}
	}
	if len(s.nonces.open) >= maxNonces {
		return "", matrix.LimitExceeded(nonceLifetime)
	}
	nonce := randomID()
	s.nonces.open[nonce] = s.Now().Add(nonceLifetime)
	return nonce, nil
}

// take spends a nonce.
func (n *nonces) take(nonce string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	until, ok := n.open[nonce]
	delete(n.open, nonce)
	return ok && !until.Before(now)
}

// SecretRegistration is a registration by shared secret. MAC is the hexadecimal
// HMAC-SHA1, by the secret, of nonce, username, password, "admin" or "notadmin"
// and, if there is one, the user type, with NUL between.
type SecretRegistration struct {
	Nonce       string `json:"nonce"`
	Username    string `json:"username"`
	Password    string `json:"password"`
	DisplayName string `json:"displayname"`
	Admin       bool   `json:"admin"`
	UserType    string `json:"user_type"`
	MAC         string `json:"mac"`
}

// RegisterBySecret makes an account for whoever knows the shared secret. A
// nonce is good for one try.
func (s *Server) RegisterBySecret(ctx context.Context, req SecretRegistration, c Client) (Login, error) {
	if s.RegistrationSecret == "" {
		return Login{}, matrix.Unrecognized()
	}
	if err := c.valid(); err != nil {
		return Login{}, err
	}
	if !s.nonces.take(req.Nonce, s.Now()) {
		return Login{}, matrix.InvalidParam("unrecognised nonce")
	}
	role := "notadmin"
	if req.Admin {
		role = "admin"
	}
	message := req.Nonce + "\x00" + req.Username + "\x00" + req.Password + "\x00" + role
	if req.UserType != "" {
		message += "\x00" + req.UserType
	}
	mac := hmac.New(sha1.New, []byte(s.RegistrationSecret))
	mac.Write([]byte(message))
	given, err := hex.DecodeString(req.MAC)
	if err != nil || !hmac.Equal(given, mac.Sum(nil)) {
		return Login{}, matrix.Forbidden("HMAC incorrect")
	}
	if err := s.acceptable(req.Password); err != nil {
		return Login{}, err
	}
	open := s.newSession("", c)
	_, err = s.createUser(ctx, NewUser{
		Localpart: req.Username, Password: req.Password, DisplayName: req.DisplayName, Admin: req.Admin, Kind: req.UserType}, open)
	if err != nil {
		return Login{}, err
	}
	return open.login(), nil
}
