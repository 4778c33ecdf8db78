package clientapi

import (
	"context"
	"net/http"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/roomserver"
)

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3presenceuseridstatus
func (s *Server) presence(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (roomserver.Presence, error) {
	user, err := userID(r)
	if err != nil {
		return roomserver.Presence{}, err
	}
	shares, err := s.sharesRoom(r, who.User, user)
	if err != nil {
		return roomserver.Presence{}, err
	}
	if !shares {
		return roomserver.Presence{}, matrix.Forbidden("you share no room with %s", user)
	}
	now, known := s.Rooms.PresenceOf(user)
	if !known && user.Server() != s.ServerName {
		return now, matrix.NotFound("nothing is known of %s", user)
	}
	return now, nil
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3presenceuseridstatus
func (s *Server) setPresence(ctx context.Context, who *caller, _ *http.Request, req struct {
	Presence *string `json:"presence"`
	Status   *string `json:"status_msg"`
}) (httpx.None, error) {
	if req.Presence == nil {
		return httpx.None{}, matrix.MissingParam("presence is missing")
	}
	status := ""
	if req.Status != nil {
		status = *req.Status
	}
	return httpx.None{}, s.Rooms.SetPresence(ctx, who.User, *req.Presence, &status)
}
