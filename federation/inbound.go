// Package federation serves /_matrix/federation and /_matrix/key to other
// servers. A handler parses, asks the policy, makes one call and renders.
//
// A request goes through the same steps in the same order: who claims to send
// it, whether the policy lets that server in, whether there is room for it,
// what it says, whether the server signed that. No key of a server that the
// policy does not know is ever fetched, and no body of it is read.
//
// What other servers send to rooms is kept first and worked through later, by
// an [Inbox]. Its mutex and that of the meter are never held together.
package federation

import (
	"log/slog"
	"net/http"

	"beffroi/account"
	"beffroi/e2ee"
	"beffroi/federation/keyring"
	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/media"
	"beffroi/policy"
	"beffroi/roomserver"
)

// Options are what a [Server] works with.
type Options struct {
	Name     matrix.ServerName // of this server
	Gate     Gate
	Keys     *keyring.Ring
	Rooms    *roomserver.Server
	Accounts *account.Server
	Devices  *e2ee.Server
	Media    *media.Server
	Inbox    *Inbox
	// WakeUp is told that a server has just sent a request with a good
	// signature: what waits for it can be sent. It must not block. nil is
	// nobody.
	WakeUp func(origin matrix.ServerName)
	// Software and Version are what /version answers.
	Software, Version string
	Logger            *slog.Logger // nil: none
}

// Server serves other servers. It is safe for concurrent use.
type Server struct {
	Options
	gate  gate
	meter meter
}

// New returns the API over its services. The inbox runs by itself.
func New(o Options) *Server {
	if o.WakeUp == nil {
		o.WakeUp = func(matrix.ServerName) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{Options: o, gate: gate{o.Gate, o.Name}}
}

// peer is who sent a request, and what the route lets it do.
type peer struct {
	origin matrix.ServerName
	action policy.Action
}

// signed adapts fn to a route for other servers: fn is called only for a
// server that the policy lets in, and that signed the request.
//
// https://spec.matrix.org/v1.19/server-server-api/#request-authentication
func signed[In, Out any](s *Server, action policy.Action, maxBytes int64, fn httpx.Func[peer, In, Out]) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		release := func() {}
		defer func() { release() }()
		auth := func(r *http.Request) (who peer, err error) {
			who, release, err = s.authenticate(r, action, maxBytes)
			return who, err
		}
		httpx.JSONWithLimit(maxBytes, auth, fn).ServeHTTP(w, r)
	})
}

// authenticate finds out who sent a request. release gives back the room that
// the request takes; it is never nil.
func (s *Server) authenticate(r *http.Request, action policy.Action, maxBytes int64) (who peer, release func(), err error) {
	release = func() {}
	credentials, err := keyring.ParseCredentials(r)
	if err != nil {
		return peer{}, release, err
	}
	origin := credentials.Origin
	if origin.Normalise() == s.Name.Normalise() {
		return peer{}, release, matrix.Unauthorized("%s is this server", origin)
	}
	if err := s.gate.server(r.Context(), origin); err != nil {
		return peer{}, release, err
	}
	if release, err = s.meter.take(origin, maxBytes); err != nil {
		return peer{}, release, err
	}
	body, err := httpx.Body(r, maxBytes)
	if err != nil {
		return peer{}, release, err
	}
	if err := s.Keys.VerifyRequest(r.Context(), credentials, r, body); err != nil {
		return peer{}, release, err
	}
	s.WakeUp(origin)
	return peer{origin, action}, release, nil
}

// open adapts fn to a route that everybody may call: the few that a server
// needs before it can sign, or that ask for no signature.
func open[In, Out any](s *Server, maxBytes int64, fn httpx.Func[httpx.None, In, Out]) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		release, err := s.meter.take("", maxBytes)
		if err != nil {
			httpx.Fail(w, r, err)
			return
		}
		defer release()
		httpx.JSONWithLimit(maxBytes, httpx.Anyone, fn).ServeHTTP(w, r)
	})
}
