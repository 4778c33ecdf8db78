package clientapi

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/account"
	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/roomserver"
)

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid
func (s *Server) profile(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (map[string]json.RawMessage, error) {
	user, err := userID(r)
	if err != nil {
		return nil, err
	}
	return s.readProfile(ctx, user, "")
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname
func (s *Server) profileField(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (map[string]json.RawMessage, error) {
	user, err := userID(r)
	if err != nil {
		return nil, err
	}
	field := r.PathValue("field")
	all, err := s.readProfile(ctx, user, field)
	if err != nil {
		return nil, err
	}
	value, ok := all[field]
	if !ok {
		return nil, matrix.NotFound("%s has no %s", user, field)
	}
	return map[string]json.RawMessage{field: value}, nil
}

// readProfile returns the profile of a user of this or another server; only a
// field of it is needed, unless that is "".
func (s *Server) readProfile(ctx context.Context, user matrix.UserID, field string) (map[string]json.RawMessage, error) {
	if s.local(user) {
		return s.Accounts.Profile(ctx, user)
	}
	return s.Remote.QueryProfile(ctx, user.Server(), user, field)
}

// setProfileField changes one field. A follower of the log writes a new name or
// avatar into the memberships of the caller.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname
func (s *Server) setProfileField(ctx context.Context, who *caller, r *http.Request, body map[string]json.RawMessage) (httpx.None, error) {
	field := r.PathValue("field")
	value, ok := body[field]
	if !ok {
		return httpx.None{}, matrix.MissingParam("the body has no %s", field)
	}
	return httpx.None{}, s.Accounts.SetProfileField(ctx, who.User, field, value)
}

// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname
func (s *Server) deleteProfileField(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.None, error) {
	return httpx.None{}, s.Accounts.SetProfileField(ctx, who.User, r.PathValue("field"), nil)
}

// membershipProfile returns what the memberships of an account say of it. A
// user of another server says it for itself.
func (s *Server) membershipProfile(ctx context.Context, user matrix.UserID) (p roomserver.Profile, err error) {
	if !s.local(user) {
		return p, nil
	}
	fields, err := s.Accounts.Profile(ctx, user)
	switch {
	case matrix.IsCode(err, "M_NOT_FOUND"):
		return p, nil // whoever is invited need not exist
	case err != nil:
		return p, err
	}
	p.DisplayName, p.AvatarURL = text(fields[account.FieldDisplayName]), text(fields[account.FieldAvatarURL])
	return p, nil
}

// text returns the string that a JSON value is, "" for anything else.
func text(raw json.RawMessage) (s string) {
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// local reports whether an account is of this server.
func (s *Server) local(user matrix.UserID) bool { return user.Server() == s.ServerName }
