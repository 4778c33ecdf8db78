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

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid
func (s *Server) receipt(ctx context.Context, who *caller, r *http.Request, req struct {
	ThreadID *string `json:"thread_id"`
}) (httpx.None, error) {
	room, id, err := roomAndEvent(r)
	if err != nil {
		return httpx.None{}, err
	}
	typ := r.PathValue("receiptType")
	if typ != account.TypeFullyRead {
		return httpx.None{}, s.Rooms.SetReceipt(ctx, roomserver.ReceiptRequest{
			User: who.User, Room: room, Type: typ, Thread: req.ThreadID, Event: id})
	}
	if req.ThreadID != nil {
		return httpx.None{}, matrix.InvalidParam("%s has no thread", typ)
	}
	return httpx.None{}, s.setFullyRead(ctx, who, room, id)
}

// setFullyRead stores up to where a user has read everything.
//
// https://spec.matrix.org/v1.19/client-server-api/#fully-read-markers
func (s *Server) setFullyRead(ctx context.Context, who *caller, room matrix.RoomID, id matrix.EventID) error {
	if _, err := s.Rooms.Event(ctx, who.User, who.Device, room, id); err != nil {
		return err
	}
	content, err := json.Marshal(eventIDResponse{id})
	if err != nil {
		return err
	}
	return s.Accounts.SetManagedData(ctx, who.User, room, account.TypeFullyRead, content)
}

type readMarkersRequest struct {
	FullyRead string `json:"m.fully_read"`
	Read      string `json:"m.read"`
	Private   string `json:"m.read.private"`
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers
func (s *Server) readMarkers(ctx context.Context, who *caller, r *http.Request, req readMarkersRequest) (httpx.None, error) {
	room, err := roomID(r)
	if err != nil {
		return httpx.None{}, err
	}
	for _, marker := range []struct{ typ, event string }{
		{account.TypeFullyRead, req.FullyRead}, {"m.read", req.Read}, {"m.read.private", req.Private},
	} {
		if marker.event == "" {
			continue
		}
		id, err := matrix.ParseEventID(marker.event)
		if err != nil {
			return httpx.None{}, err
		}
		if marker.typ == account.TypeFullyRead {
			err = s.setFullyRead(ctx, who, room, id)
		} else {
			err = s.Rooms.SetReceipt(ctx, roomserver.ReceiptRequest{User: who.User, Room: room, Type: marker.typ, Event: id})
		}
		if err != nil {
			return httpx.None{}, err
		}
	}
	return httpx.None{}, nil
}
