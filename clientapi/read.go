package clientapi

import (
	"context"
	"net/http"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/roomserver"
)

// maxPage bounds the events of one answer, whatever a client asks for.
const maxPage = 500

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
func (s *Server) messages(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	room, err := roomID(r)
	if err != nil {
		return nil, err
	}
	req := roomserver.MessagesRequest{User: who.User, Device: who.Device, Room: room}
	dir, err := httpx.QueryEnum(r, "dir", "", "f", "b")
	if err != nil {
		return nil, err
	}
	if dir == "" {
		return nil, matrix.MissingParam("dir must be f or b")
	}
	req.Backwards = dir == "b"
	if req.Limit, err = httpx.QueryLimit(r, "limit", 0, maxPage); err != nil {
		return nil, err
	}
	if req.Filter, err = roomserver.ParseFilter([]byte(r.URL.Query().Get("filter"))); err != nil {
		return nil, err
	}
	if from := r.URL.Query().Get("from"); from != "" {
		pos, err := roomserver.ParseToken(from)
		if err != nil {
			return nil, err
		}
		req.From = &pos
	}
	if to := r.URL.Query().Get("to"); to != "" {
		pos, err := roomserver.ParseToken(to)
		if err != nil {
			return nil, err
		}
		req.To = &pos
	}
	page, err := s.Rooms.Messages(ctx, req)
	return rawPage(page), err
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid
func (s *Server) event(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	room, id, err := roomAndEvent(r)
	if err != nil {
		return nil, err
	}
	event, err := s.Rooms.Event(ctx, who.User, who.Device, room, id)
	return httpx.Raw(event), err
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid
func (s *Server) eventContext(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	room, id, err := roomAndEvent(r)
	if err != nil {
		return nil, err
	}
	limit, err := httpx.QueryLimit(r, "limit", 10, maxPage)
	if err != nil {
		return nil, err
	}
	filter, err := roomserver.ParseFilter([]byte(r.URL.Query().Get("filter")))
	if err != nil {
		return nil, err
	}
	around, err := s.Rooms.Context(ctx, roomserver.ContextRequest{
		User: who.User, Device: who.Device, Room: room, Event: id, Limit: &limit, Filter: filter})
	return rawSurroundings(around), err
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate
func (s *Server) state(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	room, err := roomID(r)
	if err != nil {
		return nil, err
	}
	list, err := s.Rooms.State(ctx, who.User, room)
	return rawList(list), err
}

// orNone makes an empty list of an absent one, which would be rendered as null.
func orNone[T any](list []T, err error) ([]T, error) {
	if list == nil {
		list = []T{}
	}
	return list, err
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey
func (s *Server) stateEvent(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	room, err := roomID(r)
	if err != nil {
		return nil, err
	}
	format, err := httpx.QueryEnum(r, "format", "content", "content", "event")
	if err != nil {
		return nil, err
	}
	event, err := s.Rooms.StateEvent(ctx, who.User, room, r.PathValue("type"), r.PathValue("stateKey"), format == "event")
	return httpx.Raw(event), err
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers
func (s *Server) members(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	room, err := roomID(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	req := roomserver.MembersRequest{User: who.User, Room: room, Membership: q.Get("membership"), NotMembership: q.Get("not_membership")}
	if at := q.Get("at"); at != "" {
		pos, err := roomserver.ParseToken(at)
		if err != nil {
			return nil, err
		}
		req.At = &pos
	}
	list, err := s.Rooms.Members(ctx, req)
	return rawChunk(list), err
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members
func (s *Server) joinedMembers(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (map[string]any, error) {
	room, err := roomID(r)
	if err != nil {
		return nil, err
	}
	joined, err := s.Rooms.JoinedMembers(ctx, who.User, room)
	return map[string]any{"joined": joined}, err
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms
func (s *Server) joinedRooms(ctx context.Context, who *caller, _ *http.Request, _ httpx.None) (map[string][]matrix.RoomID, error) {
	list, err := orNone(s.Rooms.JoinedRooms(ctx, who.User))
	return map[string][]matrix.RoomID{"joined_rooms": list}, err
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget
func (s *Server) forget(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.None, error) {
	room, err := roomID(r)
	if err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Rooms.Forget(ctx, who.User, room)
}
