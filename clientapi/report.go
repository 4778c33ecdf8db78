package clientapi

import (
	"context"
	"net/http"
	"slices"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/policystore"
)

const (
	// kindReport is the kind of a line of the audit trail that somebody
	// reports something.
	kindReport = "report"
	// maxReason bounds what is said of it, so that the trail keeps it whole.
	maxReason = 1500
)

type reportRequest struct {
	Reason *string `json:"reason"`
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreport
func (s *Server) reportRoom(ctx context.Context, who *caller, r *http.Request, req reportRequest) (httpx.None, error) {
	room, err := roomID(r)
	if err != nil {
		return httpx.None{}, err
	}
	if req.Reason == nil {
		return httpx.None{}, matrix.MissingParam("reason is missing")
	}
	return httpx.None{}, s.report(ctx, who, policystore.Entry{Action: "report_room", Room: string(room), Detail: *req.Reason})
}

// reportEvent takes reports of those who are in the room alone.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreporteventid
func (s *Server) reportEvent(ctx context.Context, who *caller, r *http.Request, req reportRequest) (httpx.None, error) {
	room, id, err := roomAndEvent(r)
	if err != nil {
		return httpx.None{}, err
	}
	joined, err := s.Rooms.JoinedRooms(ctx, who.User)
	if err != nil {
		return httpx.None{}, err
	}
	if !slices.Contains(joined, room) {
		return httpx.None{}, matrix.NotFound("You are not in this room")
	}
	if _, err := s.Rooms.Event(ctx, who.User, who.Device, room, id); err != nil {
		return httpx.None{}, err
	}
	reason := ""
	if req.Reason != nil {
		reason = *req.Reason
	}
	return httpx.None{}, s.report(ctx, who, policystore.Entry{Action: "report_event", Room: string(room), Subject: string(id), Detail: reason})
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3usersuseridreport
func (s *Server) reportUser(ctx context.Context, who *caller, r *http.Request, req reportRequest) (httpx.None, error) {
	user, err := userID(r)
	if err != nil {
		return httpx.None{}, err
	}
	if req.Reason == nil {
		return httpx.None{}, matrix.MissingParam("reason is missing")
	}
	return httpx.None{}, s.report(ctx, who, policystore.Entry{Action: "report_user", Subject: string(user), Detail: *req.Reason})
}

// report puts a report before the auditors. That there is such a room or user
// is not looked up: the answer would tell it.
func (s *Server) report(ctx context.Context, who *caller, e policystore.Entry) error {
	if len(e.Detail) > maxReason {
		return matrix.TooLarge("a reason has at most %d bytes", maxReason)
	}
	if err := s.limits.take(s.Now(), reporting, who); err != nil {
		return err
	}
	e.Kind, e.Actor, e.Source = kindReport, string(who.User), policy.SourceClient.String()
	_, err := s.Gate.Record(ctx, e)
	return err
}
