package clientapi

import (
	"context"
	"net/http"
	"slices"

	"beffroi/internal/httpx"
	"beffroi/matrix"
)

// maxMutual bounds the rooms of one answer.
const maxMutual = 500

type mutualResponse struct {
	Joined    []matrix.RoomID `json:"joined"`
	Count     int             `json:"count"`
	NextBatch string          `json:"next_batch,omitempty"`
}

// mutualRooms lists the rooms that the caller shares with a user, in the order
// of their IDs: the token of a batch is the ID before it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms
func (s *Server) mutualRooms(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (mutualResponse, error) {
	user, err := matrix.ParseUserID(r.URL.Query().Get("user_id"))
	if err != nil {
		return mutualResponse{}, err
	}
	if user == who.User || !user.Compliant() {
		return mutualResponse{}, matrix.InvalidParam("user_id must be another user's")
	}
	after := r.URL.Query().Get("from")
	if after != "" {
		if _, err := matrix.ParseRoomID(after); err != nil {
			return mutualResponse{}, matrix.InvalidParam("from is no token of this server")
		}
	}
	shared, err := s.sharedRooms(ctx, who.User, user)
	if err != nil {
		return mutualResponse{}, err
	}
	out := mutualResponse{Count: len(shared), Joined: []matrix.RoomID{}}
	begin, found := slices.BinarySearch(shared, matrix.RoomID(after))
	if found {
		begin++
	}
	out.Joined = append(out.Joined, shared[begin:min(begin+maxMutual, len(shared))]...)
	if begin+maxMutual < len(shared) {
		out.NextBatch = string(out.Joined[maxMutual-1])
	}
	return out, nil
}

// sharedRooms returns the rooms that two users have joined, in the order of
// their IDs.
func (s *Server) sharedRooms(ctx context.Context, a, b matrix.UserID) ([]matrix.RoomID, error) {
	mine, err := s.Rooms.JoinedRooms(ctx, a)
	if err != nil || len(mine) == 0 {
		return nil, err
	}
	theirs, err := s.Rooms.JoinedRooms(ctx, b)
	if err != nil {
		return nil, err
	}
	slices.Sort(mine)
	return slices.DeleteFunc(mine, func(id matrix.RoomID) bool { return !slices.Contains(theirs, id) }), nil
}
