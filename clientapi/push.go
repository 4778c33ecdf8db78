package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"beffroi/account"
	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/roomserver"
)

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers
func (s *Server) pushers(ctx context.Context, who *caller, _ *http.Request, _ httpx.None) (map[string]any, error) {
	list, err := s.Accounts.Pushers(ctx, who.User)
	return map[string]any{"pushers": list}, err
}

// pusherRequest has pointers where absence is an error.
type pusherRequest struct {
	Kind              json.RawMessage `json:"kind"`
	AppID             *string         `json:"app_id"`
	PushKey           *string         `json:"pushkey"`
	AppDisplayName    *string         `json:"app_display_name"`
	DeviceDisplayName *string         `json:"device_display_name"`
	ProfileTag        string          `json:"profile_tag"`
	Lang              *string         `json:"lang"`
	Data              json.RawMessage `json:"data"`
	Append            bool            `json:"append"`
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset
func (s *Server) setPusher(ctx context.Context, who *caller, _ *http.Request, req pusherRequest) (httpx.None, error) {
	var missing []string
	need := func(name string, absent bool) {
		if absent {
			missing = append(missing, name)
		}
	}
	need("kind", req.Kind == nil)
	need("app_id", req.AppID == nil)
	need("pushkey", req.PushKey == nil)
	deletes := string(req.Kind) == "null"
	if !deletes {
		need("app_display_name", req.AppDisplayName == nil)
		need("device_display_name", req.DeviceDisplayName == nil)
		need("lang", req.Lang == nil)
		need("data", req.Data == nil)
	}
	if len(missing) > 0 {
		return httpx.None{}, matrix.MissingParam("missing: %s", strings.Join(missing, ", "))
	}
	if deletes {
		return httpx.None{}, s.Accounts.DeletePusher(ctx, who.User, *req.AppID, *req.PushKey)
	}
	p := account.Pusher{PushKey: *req.PushKey, AppID: *req.AppID, AppDisplayName: *req.AppDisplayName,
		DeviceDisplayName: *req.DeviceDisplayName, ProfileTag: req.ProfileTag, Lang: *req.Lang, Data: req.Data}
	if json.Unmarshal(req.Kind, &p.Kind) != nil {
		return httpx.None{}, matrix.BadJSON("kind must be a string or null")
	}
	return httpx.None{}, s.Accounts.SetPusher(ctx, who.User, who.Device, p, req.Append)
}

// maxNotifications bounds a page.
const maxNotifications = 100

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications
func (s *Server) notifications(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (roomserver.Notifications, error) {
	q := r.URL.Query()
	req := roomserver.NotificationsRequest{User: who.User, Device: who.Device, From: q.Get("from")}
	switch q.Get("only") {
	case "", "highlight":
		req.Highlights = q.Get("only") != ""
	default: // a later kind: it may leave out anything, so nothing is shown that was not asked for
		return roomserver.Notifications{}, matrix.InvalidParam("only may be highlight")
	}
	var err error
	if req.Limit, err = httpx.QueryLimit(r, "limit", 0, maxNotifications); err != nil {
		return roomserver.Notifications{}, err
	}
	return s.Rooms.Notifications(ctx, req)
}
