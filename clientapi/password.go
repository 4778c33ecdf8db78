package clientapi

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/account"
	"beffroi/internal/httpx"
	"beffroi/matrix"
)

type passwordRequest struct {
	Auth          json.RawMessage `json:"auth"`
	NewPassword   string          `json:"new_password"`
	LogoutDevices *bool           `json:"logout_devices"`
}

// changePassword takes the old password of who is logged in, and of everybody
// the proof of an address.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword
func (s *Server) changePassword(ctx context.Context, who *caller, _ *http.Request, req passwordRequest) (httpx.None, error) {
	flows := [][]string{{account.StageEmail}}
	if who.User != "" {
		flows = [][]string{{account.StagePassword}, {account.StageEmail}}
	}
	proof, err := s.Accounts.Prove(ctx, account.Challenge{
		Operation: account.OpPassword, User: who.User, Flows: flows, Source: who.addr}, req.Auth)
	if err != nil {
		return httpx.None{}, err
	}
	if who.User != "" && proof.User != who.User {
		return httpx.None{}, matrix.Forbidden("The proof is that of another account")
	}
	all := req.LogoutDevices == nil || *req.LogoutDevices
	return httpx.None{}, s.Accounts.ChangePassword(ctx, proof, req.NewPassword, all, who.Device)
}
