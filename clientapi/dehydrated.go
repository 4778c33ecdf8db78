package clientapi

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/e2ee"
	"beffroi/internal/httpx"
	"beffroi/matrix"
)

// dehydratedPath is where clients leave a device that collects messages.
const dehydratedPath = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"

type dehydratedID struct {
	Device matrix.DeviceID `json:"device_id"`
}

// https://github.com/matrix-org/matrix-spec-proposals/pull/3814
func (s *Server) dehydrate(ctx context.Context, who *caller, _ *http.Request, d e2ee.Dehydration) (dehydratedID, error) {
	return dehydratedID{d.Device}, s.Keys.Dehydrate(ctx, who.User, d)
}

// https://github.com/matrix-org/matrix-spec-proposals/pull/3814
func (s *Server) dehydrated(ctx context.Context, who *caller, _ *http.Request, _ httpx.None) (e2ee.Dehydrated, error) {
	return s.Keys.Dehydrated(ctx, who.User)
}

// https://github.com/matrix-org/matrix-spec-proposals/pull/3814
func (s *Server) removeDehydrated(ctx context.Context, who *caller, _ *http.Request, _ httpx.None) (dehydratedID, error) {
	id, err := s.Keys.RemoveDehydrated(ctx, who.User)
	return dehydratedID{id}, err
}

type dehydratedEvents struct {
	Events    []dehydratedEvent `json:"events"`
	NextBatch string            `json:"next_batch,omitempty"`
}

type dehydratedEvent struct {
	Content json.RawMessage `json:"content"`
	Sender  matrix.UserID   `json:"sender"`
	Type    string          `json:"type"`
}

// dehydratedEventsGet answers in the newer form: there is a token where there
// is more.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3814
func (s *Server) dehydratedEventsGet(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (dehydratedEvents, error) {
	out, more, err := s.dehydratedEvents(ctx, who, deviceID(r), r.URL.Query().Get("from"))
	if !more {
		out.NextBatch = ""
	}
	return out, err
}

// dehydratedEventsPost answers in the older form: there is always a token, and
// the client asks until it gets no event.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3814
func (s *Server) dehydratedEventsPost(ctx context.Context, who *caller, r *http.Request, in struct {
	NextBatch string `json:"next_batch"`
}) (dehydratedEvents, error) {
	out, _, err := s.dehydratedEvents(ctx, who, deviceID(r), in.NextBatch)
	return out, err
}

func (s *Server) dehydratedEvents(ctx context.Context, who *caller, id matrix.DeviceID, from string) (out dehydratedEvents, more bool, err error) {
	out.Events = []dehydratedEvent{}
	list, next, more, err := s.Keys.DehydratedEvents(ctx, who.User, id, from)
	for _, m := range list {
		out.Events = append(out.Events, dehydratedEvent{json.RawMessage(m.Content), m.Sender, m.Type})
	}
	out.NextBatch = next
	return out, more, err
}
