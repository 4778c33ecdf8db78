package client

import (
	"context"
	"errors"
	"strconv"

	"beffroi/matrix"
)

// endpoint is where and how a server is spoken with.
type endpoint struct {
	addr string // host:port for the transport, which keeps connections by it
	host string // the Host header; the certificate must be for its host
}

// resolve follows the delegation of a server name. What DNS has to say is
// asked when a connection is opened.
//
// https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
func (c *Client) resolve(ctx context.Context, name matrix.ServerName) (endpoint, error) {
	if _, static := c.dialer.static[dialAddr(name)]; !static && !name.IsIP() && name.Port() == "" {
		delegated, err := c.wellKnown.lookUp(ctx, string(name.Normalise()))
		if err != nil {
			return endpoint{}, err
		}
		if delegated != "" {
			name = delegated
		}
	}
	if port := name.Port(); port != "" {
		if n, _ := strconv.Atoi(port); n == 0 {
			return endpoint{}, errors.New("nothing listens on port 0")
		}
	}
	return endpoint{addr: dialAddr(name), host: string(name)}, nil
}
