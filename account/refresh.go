package account

import (
	"context"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/users"
)

const (
	// defaultTokenLifetime is how long an access token of a client lives that
	// can refresh it. What is stolen is worth no more than that.
	defaultTokenLifetime = time.Hour
	// refreshLifetime is how long a client may be away without logging in anew.
	refreshLifetime = 90 * 24 * time.Hour
)

// refreshable makes a session one whose access token ends, and is followed by
// another.
func (s *Server) refreshable(n *newSession) {
	n.refresh = "bfr_r_" + randomID() + randomID()
	n.lifetime = s.TokenLifetime
}

// writeRefresh stores the refresh token of a session, if it has one.
func (n *newSession) writeRefresh(ctx context.Context, tx *storage.Tx, replaces string) error {
	if n.refresh == "" {
		return nil
	}
	return users.AddRefreshToken(ctx, tx, users.RefreshToken{Hash: hash(n.refresh), User: n.user, Device: n.device.ID,
		Access: hash(n.token), Replaces: replaces, Expires: n.device.Created + refreshLifetime.Milliseconds()})
}

// Refresh gives a client a new access token and a new refresh token. The old
// ones are good until one of the new ones is used: a client that never got our
// answer asks again. A token that is unknown, over or used up is
// M_UNKNOWN_TOKEN.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh
func (s *Server) Refresh(ctx context.Context, token string) (Login, error) {
	if token == "" {
		return Login{}, matrix.MissingParam("refresh_token is missing")
	}
	if len(token) > maxTokenBytes {
		return Login{}, matrix.UnknownToken(false)
	}
	var open *newSession
	var user matrix.UserID
	old := hash(token)
	err := s.DB.View(ctx, func(r *storage.Reader) error {
		t, err := s.refreshToken(ctx, r, old)
		user = t.User
		return err
	})
	if err != nil {
		return Login{}, err
	}
	if err := s.mayLogin(ctx, user); err != nil {
		return Login{}, err
	}
	fresh := s.newSession(user, Client{})
	s.refreshable(fresh)
	err = s.append(ctx, user, func(ctx context.Context, tx *storage.Tx) error {
		t, err := s.refreshToken(ctx, &tx.Reader, old)
		if err != nil {
			return err
		}
		open = fresh
		open.device.ID = t.Device
		if err := users.EndPredecessor(ctx, tx, t); err != nil {
			return err
		}
		if err := users.EndSuccessors(ctx, tx, old); err != nil {
			return err
		}
		if err := users.AddSecondToken(ctx, tx, open.accessToken()); err != nil {
			return err
		}
		return open.writeRefresh(ctx, tx, old)
	})
	if err != nil {
		return Login{}, err
	}
	return open.login(), nil
}

// refreshToken returns a token that may be used now.
func (s *Server) refreshToken(ctx context.Context, r *storage.Reader, hashed string) (users.RefreshToken, error) {
	t, err := users.RefreshTokenByHash(ctx, r, hashed)
	switch {
	case storage.NoRows(err):
		return t, matrix.UnknownToken(false)
	case err != nil:
		return t, err
	case t.Expires <= s.now():
		return t, matrix.UnknownToken(true)
	}
	u, err := users.ByID(ctx, r, t.User)
	if err != nil {
		return t, err
	}
	return t, usable(u, s.now())
}

// confirm ends what the token of a session replaced: its client has it. It is
// asked at the first use of a token.
func (s *Server) confirm(ctx context.Context, access string) error {
	var t users.RefreshToken
	err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		t, err = users.RefreshTokenOf(ctx, r, access)
		return err
	})
	if storage.NoRows(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.append(ctx, t.User, func(ctx context.Context, tx *storage.Tx) error {
		now, err := users.RefreshTokenByHash(ctx, &tx.Reader, t.Hash)
		if err != nil {
			return orRows(err, nil)
		}
		return users.EndPredecessor(ctx, tx, now)
	})
}
