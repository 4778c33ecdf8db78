package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"beffroi/internal/httpx"
	"beffroi/syncapi"
)

// maxSyncTimeout bounds a long poll. Clients ask for 30 seconds.
const maxSyncTimeout = 5 * time.Minute

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
func (s *Server) sync(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (json.RawMessage, error) {
	q := r.URL.Query()
	req := syncapi.Request{User: who.User, Device: who.Device, Since: q.Get("since"), Filter: q.Get("filter")}
	timeout, err := httpx.QueryLimit(r, "timeout", 0, int(maxSyncTimeout.Milliseconds()))
	if err != nil {
		return nil, err
	}
	req.Timeout = time.Duration(timeout) * time.Millisecond
	if req.SetPresence, err = httpx.QueryEnum(r, "set_presence", "online", "online", "offline", "unavailable"); err != nil {
		return nil, err
	}
	for name, flag := range map[string]*bool{
		"full_state": &req.FullState, "use_state_after": &req.UseStateAfter,
		"org.matrix.msc4222.use_state_after": &req.UseUnstableStateAfter,
	} {
		if *flag, err = httpx.QueryBool(r, name, false); err != nil {
			return nil, err
		}
	}
	return s.Sync.Sync(ctx, req)
}
