package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/roomserver"
	"beffroi/syncapi"
)

// maxSyncTimeout bounds a long poll. Clients ask for 30 seconds.
const maxSyncTimeout = 5 * time.Minute

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
func (s *Server) sync(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.Raw, error) {
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
	out, err := s.Sync.Sync(ctx, req)
	return httpx.Raw(out), err
}

// onlyDevices is a filter of sync that leaves out what a client can leave out.
const onlyDevices = `{"presence":{"types":[]},"account_data":{"types":[]},"room":{"account_data":{"types":[]},` +
	`"ephemeral":{"types":[]},"state":{"types":[],"lazy_load_members":true},"timeline":{"types":[],"limit":1}}}`

// keyChanges says whose devices changed since a sync. It is what a sync for no
// device says of them, and so it knows what happened after the end of the
// question, too.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges
func (s *Server) keyChanges(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (deviceLists, error) {
	from, err := httpx.QueryRequired(r, "from")
	if err != nil {
		return deviceLists{}, err
	}
	to, err := httpx.QueryRequired(r, "to")
	if err != nil {
		return deviceLists{}, err
	}
	if _, err := roomserver.ParseToken(to); err != nil {
		return deviceLists{}, err
	}
	raw, err := s.Sync.Sync(ctx, syncapi.Request{User: who.User, Since: from, Filter: onlyDevices})
	if err != nil {
		return deviceLists{}, err
	}
	out := struct {
		Lists deviceLists `json:"device_lists"`
	}{deviceLists{Changed: []matrix.UserID{}, Left: []matrix.UserID{}}}
	err = json.Unmarshal(raw, &out)
	return out.Lists, err
}

type deviceLists struct {
	Changed []matrix.UserID `json:"changed"`
	Left    []matrix.UserID `json:"left"`
}
