// Package account owns the accounts of this server: who they are, how they
// prove it, their sessions and devices, profiles and account data. Nobody
// else writes them.
package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/storage"
	"beffroi/storage/users"
)

// Options are what a [Server] is made of.
type Options struct {
	DB         *storage.DB
	ServerName matrix.ServerName
	Gate       Gate

	// Mailer sends mail. Without one nobody can register by e-mail.
	Mailer *Mailer
	// PublicURL is the base of the links in mails, such as https://matrix.example.
	PublicURL string
	// Language is that of mails to people who named none: fr or en. "" is fr.
	Language string

	// Development opens registration to everybody, makes passwords cheap and
	// lifts the limits on attempts.
	Development bool
	// RegistrationSecret is the key of registration by shared secret. ""
	// switches it off.
	RegistrationSecret string
	// MinPasswordLength is in characters. 0 is 12, or 1 in development.
	MinPasswordLength int
	// TokenLifetime is how long an access token lives whose client can refresh
	// it. 0 is an hour.
	TokenLifetime time.Duration
	// Validity is how long an account with an address lives until it is renewed.
	// 0 is for ever.
	Validity time.Duration
	// DeactivateAfter is how long after its end an account is deactivated. 0 is
	// never.
	DeactivateAfter time.Duration

	// Now is the clock. nil is [time.Now].
	Now func() time.Time
}

// Server is safe for concurrent use. [Server.Run] does what has to be done
// now and then.
type Server struct {
	Options
	hasher   *hasher
	sessions sessionCache
	seen     seenDevices
	limits   *limits
	nonces   nonces
}

// New returns the accounts of a server. It starts nothing.
func New(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MinPasswordLength == 0 {
		o.MinPasswordLength = 12
		if o.Development {
			o.MinPasswordLength = 1
		}
	}
	if o.TokenLifetime == 0 {
		o.TokenLifetime = defaultTokenLifetime
	}
	if o.Language == "" {
		o.Language = "fr"
	}
	o.PublicURL = strings.TrimSuffix(o.PublicURL, "/")
	s := &Server{Options: o, hasher: newHasher(o.Development, runtime.GOMAXPROCS(0))}
	if !o.Development {
		s.limits = newLimits()
	}
	return s, s.sessions.init()
}

// userID returns the ID of a localpart of this server.
func (s *Server) userID(localpart string) matrix.UserID {
	return matrix.UserID("@" + localpart + ":" + string(s.ServerName))
}

// isLocal reports whether an account would be one of ours.
func (s *Server) isLocal(user matrix.UserID) bool {
	return user.Server().Normalise() == s.ServerName.Normalise()
}

func (s *Server) now() int64 { return s.Now().UnixMilli() }

// append writes, and forgets the sessions of the accounts it changed.
func (s *Server) append(ctx context.Context, user matrix.UserID, write func(context.Context, *storage.Tx) error) error {
	_, err := s.DB.Append(ctx, write)
	if user != "" {
		s.sessions.forget(user)
	}
	return err
}

// account returns an account of ours that is not deactivated, or M_NOT_FOUND.
func (s *Server) account(ctx context.Context, r *storage.Reader, user matrix.UserID) (users.User, error) {
	u, err := users.ByID(ctx, r, user)
	if err == nil && u.Deactivated {
		return u, matrix.NotFound("there is no account %s", user)
	}
	return u, err
}

// hash returns the form in which secrets are stored: nobody who reads the
// database can use them. Its parts are separated, so that no two lists of
// parts have one hash.
func hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return signing.EncodeBase64(sum[:])
}

// randomID returns an identifier that cannot be guessed.
func randomID() string { return rand.Text() }

// plain reports whether a text can be stored and shown: UTF-8, not over a
// number of bytes, and without control characters.
func plain(s string, maxBytes int) bool {
	if len(s) > maxBytes || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f {
			return false
		}
	}
	return true
}
