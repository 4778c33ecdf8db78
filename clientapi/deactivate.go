package clientapi

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/account"
	"beffroi/matrix"
)

type deactivateRequest struct {
	Auth     json.RawMessage `json:"auth"`
	Erase    bool            `json:"erase"`
	IDServer string          `json:"id_server"`
}

// deactivate ends the account of who asks: by a session and the password, or
// by the name and the password. No identity server was told of any address, so
// that none has to forget one.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
func (s *Server) deactivate(ctx context.Context, who *caller, _ *http.Request, req deactivateRequest) (unbound, error) {
	proof, err := s.prove(ctx, who, account.OpDeactivate, "", req.Auth)
	if err != nil {
		return unbound{}, err
	}
	user := who.User
	if user == "" {
		user = proof.User
	}
	if user == "" || proof.User != user {
		return unbound{}, matrix.Forbidden("The proof is that of another account")
	}
	return unbound{"success"}, s.Accounts.Deactivate(ctx, user, req.Erase, proof)
}
