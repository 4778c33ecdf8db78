package clientapi

import (
	"context"
	"net/http"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/syncapi"
)

const (
	threadPath  = "/_matrix/client/unstable/io.element.msc4306/rooms/{roomID}/thread/{eventID}/subscription"
	threadsPath = "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions"
)

type threadSubscription struct {
	Automatic bool `json:"automatic"`
}

func threadRequest(who *caller, r *http.Request) (roomserver.ThreadRequest, error) {
	room, root, err := roomAndEvent(r)
	return roomserver.ThreadRequest{User: who.User, Room: room, Root: root}, err
}

// https://github.com/matrix-org/matrix-spec-proposals/pull/4306
func (s *Server) followThread(ctx context.Context, who *caller, r *http.Request, in struct {
	Automatic *string `json:"automatic"`
}) (httpx.None, error) {
	req, err := threadRequest(who, r)
	if err != nil {
		return httpx.None{}, err
	}
	if in.Automatic != nil {
		if req.Because, err = matrix.ParseEventID(*in.Automatic); err != nil {
			return httpx.None{}, err
		}
	}
	return httpx.None{}, s.Rooms.FollowThread(ctx, req)
}

// https://github.com/matrix-org/matrix-spec-proposals/pull/4306
func (s *Server) leaveThread(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.None, error) {
	req, err := threadRequest(who, r)
	if err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Rooms.LeaveThread(ctx, req)
}

// https://github.com/matrix-org/matrix-spec-proposals/pull/4306
func (s *Server) followsThread(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (threadSubscription, error) {
	req, err := threadRequest(who, r)
	if err != nil {
		return threadSubscription{}, err
	}
	automatic, err := s.Rooms.FollowsThread(ctx, req)
	return threadSubscription{automatic}, err
}

// https://github.com/matrix-org/matrix-spec-proposals/pull/4308
func (s *Server) threadSubscriptions(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (syncapi.ThreadPage, error) {
	if dir := r.URL.Query().Get("dir"); dir != "b" {
		return syncapi.ThreadPage{}, matrix.InvalidParam("dir must be b")
	}
	limit, err := httpx.QueryInt(r, "limit", 100, 1, 1<<31)
	if err != nil {
		return syncapi.ThreadPage{}, err
	}
	return s.Sync.Threads(ctx, who.User, r.URL.Query().Get("from"), r.URL.Query().Get("to"), int(limit))
}
