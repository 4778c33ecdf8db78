package homeserver

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Sync is one request for what is new.
type Sync struct {
	Since  string        // next_batch of the last answer, "" for the first one
	Wait   time.Duration // how long the server may hold the request while nothing is new
	Filter string        // a filter as JSON, "" for none
}

// Sync asks for what is new. It returns the whole answer and the token for the
// next request.
func (u *User) Sync(ctx context.Context, sync Sync) (raw []byte, next string, err error) {
	query := url.Values{"timeout": {strconv.FormatInt(sync.Wait.Milliseconds(), 10)}}
	if sync.Since != "" {
		query.Set("since", sync.Since)
	}
	if sync.Filter != "" {
		query.Set("filter", sync.Filter)
	}
	raw, err = u.do(ctx, request{
		method: http.MethodGet, path: api("sync") + "?" + query.Encode(),
		patience: sync.Wait, maxBytes: maxSyncAnswer,
	})
	if err != nil {
		return nil, "", err
	}
	next, err = field(raw, "next_batch")
	return raw, next, err
}
