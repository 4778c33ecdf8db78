package account

import (
	"context"

	"beffroi/matrix"
	"beffroi/policy"
)

// Gate is what the accounts need of the policy.
type Gate interface {
	// Check returns nil, or the answer that says why not.
	Check(ctx context.Context, req *policy.Request) error
}

// mayRegister asks whether an account may be made: for an address, or with ""
// for nobody in particular.
func (s *Server) mayRegister(ctx context.Context, address string, source policy.Source) error {
	req := policy.Request{Action: policy.ActionRegister, Email: address, Source: source, Now: s.Now()}
	if address != "" {
		var err error
		if req.Invited, err = s.Sponsored(ctx, address); err != nil {
			return err
		}
	}
	return s.Gate.Check(ctx, &req)
}

// mayLogin asks whether an account may open a session.
func (s *Server) mayLogin(ctx context.Context, user matrix.UserID) error {
	return s.Gate.Check(ctx, &policy.Request{
		Action: policy.ActionLogin, Actor: user, Source: policy.SourceClient, Now: s.Now()})
}
