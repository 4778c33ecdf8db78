package federation

import (
	"context"
	"net/http"

	"beffroi/internal/httpx"
	"beffroi/matrix"
)

type userInfo struct {
	Sub matrix.UserID `json:"sub"`
}

// userInfo says whom an OpenID token names, to whoever was given it: a service
// beside the homeserver has no signing key.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo
func (s *Server) userInfo(ctx context.Context, _ httpx.None, r *http.Request, _ httpx.None) (userInfo, error) {
	token := r.URL.Query().Get("access_token")
	if token == "" {
		return userInfo{}, matrix.MissingToken()
	}
	user, err := s.Accounts.OpenIDUser(ctx, token)
	return userInfo{user}, err
}
