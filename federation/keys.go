package federation

import (
	"context"
	"encoding/json"
	"math"
	"net/http"

	"beffroi/federation/keyring"
	"beffroi/internal/httpx"
	"beffroi/matrix"
)

// ownKeys publishes the keys of this server.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
func (s *Server) ownKeys(context.Context, httpx.None, *http.Request, httpx.None) (httpx.Raw, error) {
	answer, err := s.Keys.OwnAnswer()
	return httpx.Raw(answer), err
}

type keysAnswer struct {
	ServerKeys []json.RawMessage `json:"server_keys"`
}

// queryKeys answers as a notary, about servers that the policy lets us speak
// with. The others are left out, as those that cannot be reached.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query
func (s *Server) queryKeys(ctx context.Context, _ httpx.None, _ *http.Request, body json.RawMessage) (keysAnswer, error) {
	if body == nil {
		return keysAnswer{}, matrix.MissingParam("the body lacks server_keys")
	}
	wanted, err := keyring.ParseQuery(body)
	if err != nil {
		return keysAnswer{}, err
	}
	for server := range wanted {
		if s.gate.vouch(ctx, server) != nil {
			delete(wanted, server)
		}
	}
	answers, err := s.Keys.Query(ctx, wanted)
	return keysAnswer{answers}, err
}

// queryServerKeys is queryKeys for one server.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2queryservername
func (s *Server) queryServerKeys(ctx context.Context, _ httpx.None, r *http.Request, _ httpx.None) (keysAnswer, error) {
	server, err := matrix.ParseServerName(r.PathValue("serverName"))
	if err != nil {
		return keysAnswer{}, err
	}
	until, err := httpx.QueryInt(r, "minimum_valid_until_ts", 0, 0, math.MaxInt64)
	if err != nil {
		return keysAnswer{}, err
	}
	if err := s.gate.vouch(ctx, server); err != nil {
		return keysAnswer{}, err
	}
	ids := map[matrix.KeyID]int64{}
	if id := r.PathValue("keyID"); id != "" {
		key, err := matrix.ParseKeyID(id)
		if err != nil {
			return keysAnswer{}, err
		}
		ids[key] = until
	}
	answers, err := s.Keys.Query(ctx, keyring.Wanted{server: ids})
	return keysAnswer{answers}, err
}
