package clientapi

import (
	"context"
	"net/http"

	"beffroi/account"
	"beffroi/internal/httpx"
	"beffroi/matrix"
)

const loginPassword = "m.login.password"

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login
func (s *Server) loginFlows(context.Context, *caller, *http.Request, httpx.None) (map[string]any, error) {
	return map[string]any{"flows": []map[string]string{{"type": loginPassword}}}, nil
}

type loginRequest struct {
	Type       string              `json:"type"`
	Identifier *account.Identifier `json:"identifier"`
	Password   string              `json:"password"`
	DeviceID   matrix.DeviceID     `json:"device_id"`
	DeviceName string              `json:"initial_device_display_name"`

	// What stood here before there were identifiers.
	User    string `json:"user"`
	Medium  string `json:"medium"`
	Address string `json:"address"`
}

// identifier returns who the client says it is, in the one form or the other.
func (req *loginRequest) identifier() account.Identifier {
	switch {
	case req.Identifier != nil:
		return *req.Identifier
	case req.Medium != "" || req.Address != "":
		return account.Identifier{Type: account.IdentifierOther, Medium: req.Medium, Address: req.Address}
	}
	return account.Identifier{Type: account.IdentifierUser, User: req.User}
}

type loginResponse struct {
	UserID      matrix.UserID     `json:"user_id"`
	AccessToken string            `json:"access_token,omitempty"`
	DeviceID    matrix.DeviceID   `json:"device_id,omitempty"`
	HomeServer  matrix.ServerName `json:"home_server"`
	WellKnown   map[string]any    `json:"well_known,omitempty"`
}

func (s *Server) loggedIn(l account.Login) loginResponse {
	return loginResponse{UserID: l.User, AccessToken: l.Token, DeviceID: l.Device, HomeServer: s.ServerName}
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login
func (s *Server) login(ctx context.Context, who *caller, _ *http.Request, req loginRequest) (loginResponse, error) {
	switch req.Type {
	case loginPassword:
	case "":
		return loginResponse{}, matrix.MissingParam("the type of the login is missing")
	default:
		return loginResponse{}, matrix.NewError(http.StatusBadRequest, "M_UNKNOWN", "This server has no login of that type")
	}
	done, err := s.Accounts.LoginByPassword(ctx, req.identifier(), req.Password,
		account.Client{DeviceID: req.DeviceID, DisplayName: req.DeviceName, Source: who.addr})
	if err != nil {
		return loginResponse{}, err
	}
	out := s.loggedIn(done)
	if s.PublicURL != "" {
		out.WellKnown = map[string]any{"m.homeserver": map[string]string{"base_url": s.PublicURL}}
	}
	return out, nil
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout
func (s *Server) logout(ctx context.Context, who *caller, _ *http.Request, _ httpx.None) (httpx.None, error) {
	return httpx.None{}, s.Accounts.Logout(ctx, who.Session)
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall
func (s *Server) logoutAll(ctx context.Context, who *caller, _ *http.Request, _ httpx.None) (httpx.None, error) {
	return httpx.None{}, s.Accounts.LogoutAll(ctx, who.User)
}

type whoamiResponse struct {
	UserID   matrix.UserID   `json:"user_id"`
	DeviceID matrix.DeviceID `json:"device_id,omitempty"`
	IsGuest  bool            `json:"is_guest"`
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami
func (s *Server) whoami(_ context.Context, who *caller, _ *http.Request, _ httpx.None) (whoamiResponse, error) {
	return whoamiResponse{who.User, who.Device, who.Guest}, nil
}
