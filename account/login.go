package account

import (
	"context"
	"strings"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/users"
)

// The types of identifiers.
//
// https://spec.matrix.org/v1.19/client-server-api/#identifier-types
const (
	IdentifierUser  = "m.id.user"
	IdentifierOther = "m.id.thirdparty"
	IdentifierPhone = "m.id.phone"
)

// Identifier says who somebody claims to be.
type Identifier struct {
	Type    string `json:"type"`
	User    string `json:"user"` // a user ID or a localpart
	Medium  string `json:"medium"`
	Address string `json:"address"`
}

// Client is what a client says of itself when it logs in.
type Client struct {
	DeviceID    matrix.DeviceID // "" lets the server choose
	DisplayName string
	// Source is its address, for the limits and the list of devices.
	Source string
	// Refresh says that the client can refresh its access token, which then
	// does not live for ever.
	Refresh bool
}

// Login is a new session. Token is the only copy of the access token.
type Login struct {
	User   matrix.UserID
	Device matrix.DeviceID
	Token  string // "" where no login was wanted
	// Refresh is the refresh token, "" where the access token has no end.
	Refresh string
	// Lifetime is that of the access token. 0 is for ever.
	Lifetime time.Duration
}

const (
	// maxDeviceIDBytes bounds device IDs: ours have ten characters.
	maxDeviceIDBytes = 255
	// maxDeviceNameBytes bounds the display name of a device, which every
	// server that shares a room keeps.
	maxDeviceNameBytes = 255
	// maxDevices bounds the devices of an account: each costs every client of
	// every room some bytes for ever.
	maxDevices = 500
)

// LoginByPassword opens a session. Whatever is wrong with the account or the
// password, the answer is the same M_FORBIDDEN and takes as long; only who
// knows the password learns that the account is locked or refused by the
// policy. Who has an account that expired logs in, and can do nothing but renew
// it.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login
func (s *Server) LoginByPassword(ctx context.Context, id Identifier, password string, c Client) (Login, error) {
	if err := c.valid(); err != nil {
		return Login{}, err
	}
	u, err := s.checkPassword(ctx, id, password, c.Source)
	if err != nil {
		return Login{}, err
	}
	if err := mayOpen(u, s.now()); err != nil {
		return Login{}, err
	}
	if err := s.mayLogin(ctx, u.ID); err != nil {
		return Login{}, err
	}
	open := s.newSession(u.ID, c)
	err = s.append(ctx, u.ID, func(ctx context.Context, tx *storage.Tx) error {
		now, err := users.ByID(ctx, &tx.Reader, u.ID)
		if err != nil || now.Password != u.Password || mayOpen(now, s.now()) != nil {
			return errWrongPassword() // it changed while we were checking
		}
		if err := open.allowed(ctx, tx); err != nil {
			return err
		}
		return open.write(ctx, tx)
	})
	return open.login(), err
}

func errWrongPassword() error { return matrix.Forbidden("Invalid username or password") }

// checkPassword returns the account whose password this is. A hash of an old
// kind is renewed.
func (s *Server) checkPassword(ctx context.Context, id Identifier, password, source string) (users.User, error) {
	var u users.User
	err := s.DB.View(ctx, func(r *storage.Reader) error {
		user, err := s.identify(ctx, r, id)
		if err != nil || user == "" {
			return err
		}
		u, err = users.ByID(ctx, r, user)
		if matrix.IsCode(err, "M_NOT_FOUND") || u.Deactivated {
			u, err = users.User{}, nil
		}
		return err
	})
	if err != nil {
		return users.User{}, err
	}
	name := string(u.ID)
	if name == "" {
		name = strings.ToLower(clip(id.User + id.Address))
	}
	attempt, err := s.limits.password(s.Now(), name, source)
	if err != nil {
		return users.User{}, err
	}
	ok, renew, err := s.hasher.verify(ctx, password, u.Password)
	if err != nil {
		return users.User{}, err
	}
	if !ok {
		return users.User{}, errWrongPassword()
	}
	attempt.giveBack()
	if renew {
		u.Password, err = s.renewHash(ctx, u, password)
	}
	return u, err
}

// renewHash stores a password with today's parameters.
func (s *Server) renewHash(ctx context.Context, u users.User, password string) (string, error) {
	fresh, err := s.hasher.hash(ctx, password)
	if err != nil {
		return "", err
	}
	return fresh, s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		return users.ReplacePassword(ctx, tx, u.ID, u.Password, fresh)
	})
}

