package roomserver

import (
	"context"
	"slices"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// SharesRoom reports whether a server has a joined member in a room that a user
// has joined: it may then know more of the user than a stranger.
func (s *Server) SharesRoom(ctx context.Context, server matrix.ServerName, user matrix.UserID) (shares bool, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		servers, err := rooms.SharedServers(ctx, r, user)
		shares = slices.Contains(servers, server)
		return err
	})
	return shares, err
}
