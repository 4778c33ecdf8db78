package clientapi

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/account"
	"beffroi/internal/httpx"
	"beffroi/matrix"
)

type registerRequest struct {
	Auth         json.RawMessage `json:"auth"`
	Username     string          `json:"username"`
	Password     string          `json:"password"`
	DeviceID     matrix.DeviceID `json:"device_id"`
	DeviceName   string          `json:"initial_device_display_name"`
	InhibitLogin bool            `json:"inhibit_login"`
	Refresh      bool            `json:"refresh_token"`
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
func (s *Server) register(ctx context.Context, who *caller, r *http.Request, req registerRequest) (loginResponse, error) {
	kind, err := httpx.QueryEnum(r, "kind", "user", "user", "guest")
	if err != nil {
		return loginResponse{}, err
	}
	if kind == "guest" {
		return loginResponse{}, matrix.NewError(http.StatusForbidden, "M_GUEST_ACCESS_FORBIDDEN", "This server has no guests")
	}
	done, err := s.Accounts.Register(ctx, account.Registration{
		Username: req.Username, Password: req.Password, InhibitLogin: req.InhibitLogin,
		Client: account.Client{DeviceID: req.DeviceID, DisplayName: req.DeviceName, Source: who.addr, Refresh: req.Refresh},
	}, req.Auth)
	return s.loggedIn(done), err
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable
func (s *Server) registerAvailable(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (map[string]bool, error) {
	name, err := httpx.QueryRequired(r, "username")
	if err != nil {
		return nil, err
	}
	return map[string]bool{"available": true}, s.Accounts.Available(ctx, name)
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity
func (s *Server) registrationToken(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (map[string]bool, error) {
	token, err := httpx.QueryRequired(r, "token")
	if err != nil {
		return nil, err
	}
	if err := s.limits.take(s.Now(), guessing, who); err != nil {
		return nil, err
	}
	valid, err := s.Accounts.ValidRegistrationToken(ctx, token)
	return map[string]bool{"valid": valid}, err
}

// registrationNonce begins a registration by shared secret. Where there is no
// secret the path is unknown.
func (s *Server) registrationNonce(context.Context, *caller, *http.Request, httpx.None) (map[string]string, error) {
	nonce, err := s.Accounts.RegistrationNonce()
	return map[string]string{"nonce": nonce}, err
}

func (s *Server) registerBySecret(ctx context.Context, who *caller, _ *http.Request, req account.SecretRegistration) (loginResponse, error) {
	done, err := s.Accounts.RegisterBySecret(ctx, req, account.Client{Source: who.addr})
	return s.loggedIn(done), err
}

type tokenRequest struct {
	ClientSecret string `json:"client_secret"`
	Email        string `json:"email"`
	SendAttempt  int64  `json:"send_attempt"`
	NextLink     string `json:"next_link"`
}

type tokenResponse struct {
	SID       string `json:"sid"`
	SubmitURL string `json:"submit_url,omitempty"`
}

// requestEmail sends a mail that proves an address for a purpose.
func (s *Server) requestEmail(ctx context.Context, who *caller, r *http.Request, req tokenRequest, p account.Purpose) (tokenResponse, error) {
	if req.ClientSecret == "" || req.Email == "" {
		return tokenResponse{}, matrix.MissingParam("client_secret and email are needed")
	}
	sid, err := s.Accounts.RequestEmail(ctx, account.EmailRequest{
		Purpose: p, User: who.User, Address: req.Email, Secret: req.ClientSecret, Attempt: req.SendAttempt,
		NextLink: req.NextLink, Language: r.Header.Get("Accept-Language"), Source: who.addr,
	})
	if err != nil {
		return tokenResponse{}, err
	}
	return tokenResponse{sid, s.PublicURL + submitTokenPath}, nil
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registeremailrequesttoken
func (s *Server) registerEmail(ctx context.Context, who *caller, r *http.Request, req tokenRequest) (tokenResponse, error) {
	return s.requestEmail(ctx, who, r, req, account.ForRegistration)
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpasswordemailrequesttoken
func (s *Server) passwordEmail(ctx context.Context, who *caller, r *http.Request, req tokenRequest) (tokenResponse, error) {
	return s.requestEmail(ctx, who, r, req, account.ForPassword)
}

// noPhone refuses phone numbers: this server has no text messages.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registermsisdnrequesttoken
func (s *Server) noPhone(context.Context, *caller, *http.Request, httpx.None) (httpx.None, error) {
	return httpx.None{}, matrix.NewError(http.StatusBadRequest, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "This server sends no text messages")
}

// submitTokenPath is where a client hands in the code of a mail.
const submitTokenPath = "/_beffroi/client/v1/email/submit_token"

type submitRequest struct {
	SID          string `json:"sid"`
	ClientSecret string `json:"client_secret"`
	Token        string `json:"token"`
}

// https://spec.matrix.org/v1.19/identity-service-api/#post_matrixidentityv2validateemailsubmittoken
func (s *Server) submitToken(ctx context.Context, _ *caller, _ *http.Request, req submitRequest) (map[string]bool, error) {
	if req.SID == "" || req.ClientSecret == "" || req.Token == "" {
		return nil, matrix.MissingParam("sid, client_secret and token are needed")
	}
	if !storable(req.SID) {
		return nil, matrix.InvalidParam("sid has a NUL")
	}
	_, err := s.Accounts.SubmitEmailCode(ctx, req.SID, req.ClientSecret, req.Token)
	return map[string]bool{"success": true}, err
}
