package account

import (
	"context"
	"hash/maphash"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/users"
)

// Session is who shows an access token.
type Session struct {
	User      matrix.UserID
	Device    matrix.DeviceID
	Admin     bool
	Guest     bool
	Suspended bool // may read, and do no harm

	locked      bool
	deactivated bool
	validUntil  int64 // of the account, ms; 0 is for ever
	expires     int64 // of the token, ms; 0 is never
}

const (
	// maxTokenBytes is longer than any token that we ever gave.
	maxTokenBytes = 128
	// maxCachedSessions bounds the cache at some 20 MB.
	maxCachedSessions = 100_000
	// maxSessionAge bounds for how long a node can miss that another one ended
	// a session, should it not follow the log.
	maxSessionAge = time.Minute
)

// Authenticate returns the session of an access token. It is M_UNKNOWN_TOKEN
// if there is none, and what [Session.alive] says if it may do nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens
func (s *Server) Authenticate(ctx context.Context, token string) (Session, error) {
	session, err := s.AuthenticateAny(ctx, token)
	if err != nil {
		return Session{}, err
	}
	return session, session.alive(s.now())
}

// AuthenticateAny is [Server.Authenticate] for the few calls that a session of
// a locked or expired account may still make: logging out, and asking for a
// new mail that prolongs the account.
func (s *Server) AuthenticateAny(ctx context.Context, token string) (Session, error) {
	if token == "" {
		return Session{}, matrix.MissingToken()
	}
	if len(token) > maxTokenBytes {
		return Session{}, matrix.UnknownToken(false)
	}
	hashed, now := hash(token), s.now()
	session, ok := s.sessions.get(hashed, now)
	if !ok {
		var err error
		if session, err = s.loadSession(ctx, hashed, now); err != nil {
			return Session{}, err
		}
	}
	switch {
	case session.deactivated:
		return Session{}, matrix.UnknownToken(false)
	case session.expires != 0 && session.expires <= now:
		return Session{}, matrix.UnknownToken(true)
	}
	return session, nil
}

// alive is the one place that says whether a session may be used.
//
// https://spec.matrix.org/v1.19/client-server-api/#account-locking
func (s *Session) alive(now int64) error {
	switch {
	case s.deactivated:
		return matrix.UnknownToken(false)
	case s.expires != 0 && s.expires <= now:
		return matrix.UnknownToken(true)
	case s.locked:
		return errLocked()
	case s.validUntil != 0 && s.validUntil <= now:
		return errExpired()
	}
	return nil
}

func errLocked() error {
	return matrix.NewError(http.StatusUnauthorized, "M_USER_LOCKED", "This account has been locked").With("soft_logout", true)
}

// errExpired is what Tchap's clients know of an account that was not renewed.
func errExpired() error {
	e := matrix.NewError(http.StatusForbidden, "ORG_MATRIX_EXPIRED_ACCOUNT", "This account has expired and must be renewed")
	e.Texts = map[string]string{"fr": "Ce compte a expiré et doit être renouvelé"}
	return e
}

// usable returns why an account may not have a session, or nil.
func usable(u users.User, now int64) error {
	s := sessionOf(users.Session{Account: u})
	return s.alive(now)
}

// mayOpen returns why an account may not have a new session, or nil. It is
// [usable] but for the end of the account: who did not renew it in time has to
// log in to do so.
func mayOpen(u users.User, now int64) error {
	u.ValidUntil = 0
	return usable(u, now)
}

func sessionOf(s users.Session) Session {
	return Session{
		User: s.Account.ID, Device: s.Device,
		Admin: s.Account.Admin, Guest: s.Account.Kind == users.KindGuest, Suspended: s.Account.Suspended,
		locked: s.Account.Locked, deactivated: s.Account.Deactivated,
		validUntil: s.Account.ValidUntil, expires: s.Expires,
	}
}

func (s *Server) loadSession(ctx context.Context, hashed string, now int64) (session Session, err error) {
	var found users.Session
	marks := s.sessions.mark() // before the snapshot: what changes after it is not missed
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		found, err = users.SessionByToken(ctx, r, hashed)
		return err
	})
	if storage.NoRows(err) {
		return session, matrix.UnknownToken(false)
	}
	if err != nil {
		return session, err
	}
	session = sessionOf(found)
	if session.expires != 0 {
		if err := s.confirm(ctx, hashed); err != nil {
			return session, err
		}
	}
	s.sessions.put(hashed, session, marks, now)
	return session, nil
}

// sessionCache knows the sessions that were used lately. To forget all
// sessions of an account it counts: accounts share a few thousand counters,
// and an entry is worth something only as long as the counter of its account
// stands where it stood before the entry was read.
type sessionCache struct {
	entries *otter.Cache[string, cachedSession]
	seed    maphash.Seed
	counts  [4096]atomic.Uint64
	total   atomic.Uint64 // of all counts
}

type cachedSession struct {
	Session
	count  uint64
	loaded int64 // ms
}

func (c *sessionCache) init() (err error) {
	c.seed = maphash.MakeSeed()
	c.entries, err = otter.New(&otter.Options[string, cachedSession]{MaximumSize: maxCachedSessions})
	return err
}

func (c *sessionCache) count(user matrix.UserID) *atomic.Uint64 {
	return &c.counts[maphash.String(c.seed, string(user))%uint64(len(c.counts))]
}

func (c *sessionCache) get(hashed string, now int64) (Session, bool) {
	entry, ok := c.entries.GetIfPresent(hashed)
	if !ok || entry.count != c.count(entry.User).Load() || now-entry.loaded > maxSessionAge.Milliseconds() {
		return Session{}, false
	}
	return entry.Session, true
}

// mark returns where all counters stand together.
func (c *sessionCache) mark() uint64 { return c.total.Load() }

// put stores a session that was read after mark, unless something was
// forgotten since: it may have been this one.
func (c *sessionCache) put(hashed string, session Session, mark uint64, now int64) {
	count := c.count(session.User).Load()
	if c.total.Load() != mark {
		return
	}
	c.entries.Set(hashed, cachedSession{session, count, now})
}

// forget makes the sessions of an account be read anew.
func (c *sessionCache) forget(user matrix.UserID) {
	c.total.Add(1)
	c.count(user).Add(1)
}
