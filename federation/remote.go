package federation

import (
	"context"

	"beffroi/federation/client"
	"beffroi/matrix"
	"beffroi/roomserver"
)

// Remote is a client as roomserver wants it.
type Remote struct{ *client.Client }

// NewRemote returns the client as roomserver wants it.
func NewRemote(c *client.Client) Remote { return Remote{c} }

var _ roomserver.Remote = Remote{}

// SendJoin implements [roomserver.Remote].
func (r Remote) SendJoin(ctx context.Context, to matrix.ServerName, room matrix.RoomID, id matrix.EventID, pdu []byte) (*roomserver.JoinAnswer, error) {
	answer, err := r.Client.SendJoin(ctx, to, room, id, pdu)
	if err != nil {
		return nil, err
	}
	return &roomserver.JoinAnswer{State: answer.State, AuthChain: answer.AuthChain, Event: answer.Event}, nil
}
