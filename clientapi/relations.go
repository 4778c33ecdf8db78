package clientapi

import (
	"context"
	"net/http"
	"strconv"

	"beffroi/internal/httpx"
	"beffroi/matrix/canonicaljson"
	"beffroi/roomserver"
)

// relations answers with the events that relate to one: all, those of a
// relation, or those of a relation and a type.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltype
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventidreltypeeventtype
func (s *Server) relations(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	room, id, err := roomAndEvent(r)
	if err != nil {
		return nil, err
	}
	req := roomserver.RelationsRequest{User: who.User, Device: who.Device, Room: room, Event: id,
		RelType: r.PathValue("relType"), Type: r.PathValue("type")}
	dir, err := httpx.QueryEnum(r, "dir", "b", "f", "b")
	if err != nil {
		return nil, err
	}
	req.Forwards = dir == "f"
	if req.Recurse, err = httpx.QueryBool(r, "recurse", false); err != nil {
		return nil, err
	}
	if req.Limit, err = httpx.QueryLimit(r, "limit", 0, maxPage); err != nil {
		return nil, err
	}
	if req.From, err = roomserver.ParsePlace(r.URL.Query().Get("from")); err != nil {
		return nil, err
	}
	if req.To, err = roomserver.ParsePlace(r.URL.Query().Get("to")); err != nil {
		return nil, err
	}
	found, err := s.Rooms.Relations(ctx, req)
	if err != nil {
		return nil, err
	}
	out := appendList([]byte(`{"chunk":`), found.Chunk)
	out = appendToken(out, "next_batch", found.Next)
	out = appendToken(out, "prev_batch", found.Previous)
	if req.Recurse {
		out = strconv.AppendInt(append(out, `,"recursion_depth":`...), int64(found.Recursion), 10)
	}
	return append(out, '}'), nil
}

// appendToken adds a token to an unfinished object, if there is one.
func appendToken(dst []byte, name, token string) []byte {
	if token == "" {
		return dst
	}
	dst = append(canonicaljson.AppendString(append(dst, ','), name), ':')
	return canonicaljson.AppendString(dst, token)
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads
func (s *Server) threads(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	room, err := roomID(r)
	if err != nil {
		return nil, err
	}
	req := roomserver.ThreadsRequest{User: who.User, Device: who.Device, Room: room}
	include, err := httpx.QueryEnum(r, "include", "all", "all", "participated")
	if err != nil {
		return nil, err
	}
	req.Participated = include == "participated"
	if req.Limit, err = httpx.QueryLimit(r, "limit", 0, maxPage); err != nil {
		return nil, err
	}
	if req.From, err = roomserver.ParsePlace(r.URL.Query().Get("from")); err != nil {
		return nil, err
	}
	chunk, next, err := s.Rooms.Threads(ctx, req)
	if err != nil {
		return nil, err
	}
	return append(appendToken(appendList([]byte(`{"chunk":`), chunk), "next_batch", next), '}'), nil
}
