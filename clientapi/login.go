package clientapi

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/account"
	"beffroi/internal/httpx"
	"beffroi/matrix"
)

// The types of logins.
//
// https://spec.matrix.org/v1.19/client-server-api/#login
const (
	loginPassword = "m.login.password"
	loginToken    = "m.login.token"
)

type loginFlow struct {
	Type     string `json:"type"`
	GetToken bool   `json:"get_login_token,omitempty"`
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login
func (s *Server) loginFlows(context.Context, *caller, *http.Request, httpx.None) (map[string][]loginFlow, error) {
	return map[string][]loginFlow{"flows": {{Type: loginPassword}, {Type: loginToken, GetToken: true}}}, nil
}

type loginRequest struct {
	Type       string              `json:"type"`
	Identifier *account.Identifier `json:"identifier"`
	Password   *string             `json:"password"`
	Token      string              `json:"token"`
	Refresh    bool                `json:"refresh_token"`
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
	Refresh     string            `json:"refresh_token,omitempty"`
	ExpiresInMS int64             `json:"expires_in_ms,omitempty"`
	HomeServer  matrix.ServerName `json:"home_server"`
	WellKnown   map[string]any    `json:"well_known,omitempty"`
}

func (s *Server) loggedIn(l account.Login) loginResponse {
	return loginResponse{UserID: l.User, AccessToken: l.Token, DeviceID: l.Device, Refresh: l.Refresh,
		ExpiresInMS: l.Lifetime.Milliseconds(), HomeServer: s.ServerName}
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login
func (s *Server) login(ctx context.Context, who *caller, _ *http.Request, req loginRequest) (loginResponse, error) {
	done, err := s.logIn(ctx, who, &req)
	if err != nil {
		return loginResponse{}, err
	}
	out := s.loggedIn(done)
	if s.PublicURL != "" {
		out.WellKnown = map[string]any{"m.homeserver": map[string]string{"base_url": s.PublicURL}}
	}
	return out, nil
}

func (s *Server) logIn(ctx context.Context, who *caller, req *loginRequest) (account.Login, error) {
	client := account.Client{DeviceID: req.DeviceID, DisplayName: req.DeviceName, Source: who.addr, Refresh: req.Refresh}
	switch req.Type {
	case loginPassword:
		id := req.identifier()
		if req.Password == nil || id.Type == account.IdentifierUser && id.User == "" {
			return account.Login{}, matrix.MissingParam("identifier and password are needed")
		}
		return s.Accounts.LoginByPassword(ctx, id, *req.Password, client)
	case loginToken:
		if req.Token == "" {
			return account.Login{}, matrix.MissingParam("token is missing")
		}
		return s.Accounts.LoginByToken(ctx, req.Token, client)
	case "":
		return account.Login{}, matrix.MissingParam("the type of the login is missing")
	}
	return account.Login{}, matrix.NewError(http.StatusBadRequest, "M_UNKNOWN", "This server has no login of that type")
}

type refreshRequest struct {
	RefreshToken string `json:"refresh_token"`
}

type refreshResponse struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresInMS  int64  `json:"expires_in_ms"`
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh
func (s *Server) refresh(ctx context.Context, _ *caller, _ *http.Request, req refreshRequest) (refreshResponse, error) {
	l, err := s.Accounts.Refresh(ctx, req.RefreshToken)
	return refreshResponse{l.Token, l.Refresh, l.Lifetime.Milliseconds()}, err
}

type authRequest struct {
	Auth json.RawMessage `json:"auth"`
}

type loginTokenResponse struct {
	LoginToken  string `json:"login_token"`
	ExpiresInMS int64  `json:"expires_in_ms"`
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token
func (s *Server) loginToken(ctx context.Context, who *caller, _ *http.Request, req authRequest) (loginTokenResponse, error) {
	if err := s.limits.take(s.Now(), tokens, who); err != nil {
		return loginTokenResponse{}, err
	}
	proof, err := s.prove(ctx, who, account.OpLoginToken, "", req.Auth)
	if err != nil {
		return loginTokenResponse{}, err
	}
	token, lifetime, err := s.Accounts.LoginToken(ctx, who.User, proof)
	return loginTokenResponse{token, lifetime.Milliseconds()}, err
}

type openIDResponse struct {
	AccessToken string            `json:"access_token"`
	TokenType   string            `json:"token_type"`
	ServerName  matrix.ServerName `json:"matrix_server_name"`
	ExpiresIn   int64             `json:"expires_in"` // seconds
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token
func (s *Server) openIDToken(ctx context.Context, who *caller, _ *http.Request, _ json.RawMessage) (openIDResponse, error) {
	if err := s.limits.take(s.Now(), tokens, who); err != nil {
		return openIDResponse{}, err
	}
	token, lifetime, err := s.Accounts.OpenIDToken(ctx, who.User)
	return openIDResponse{token, "Bearer", s.ServerName, int64(lifetime.Seconds())}, err
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