// identify returns whom an identifier means, "" for nobody.
func (s *Server) identify(ctx context.Context, r *storage.Reader, id Identifier) (matrix.UserID, error) {
	switch id.Type {
	case IdentifierUser, "":
		name := strings.ToLower(id.User)
		if !strings.HasPrefix(name, "@") {
			name = string(s.userID(name))
		}
		user, err := matrix.ParseUserID(name)
		if err != nil || !s.isLocal(user) {
			return "", nil
		}
		return s.userID(user.Localpart()), nil
	case IdentifierOther:
		address, err := normaliseEmail(id.Address)
		if id.Medium != users.MediumEmail || err != nil {
			return "", nil
		}
		return users.ThreepidOwner(ctx, r, users.MediumEmail, address)
	case IdentifierPhone:
		return "", nil // no account has a telephone
	}
	return "", matrix.NewError(400, "M_UNKNOWN", "%s is not an identifier type of this server", clip(id.Type))
}

func (c Client) valid() error {
	if !plain(string(c.DeviceID), maxDeviceIDBytes) {
		return matrix.InvalidParam("a device ID has at most %d bytes and no control characters", maxDeviceIDBytes)
	}
	return validDeviceName(c.DisplayName)
}

func validDeviceName(name string) error {
	if !plain(name, maxDeviceNameBytes) {
		return matrix.InvalidParam("the display name of a device has at most %d bytes and no control characters", maxDeviceNameBytes)
	}
	return nil
}

// newSession is a session that is about to be opened. It is made before the
// transaction, which may run twice.
type newSession struct {
	user   matrix.UserID
	device users.Device
	chosen bool // by the client
	token  string

	refresh  string        // the refresh token, or ""
	lifetime time.Duration // of the token; 0 is for ever
}

func (s *Server) newSession(user matrix.UserID, c Client) *newSession {
	n := &newSession{user: user, chosen: c.DeviceID != "", token: "bfr_" + randomID() + randomID()}
	n.device = users.Device{ID: c.DeviceID, DisplayName: c.DisplayName, Created: s.now(), Seen: s.now(), SeenIP: c.Source}
	if !n.chosen {
		n.device.ID = matrix.DeviceID(randomID()[:10])
	}
	if c.Refresh {
		s.refreshable(n)
	}
	return n
}

// allowed refuses the device before anything is written.
func (n *newSession) allowed(ctx context.Context, tx *storage.Tx) error {
	if !n.chosen {
		return n.room(ctx, tx)
	}
	taken, err := keys.IsCrossSigningKey(ctx, &tx.Reader, n.user, string(n.device.ID))
	if err != nil {
		return err
	}
	if taken {
		return matrix.Forbidden("This device ID is a cross-signing key")
	}
	_, err = users.DeviceByID(ctx, &tx.Reader, n.user, n.device.ID)
	if matrix.IsCode(err, "M_NOT_FOUND") {
		return n.room(ctx, tx)
	}
	return err
}

func (n *newSession) room(ctx context.Context, tx *storage.Tx) error {
	have, err := users.CountDevices(ctx, &tx.Reader, n.user)
	if err == nil && have >= maxDevices {
		return matrix.NewError(403, "M_RESOURCE_LIMIT_EXCEEDED", "An account has at most %d devices; log out of some", maxDevices)
	}
	return err
}

// write stores the device, unless it is known, and its token.
func (n *newSession) write(ctx context.Context, tx *storage.Tx) error {
	if err := users.AddDevice(ctx, tx, n.user, n.device); err != nil {
		return err
	}
	if err := users.AddToken(ctx, tx, n.accessToken()); err != nil {
		return err
	}
	return n.writeRefresh(ctx, tx, "")
}

func (n *newSession) accessToken() users.Token {
	t := users.Token{Hash: hash(n.token), User: n.user, Device: n.device.ID, Created: n.device.Created}
	if n.lifetime > 0 {
		t.Expires = t.Created + n.lifetime.Milliseconds()
	}
	return t
}

func (n *newSession) login() Login {
	return Login{User: n.user, Device: n.device.ID, Token: n.token, Refresh: n.refresh, Lifetime: n.lifetime}
}
