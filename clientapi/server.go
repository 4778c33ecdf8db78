// Package clientapi serves the client-server API. A handler parses, makes one
// call and returns; it holds no rule of the protocol and no SQL.
package clientapi

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"net/http"
	"time"

	"beffroi/account"
	"beffroi/e2ee"
	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/media"
	"beffroi/media/preview"
	"beffroi/policy"
	"beffroi/policystore"
	"beffroi/roomserver"
	"beffroi/search"
	"beffroi/syncapi"
)

// Gate is the policy layer and its audit trail.
type Gate interface {
	// Check returns nil, or the answer that says why not.
	Check(ctx context.Context, req *policy.Request) error
	// Ask answers what Check would, and leaves no trace.
	Ask(req *policy.Request) policy.Decision
	// Record adds a line to the audit trail.
	Record(ctx context.Context, e policystore.Entry) (id string, err error)
	// RoomVersion returns the version that the policy gives new rooms, or "".
	RoomVersion() matrix.RoomVersion
}

// Remote is what this API asks of other servers. federation/client has it.
type Remote interface {
	// QueryProfile asks for the profile of a user, or one field of it.
	QueryProfile(ctx context.Context, at matrix.ServerName, user matrix.UserID, field string) (map[string]json.RawMessage, error)
	// PublicRooms asks for the published rooms of a server.
	PublicRooms(ctx context.Context, at matrix.ServerName, filter any) (json.RawMessage, error)
}

// Addresses is what the policy makes of e-mail addresses.
type Addresses interface {
	// Address returns what the policy makes of an address, and the servers of
	// its organisation, of which the first is where its accounts are.
	Address(address string, now time.Time) (policy.Party, []matrix.ServerName, error)
}

// Options is what a [Server] is made of. All fields are needed that do not say
// what they are without.
type Options struct {
	ServerName matrix.ServerName
	Accounts   *account.Server
	Rooms      *roomserver.Server
	Keys       *e2ee.Server
	Sync       *syncapi.Server
	Search     *search.Server
	Media      *media.Server
	// Previews says what stands behind links. nil is nothing.
	Previews *preview.Server
	Gate     Gate
	Remote   Remote
	// Addresses says which server an e-mail address belongs to. policystore has
	// it. nil means that the policy does not say.
	Addresses Addresses

	// PublicURL is the base URL of this API, which .well-known tells clients.
	PublicURL string
	// FederationAddress is the host and port that .well-known tells other
	// servers. Empty means that there is no such document here.
	FederationAddress string
	// Support is whom one turns to about this server. The zero Support names
	// nobody.
	Support Support
	// DefaultVersion is the version of rooms where neither the creator nor the
	// policy names one. Empty means [matrix.DefaultRoomVersion].
	DefaultVersion matrix.RoomVersion
	// Development lifts the rate limits, and lets strangers read profiles and
	// the room directory.
	Development bool
	// Now is the clock. nil is [time.Now].
	Now func() time.Time
}

// Server serves the client-server API.
type Server struct {
	Options
	limits *limits // nil: none
	edits  edits
}

// New returns the API over its services. It starts nothing.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.DefaultVersion == "" {
		o.DefaultVersion = matrix.DefaultRoomVersion
	}
	s := &Server{Options: o, edits: edits{seed: maphash.MakeSeed()}}
	if !o.Development {
		s.limits = newLimits()
	}
	return s
}

// Routes adds all routes to a router.
func (s *Server) Routes(router *httpx.Router) {
	for _, rt := range s.table() {
		h := rt.do(s.admit(&rt))
		for _, path := range rt.paths() {
			router.Handle(rt.method+" "+path, h)
		}
	}
}

// caller is who makes a request. The User is "" where nobody is logged in.
type caller struct {
	account.Session
	addr string // of the client; "" where it is not known
}

// authFunc says who makes a request, or why it is refused.
type authFunc = func(*http.Request) (*caller, error)

// handler makes the handler of a route once it is known who may call it.
type handler func(authFunc) http.Handler

// do makes a route of a function: see [httpx.JSON].
func do[In, Out any](fn httpx.Func[*caller, In, Out]) handler {
	return func(auth authFunc) http.Handler {
		return httpx.JSON(auth, func(ctx context.Context, who *caller, r *http.Request, in In) (any, error) {
			out, err := fn(ctx, who, r, in)
			if err != nil {
				return challenge(err)
			}
			return out, nil
		})
	}
}
