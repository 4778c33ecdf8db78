package account

import (
	"context"
	"net/http"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/users"
)

// MayInvite returns M_INVITE_BLOCKED if an account of this server does not want
// to be invited by somebody. Whom it ignores it does not refuse: they must not
// learn of it.
//
// https://spec.matrix.org/v1.19/client-server-api/#invite-permission
func (s *Server) MayInvite(ctx context.Context, host, guest matrix.UserID) error {
	if host == guest {
		return nil
	}
	var p matrix.InvitePermission
	err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		p, err = users.InvitePermission(ctx, r, guest)
		return err
	})
	if err == nil && p.Of(host) == matrix.InviteBlock {
		e := matrix.NewError(http.StatusForbidden, "M_INVITE_BLOCKED", "%s does not accept this invitation", guest)
		e.Texts = map[string]string{"fr": string(guest) + " n'accepte pas cette invitation"}
		return e
	}
	return err
}
