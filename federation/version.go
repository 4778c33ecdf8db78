package federation

import (
	"context"
	"net/http"

	"beffroi/internal/httpx"
)

type versionAnswer struct {
	Server software `json:"server"`
}

type software struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// version says which software this server runs.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version
func (s *Server) version(context.Context, httpx.None, *http.Request, httpx.None) (versionAnswer, error) {
	return versionAnswer{software{s.Software, s.Version}}, nil
}
