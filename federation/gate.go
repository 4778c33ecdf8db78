package federation

import (
	"context"

	"beffroi/matrix"
	"beffroi/policy"
)

// Gate is the policy layer.
type Gate interface {
	// Check answers nil, or the refusal as a *matrix.Error.
	Check(ctx context.Context, req *policy.Request) error
}

// gate asks the policy about what other servers do. Events are judged where
// they enter a room, by roomserver.
type gate struct {
	Gate
	self matrix.ServerName
}

// server asks whether a server may speak with us at all.
func (g gate) server(ctx context.Context, origin matrix.ServerName) error {
	return g.Check(ctx, &policy.Request{Action: policy.ActionFederateIn, Server: origin, Source: policy.SourceFederation})
}

// vouch asks whether we speak with a server, and so speak of it: its keys are
// given to others only then.
func (g gate) vouch(ctx context.Context, server matrix.ServerName) error {
	if server.Normalise() == g.self.Normalise() {
		return nil
	}
	return g.Check(ctx, &policy.Request{Action: policy.ActionFederateOut, Server: server, Source: policy.SourceFederation})
}

// may asks whether a server may do something by an account of its own (actor,
// "" for the server itself) to an account (subject, "" for nobody else).
func (g gate) may(ctx context.Context, who peer, actor, subject matrix.UserID) error {
	return g.Check(ctx, &policy.Request{
		Action: who.action, Actor: actor, Subject: subject, Server: who.origin, Source: policy.SourceFederation})
}

// mayRead is may for the profile of an account of ours. shares says that the
// server shares a room with it.
func (g gate) mayRead(ctx context.Context, who peer, subject matrix.UserID, shares bool) error {
	return g.Check(ctx, &policy.Request{
		Action: who.action, Subject: subject, Server: who.origin, Source: policy.SourceFederation, SharesRoom: shares})
}

// among returns those of some accounts that are ours and that a server may ask
// about. The others are left out of its answer, as if they did not exist.
func (g gate) among(ctx context.Context, who peer, users []matrix.UserID) map[matrix.UserID]bool {
	out := make(map[matrix.UserID]bool, len(users))
	for _, user := range users {
		if user.Server() == g.self && g.may(ctx, who, "", user) == nil {
			out[user] = true
		}
	}
	return out
}
