// Package adminapi is the API for those who look after the policy of a server:
// documents, drafts, the audit trail and findings, under /_beffroi/admin/v1.
// Its callers have tokens of their own, with a role. None of them can read a
// message or act as a user, because nothing behind this API can.
package adminapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/media"
	"beffroi/policy"
	"beffroi/policystore"
)

// Options is what a [Server] is made of.
type Options struct {
	Policy *policystore.Store
	Media  *media.Server
	// Alone lets the author of a draft activate it without another's approval.
	Alone bool
	// Now is the clock. nil is [time.Now].
	Now func() time.Time
}

// Server serves the admin API.
type Server struct {
	Options
	limits *limits
}

// New returns the API. It starts nothing.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Server{Options: o, limits: newLimits()}
}

// maxBody is a document with a reason beside it.
const maxBody = policy.MaxDocumentBytes + 64<<10

// Routes adds all routes to a router.
func (s *Server) Routes(router *httpx.Router) {
	routes := append(s.table(), s.mediaTable()...)
	for _, rt := range routes {
		router.Handle(rt.method+" "+prefix+rt.path, rt.do(s.admit(&rt)))
	}
	description := describe(routes)
	router.Handle("GET "+prefix+"/openapi.json", httpx.JSON(httpx.Anyone,
		func(context.Context, httpx.None, *http.Request, httpx.None) (httpx.Raw, error) {
			return description, nil
		}))
}

// caller is who makes a request.
type caller struct {
	policystore.Token
}

// editor says in the journal and the audit trail who it was.
func (c *caller) editor() policystore.Editor {
	return policystore.Editor{Actor: c.Name, Way: policystore.WayAPI}
}

type authFunc = func(*http.Request) (*caller, error)

type handler func(authFunc) http.Handler

func do[In, Out any](fn httpx.Func[*caller, In, Out]) handler {
	return func(auth authFunc) http.Handler {
		return httpx.JSONWithLimit(maxBody, auth, func(ctx context.Context, who *caller, r *http.Request, in In) (Out, error) {
			out, err := fn(ctx, who, r, in)
			return out, tell(err)
		})
	}
}

// admit returns what stands before a handler: token, limit, role, audit, in
// this order. A call is in the audit trail before it does anything.
func (s *Server) admit(rt *route) authFunc {
	return func(r *http.Request) (*caller, error) {
		network := networkOf(httpx.ClientAddr(r))
		if err := s.limits.check(s.Now(), network); err != nil {
			return nil, err
		}
		secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			s.limits.count(s.Now(), network, strangerRate)
			return nil, matrix.NewError(http.StatusUnauthorized, "M_MISSING_TOKEN", "the admin API wants a token of its own: beffroi admin token create")
		}
		token, err := s.Policy.Authenticate(r.Context(), secret)
		if err != nil {
			s.limits.count(s.Now(), network, strangerRate)
			return nil, err
		}
		key := "token " + token.ID
		if err := s.limits.check(s.Now(), key); err != nil {
			return nil, err
		}
		s.limits.count(s.Now(), key, tokenRate)
		who := &caller{token}
		if !rt.allows(token.Role) {
			err = matrix.Forbidden("the role %s may not do this; it needs %s", token.Role, rt.roleNames())
		}
		if auditErr := s.audit(r, rt, who, err); auditErr != nil {
			return nil, auditErr // what cannot be recorded is not done
		}
		return who, err
	}
}

// audit records a call.
func (s *Server) audit(r *http.Request, rt *route, who *caller, refused error) error {
	detail := "token " + who.ID + ", role " + string(who.Role)
	if id := r.PathValue("id"); id != "" {
		detail += ", of " + id
	}
	if refused != nil {
		detail += ", refused"
	}
	_, err := s.Policy.Record(r.Context(), policystore.Entry{Kind: policystore.KindCall, Actor: who.Name,
		Action: rt.method + " " + prefix + rt.path, Source: policy.SourceAdmin.String(), Detail: detail})
	return err
}
