package node

import (
	"context"
	"fmt"

	"beffroi/federation/client"
	"beffroi/matrix"
	"beffroi/policy"
)

// Examine looks at another server from this one, and asks the policy about
// both directions.
func (n *Node) Examine(ctx context.Context, server matrix.ServerName) *client.Examination {
	x := n.remote.Examine(ctx, server)
	if err := n.Policy.Check(ctx, &policy.Request{
		Action: policy.ActionFederateIn, Server: server, Source: policy.SourceSystem,
	}); err != nil {
		x.Faults = append(x.Faults, fmt.Sprintf("the policy of this server does not let %s speak with it: %v", server, err))
	}
	return x
}
