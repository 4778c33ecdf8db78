package account

import (
	"context"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/users"
)

const (
	// loginTokenLifetime is the one that the specification recommends.
	loginTokenLifetime = 2 * time.Minute
	// openIDLifetime is for how long a token names an account to others.
	openIDLifetime = time.Hour
	// maxShortTokens bounds the open tokens of an account, of each kind.
	maxShortTokens = 20
)

// OpLoginToken is the operation of a [Challenge] before [Server.LoginToken].
const OpLoginToken = "login_token"

// LoginToken returns a token with which another client opens one session of an
// account. The proof is that of a [Challenge] to the account.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token
func (s *Server) LoginToken(ctx context.Context, user matrix.UserID, proof *Proof) (token string, lifetime time.Duration, err error) {
	token = "bfr_l_" + randomID() + randomID()
	err = s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		if err := s.spendable(ctx, tx, proof); err != nil {
			return err
		}
		if err := s.spend(ctx, tx, proof); err != nil {
			return err
		}
		return users.AddShortToken(ctx, tx, users.ShortToken{Hash: hash(token), Kind: users.ShortLogin, User: user,
			Expires: s.now() + loginTokenLifetime.Milliseconds()}, maxShortTokens)
	})
	return token, loginTokenLifetime, err
}

// LoginByToken opens a session for whoever has a login token. A token that is
// unknown, over or used up is one M_FORBIDDEN.
//
// https://spec.matrix.org/v1.19/client-server-api/#token-based
func (s *Server) LoginByToken(ctx context.Context, token string, c Client) (Login, error) {
	if err := c.valid(); err != nil {
		return Login{}, err
	}
	hashed := hash(token)
	user, err := s.shortToken(ctx, users.ShortLogin, hashed)
	if err != nil {
		return Login{}, err
	}
	if user == "" {
		return Login{}, errLoginToken()
	}
	if err := s.mayLogin(ctx, user); err != nil {
		return Login{}, err
	}
	open := s.newSession(user, c)
	err = s.append(ctx, user, func(ctx context.Context, tx *storage.Tx) error {
		u, err := users.ByID(ctx, &tx.Reader, user)
		if err != nil {
			return err
		}
		if err := usable(u, s.now()); err != nil {
			return err
		}
		if _, err := users.ShortTokenByHash(ctx, &tx.Reader, users.ShortLogin, hashed); err != nil {
			return orRows(err, errLoginToken()) // somebody else was faster
		}
		if err := open.allowed(ctx, tx); err != nil {
			return err
		}
		if _, err := users.SpendShortToken(ctx, tx, hashed); err != nil {
			return err
		}
		return open.write(ctx, tx)
	})
	return open.login(), err
}

func errLoginToken() error { return matrix.Forbidden("The login token is not valid") }

// shortToken returns whose token this is, "" for nobody's.
func (s *Server) shortToken(ctx context.Context, kind, hashed string) (matrix.UserID, error) {
	var t users.ShortToken
	err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		t, err = users.ShortTokenByHash(ctx, r, kind, hashed)
		return err
	})
	if storage.NoRows(err) || err == nil && t.Expires <= s.now() {
		return "", nil
	}
	return t.User, err
}

// OpenIDToken returns a token with which another service learns, from this
// server, who somebody is.
//
// https://spec.matrix.org/v1.19/client-server-api/#openid
func (s *Server) OpenIDToken(ctx context.Context, user matrix.UserID) (token string, lifetime time.Duration, err error) {
	token = "bfr_o_" + randomID() + randomID()
	err = s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		return users.AddShortToken(ctx, tx, users.ShortToken{Hash: hash(token), Kind: users.ShortOpenID, User: user,
			Expires: s.now() + openIDLifetime.Milliseconds()}, maxShortTokens)
	})
	return token, openIDLifetime, err
}

// OpenIDUser returns whom a token of [Server.OpenIDToken] names. A token that
// is unknown or over, or whose account can no longer be used, is
// M_UNKNOWN_TOKEN.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo
func (s *Server) OpenIDUser(ctx context.Context, token string) (matrix.UserID, error) {
	user, err := s.shortToken(ctx, users.ShortOpenID, hash(token))
	if err != nil {
		return "", err
	}
	unknown := matrix.NewError(401, "M_UNKNOWN_TOKEN", "The token is unknown or has expired")
	if user == "" {
		return "", unknown
	}
	u, err := s.User(ctx, user)
	if err != nil {
		return "", err
	}
	if usable(u, s.now()) != nil {
		return "", unknown
	}
	return user, nil
}
