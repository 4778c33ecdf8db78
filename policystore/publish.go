package policystore

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"beffroi/matrix"
	"beffroi/matrix/signing"
	"beffroi/storage"
	"beffroi/storage/policies"
)

// The paths that other servers ask.
const (
	BundlePath  = "/_beffroi/policy/v1/bundle"
	VersionPath = "/_beffroi/policy/v1/version"
)

// publisher makes the bundle that this server gives out.
type publisher struct {
	key    *signing.Key
	public bool

	mu   sync.Mutex
	etag string // guarded by mu: of raw, made of the hash of its document
	raw  []byte // guarded by mu
}

// Enforced is what a server says of the documents it enforces.
type Enforced struct {
	Server    matrix.ServerName `json:"server"`
	Version   int64             `json:"version"`
	SHA256    string            `json:"sha256"`
	Floor     *EnforcedFloor    `json:"floor,omitempty"`
	Freshness string            `json:"freshness"` // fresh, expired, stale or blocking
}

// EnforcedFloor is the national document that a server enforces.
type EnforcedFloor struct {
	Version int64  `json:"version"`
	SHA256  string `json:"sha256"`
	Issuer  string `json:"issuer"`
}

// Enforced returns what this server enforces.
func (s *Store) Enforced() Enforced {
	a := s.Active()
	out := Enforced{Server: s.self, Version: a.Version, SHA256: a.SHA256, Freshness: s.engine.Snapshot().Freshness(s.now()).String()}
	if f := a.Floor; f.Version > 0 {
		out.Floor = &EnforcedFloor{f.Version, f.SHA256, f.Issuer}
	}
	return out
}

// Handler answers [BundlePath] and [VersionPath] for other servers. The bundle
// is the floor as it came, so that a server passes it on, or else the document
// of this server; both only where that is to be published. The version holds
// numbers and hashes, and is for everybody.
func (s *Store) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+BundlePath, s.serveBundle)
	mux.HandleFunc("GET "+VersionPath, s.serveVersion)
	return mux
}

func (s *Store) serveVersion(w http.ResponseWriter, _ *http.Request) {
	writeAnswer(w, http.StatusOK, s.Enforced())
}

func (s *Store) serveBundle(w http.ResponseWriter, r *http.Request) {
	if !s.publish.public {
		writeAnswer(w, http.StatusNotFound, matrix.NotFound("this server does not publish its policy"))
		return
	}
	raw, etag, err := s.Bundle(r.Context())
	if err != nil {
		s.log.Error("policy bundle cannot be made", "err", err)
		writeAnswer(w, http.StatusNotFound, matrix.NotFound("this server has no bundle to publish"))
		return
	}
	w.Header().Set("ETag", etag)
	w.Header().Set("Cache-Control", "no-cache")
	for _, known := range strings.Split(r.Header.Get("If-None-Match"), ",") {
		if strings.TrimSpace(known) == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(raw)
}

// Bundle returns the bundle that this server passes on or makes, and its ETag.
// The bytes must not be changed.
func (s *Store) Bundle(ctx context.Context) (raw []byte, etag string, err error) {
	a, p := s.Active(), &s.publish
	sum := a.SHA256
	if a.Floor.Version > 0 {
		sum = a.Floor.SHA256
	}
	etag = `"` + sum + `"`
	p.mu.Lock()
	raw, known := p.raw, p.etag
	p.mu.Unlock()
	if known == etag {
		return raw, etag, nil
	}
	switch {
	case a.Floor.Version > 0:
		var f policies.Floor
		err = s.db.View(ctx, func(r *storage.Reader) (err error) {
			f, err = policies.ActiveFloor(ctx, r)
			return err
		})
		raw, etag = f.Bundle, `"`+f.SHA256+`"`
	case p.key == nil:
		err = matrix.NotFound("there is no key to sign the bundle with")
	default:
		raw, err = SignBundle(a.Document, *p.key)
	}
	if err != nil {
		return nil, "", err
	}
	p.mu.Lock()
	p.raw, p.etag = raw, etag
	p.mu.Unlock()
	return raw, etag, nil
}

func writeAnswer(w http.ResponseWriter, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(raw)
}
