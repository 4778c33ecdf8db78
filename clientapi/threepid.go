package clientapi

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/account"
	"beffroi/internal/httpx"
	"beffroi/matrix"
)

type threepid struct {
	Medium      string `json:"medium"`
	Address     string `json:"address"`
	ValidatedAt int64  `json:"validated_at"`
	AddedAt     int64  `json:"added_at"`
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid
func (s *Server) threepids(ctx context.Context, who *caller, _ *http.Request, _ httpx.None) (map[string][]threepid, error) {
	list, err := s.Accounts.Emails(ctx, who.User)
	out := make([]threepid, 0, len(list))
	for _, t := range list {
		out = append(out, threepid{t.Medium, t.Address, t.Validated, t.Added})
	}
	return map[string][]threepid{"threepids": out}, err
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidemailrequesttoken
func (s *Server) contactEmail(ctx context.Context, who *caller, r *http.Request, req tokenRequest) (tokenResponse, error) {
	return s.requestEmail(ctx, who, r, req, account.ForContact)
}

// opAddThreepid is the operation that a password is asked for before an
// address is added: who gets its mail can have the account.
const opAddThreepid = "add_threepid"

type addThreepidRequest struct {
	Auth         json.RawMessage `json:"auth"`
	ClientSecret string          `json:"client_secret"`
	SID          string          `json:"sid"`
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidadd
func (s *Server) addThreepid(ctx context.Context, who *caller, _ *http.Request, req addThreepidRequest) (httpx.None, error) {
	if req.ClientSecret == "" || req.SID == "" {
		return httpx.None{}, matrix.MissingParam("client_secret and sid are needed")
	}
	if !storable(req.SID) {
		return httpx.None{}, matrix.InvalidParam("sid has a NUL")
	}
	proof, err := s.prove(ctx, who, opAddThreepid, req.SID, req.Auth)
	if err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Accounts.AddEmail(ctx, who.User, req.SID, req.ClientSecret, proof)
}

type identityServerRequest struct {
	Creds    json.RawMessage `json:"three_pid_creds"`
	IDServer string          `json:"id_server"`
	Medium   string          `json:"medium"`
	Address  string          `json:"address"`
}

// noIdentityServer refuses what old clients have an identity server prove:
// this server proves addresses itself, and believes nobody else.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pid
func (s *Server) noIdentityServer(_ context.Context, _ *caller, _ *http.Request, req identityServerRequest) (httpx.None, error) {
	if len(req.Creds) == 0 {
		return httpx.None{}, matrix.MissingParam("three_pid_creds is missing")
	}
	return httpx.None{}, matrix.NewError(http.StatusForbidden, "M_THREEPID_AUTH_FAILED", "This server trusts no identity server; use /account/3pid/add")
}

// bindThreepid refuses to tell an identity server who has which address.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidbind
func (s *Server) bindThreepid(_ context.Context, _ *caller, _ *http.Request, req identityServerRequest) (httpx.None, error) {
	if req.IDServer == "" {
		return httpx.None{}, matrix.MissingParam("id_server is missing")
	}
	return httpx.None{}, matrix.NewError(http.StatusForbidden, "M_SERVER_NOT_TRUSTED", "This server trusts no identity server")
}

type unbound struct {
	Result string `json:"id_server_unbind_result"`
}

// notBound is what became of an address at an identity server: nothing, since
// none was told of it.
var notBound = unbound{"no-support"}

func (req *identityServerRequest) named() error {
	if req.Medium == "" || req.Address == "" {
		return matrix.MissingParam("medium and address are needed")
	}
	return nil
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3piddelete
func (s *Server) deleteThreepid(ctx context.Context, who *caller, _ *http.Request, req identityServerRequest) (unbound, error) {
	if err := req.named(); err != nil {
		return unbound{}, err
	}
	if req.Medium != "email" { // nobody has another
		return notBound, nil
	}
	return notBound, s.Accounts.RemoveEmail(ctx, who.User, req.Address)
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidunbind
func (s *Server) unbindThreepid(_ context.Context, _ *caller, _ *http.Request, req identityServerRequest) (unbound, error) {
	return notBound, req.named()
}
