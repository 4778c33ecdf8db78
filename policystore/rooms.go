package policystore

import (
	"context"
	"errors"

	"beffroi/policy"
)

// PrepareRoom plans a room by the active document, and records it where the
// policy refuses. The error is a *matrix.Error.
func (s *Store) PrepareRoom(ctx context.Context, in policy.CreateRequest) (policy.CreatePlan, error) {
	if in.Now.IsZero() {
		in.Now = s.now()
	}
	plan, err := s.engine.PrepareRoom(in)
	if refusal, denied := errors.AsType[*policy.Refusal](err); denied {
		return plan, s.Refuse(ctx, &policy.Request{Action: policy.ActionCreateRoom, Actor: in.Creator, Source: in.Source,
			Now: in.Now}, refusal.Decision)
	}
	return plan, err
}
