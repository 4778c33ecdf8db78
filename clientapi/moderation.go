package clientapi

import (
	"context"
	"net/http"

	"beffroi/internal/httpx"
	"beffroi/matrix"
)

type lockedAnswer struct {
	Locked *bool `json:"locked"`
}

type suspendedAnswer struct {
	Suspended *bool `json:"suspended"`
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminlockuserid
func (s *Server) locked(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (lockedAnswer, error) {
	user, err := s.governed(ctx, who, r)
	if err != nil {
		return lockedAnswer{}, err
	}
	u, err := s.Accounts.User(ctx, user)
	return lockedAnswer{&u.Locked}, err
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminlockuserid
func (s *Server) lock(ctx context.Context, who *caller, r *http.Request, req lockedAnswer) (lockedAnswer, error) {
	if req.Locked == nil {
		return req, matrix.MissingParam("locked is missing")
	}
	user, err := s.governed(ctx, who, r)
	if err != nil {
		return req, err
	}
	return req, s.Accounts.Lock(ctx, user, *req.Locked)
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminsuspenduserid
func (s *Server) suspended(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (suspendedAnswer, error) {
	user, err := s.governed(ctx, who, r)
	if err != nil {
		return suspendedAnswer{}, err
	}
	u, err := s.Accounts.User(ctx, user)
	return suspendedAnswer{&u.Suspended}, err
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminsuspenduserid
func (s *Server) suspend(ctx context.Context, who *caller, r *http.Request, req suspendedAnswer) (suspendedAnswer, error) {
	if req.Suspended == nil {
		return req, matrix.MissingParam("suspended is missing")
	}
	user, err := s.governed(ctx, who, r)
	if err != nil {
		return req, err
	}
	return req, s.Accounts.Suspend(ctx, user, *req.Suspended)
}

// governed returns the account that the path names, if an administrator may
// govern it: it is of this server, and no administrator's, the caller included.
func (s *Server) governed(ctx context.Context, who *caller, r *http.Request) (matrix.UserID, error) {
	user, err := userID(r)
	if err != nil {
		return "", err
	}
	if !s.local(user) {
		return "", matrix.InvalidParam("%s is not an account of this server", user)
	}
	u, err := s.Accounts.User(ctx, user)
	switch {
	case err != nil:
		return "", err
	case u.Deactivated:
		return "", matrix.NotFound("there is no account %s", user)
	case u.Admin || user == who.User:
		return "", matrix.Forbidden("An administrator does not govern administrators")
	}
	return user, nil
}

type connection struct {
	IP       string `json:"ip,omitempty"`
	LastSeen int64  `json:"last_seen,omitempty"`
}

// whois says where the sessions of an account were seen, to its owner and to
// administrators.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3adminwhoisuserid
func (s *Server) whois(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (map[string]any, error) {
	user, err := userID(r)
	if err != nil {
		return nil, err
	}
	if _, err := s.Accounts.User(ctx, user); err != nil {
		return nil, err
	}
	list, err := s.Accounts.Devices(ctx, user)
	devices := make(map[matrix.DeviceID]any, len(list))
	for _, d := range list {
		devices[d.ID] = map[string]any{"sessions": []any{
			map[string]any{"connections": []connection{{d.SeenIP, d.Seen}}}}}
	}
	return map[string]any{"user_id": user, "devices": devices}, err
}
