package clientapi

import (
	"errors"
	"net/http"
	"strings"

	"beffroi/account"
	"beffroi/internal/httpx"
	"beffroi/matrix"
)

// identify says who makes a request, or why nobody may who is not more.
//
// https://spec.matrix.org/v1.19/client-server-api/#client-authentication
func (s *Server) identify(need access, r *http.Request) (*caller, error) {
	who := &caller{addr: clientAddr(r)}
	token := accessToken(r)
	stranger := need == maybe || need == inside && s.Development
	if need == anyone || stranger && token == "" {
		return who, nil
	}
	authenticate := s.Accounts.Authenticate
	if need == leaving {
		authenticate = s.Accounts.AuthenticateAny
	}
	found, err := authenticate(r.Context(), token)
	if err != nil {
		return nil, err
	}
	who.Session = found
	s.Accounts.Saw(found, who.addr)
	return who, allowed(need, who, r)
}

// allowed refuses a session of the wrong person.
func allowed(need access, who *caller, r *http.Request) error {
	switch {
	case need == admin && !who.Admin:
		return matrix.Forbidden("Only an administrator may do this")
	case need == self, need == selfOrAdmin && !who.Admin:
		user, err := userID(r)
		if err != nil {
			return err
		}
		if user != who.User {
			return matrix.Forbidden("This belongs to %s", user)
		}
	}
	return nil
}

// accessToken returns the token of a request, "" for none. Old clients put it
// into the query.
//
// Divergence: the specification no longer lets servers read the query; what
// ministries have installed still writes it.
//
// https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens
func accessToken(r *http.Request) string {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return ""
		}
		return strings.TrimSpace(token)
	}
	return r.URL.Query().Get("access_token")
}

// challenge turns an unfinished user-interactive authentication into the
// answer that says how to go on. It is an error only where a stage failed.
//
// https://spec.matrix.org/v1.19/client-server-api/#user-interactive-api-in-the-rest-api
func challenge(err error) (any, error) {
	answer, ok := errors.AsType[*matrix.Error](err)
	if !ok || answer.Code != "" {
		return nil, err
	}
	return httpx.Status[map[string]any]{Code: answer.Status, Body: answer.Fields}, nil
}

// passwordFlows are the ways in which a logged in user proves who they are.
var passwordFlows = [][]string{{account.StagePassword}}
