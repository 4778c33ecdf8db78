package clientapi

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/policy"
)

// access says who may call a route.
type access uint8

const (
	// anyone needs no access token, and none is looked at.
	anyone access = iota
	// inside is a session, but in development anyone: what is said of the
	// people and rooms of a ministry is not for strangers.
	inside
	// maybe is a session where an access token is shown, and else nobody.
	maybe
	// leaving is a session, even of an account that is locked or has expired.
	leaving
	// session is a session that may be used.
	session
	// self is a session of the user whom the path names as {userID}.
	self
	// selfOrAdmin is a session of that user or of an administrator, whose calls
	// are audited.
	selfOrAdmin
	// admin is a session of an administrator. All calls are audited.
	admin
)

// judged says which action of the policy a route is. There is exactly one, or
// a reason why there is none.
type judged struct {
	action policy.Action
	free   string
}

// asks is a route that is an action of the policy.
func asks(a policy.Action) judged { return judged{action: a} }

// free is a route that is no action of the policy, and why.
func free(why string) judged { return judged{free: why} }

// Why routes are no action of the policy.
var (
	freePublic = free("it says what the server is, not who is in it")
	freeOwn    = free("it concerns only the caller's own account")
	freeRead   = free("what is denied is in no state, so no reader sees it")
	freeAdmin  = free("administrators answer for it in the audit trail")
	freeReport = free("anybody may call for help, and the audit trail keeps it")
	freeFind   = free("the room server asks about each room that it tells of")
	freeAsking = free("it answers what the policy would say, and does nothing")
	freeName   = free("it names a room, and joining it is judged")
)

// route is one line of the table.
type route struct {
	method, path string
	who          access
	judged
	do handler
}

const (
	v1 = "/_matrix/client/v1"
	v3 = "/_matrix/client/v3"
	r0 = "/_matrix/client/r0"
)

// paths returns the path of a route and the old names it is known by: r0 was
// renamed to v3.
func (rt *route) paths() []string {
	out := []string{rt.path}
	if rest, ok := strings.CutPrefix(rt.path, v3+"/"); ok {
		out = append(out, r0+"/"+rest)
	}
	return append(append(out, oldMediaNames(rt.path)...), unstable[rt.path]...)
}

// admit returns what stands before the handler of a route: form, session,
// limits, policy, in this order.
func (s *Server) admit(rt *route) authFunc {
	return func(r *http.Request) (*caller, error) {
		if err := wellFormed(r); err != nil {
			return nil, err
		}
		who, err := s.identify(rt.who, r)
		if err != nil {
			return nil, err
		}
		if err := s.limits.take(s.Now(), rt.action, who); err != nil {
			return nil, err
		}
		if who.Suspended && harmful[rt.action] {
			return nil, matrix.NewError(http.StatusForbidden, "M_USER_SUSPENDED", "You cannot do this while your account is suspended")
		}
		if err := s.ask(r, rt.action, who); err != nil {
			return nil, err
		}
		if rt.who == admin || rt.who == selfOrAdmin && who.Admin {
			return who, s.audit(r, rt, who)
		}
		return who, nil
	}
}

// harmful are the actions that a suspended account may not take. It may leave,
// read, and keep its devices and keys.
//
// https://spec.matrix.org/v1.19/client-server-api/#account-suspension
var harmful = map[policy.Action]bool{
	policy.ActionCreateRoom: true, policy.ActionInvite: true, policy.ActionInvite3PID: true, policy.ActionJoin: true,
	policy.ActionKnock: true, policy.ActionKickBan: true, policy.ActionSendMessage: true, policy.ActionSendState: true,
	policy.ActionSetAccessRule: true, policy.ActionPublishRoom: true, policy.ActionAlias: true,
	policy.ActionUpgradeRoom: true, policy.ActionUploadMedia: true,
}

// wellFormed refuses a path or query that no identifier can be in: what is not
// UTF-8 or has a NUL cannot be stored.
func wellFormed(r *http.Request) error {
	if !storable(r.URL.Path) {
		return matrix.InvalidParam("the path has a NUL or is not UTF-8")
	}
	if r.URL.RawQuery == "" {
		return nil
	}
	if len(r.URL.RawQuery) > maxQueryBytes {
		return matrix.TooLarge("the query is longer than %d bytes", maxQueryBytes)
	}
	for name, values := range r.URL.Query() {
		for _, value := range values {
			if !storable(name) || !storable(value) {
				return matrix.InvalidParam("the query has a NUL or is not UTF-8")
			}
		}
	}
	return nil
}

// maxQueryBytes bounds a query. The longest that clients send holds a filter.
const maxQueryBytes = 32 << 10

func storable(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// clientAddr returns the address of a client for limits and lists.
func clientAddr(r *http.Request) string {
	if addr := httpx.ClientAddr(r); addr.IsValid() {
		return addr.String()
	}
	return ""
}
