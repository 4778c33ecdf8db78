package adminapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/policystore"
)

type findingsAnswer struct {
	Findings  []policystore.Finding `json:"findings"`
	NextBatch string                `json:"next_batch,omitempty"`
	Sweep     sweepAnswer           `json:"sweep"`
}

type sweepAnswer struct {
	Version    int64  `json:"version"`
	Treatment  string `json:"treatment"`
	Scanned    int64  `json:"scanned"`
	Found      int64  `json:"found"`
	StartedTS  int64  `json:"started_ts"`
	FinishedTS int64  `json:"finished_ts,omitempty"`
}

func (s *Server) findings(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (out findingsAnswer, err error) {
	limit, err := httpx.QueryLimit(r, "limit", 100, 1000)
	if err != nil {
		return out, err
	}
	q := r.URL.Query()
	f := policystore.FindingFilter{Status: q.Get("status"), Organisation: q.Get("organisation"), Limit: limit}
	if from := q.Get("from"); from != "" {
		var user string
		if _, err := fmt.Sscanf(from, "%d_%s", &f.AfterRoom, &user); err != nil {
			return out, matrix.InvalidParam("from is no next_batch of this API")
		}
		f.AfterUser = matrix.UserID(user)
	}
	list, sweep, err := s.Policy.Findings(ctx, f)
	if err != nil {
		return out, err
	}
	out.Findings = append([]policystore.Finding{}, list...)
	if len(list) == limit {
		last := list[len(list)-1]
		out.NextBatch = fmt.Sprintf("%d_%s", last.RoomNID, last.User)
	}
	out.Sweep = sweepAnswer{sweep.Version, sweep.Treatment, sweep.Scanned, sweep.Found, sweep.StartedTS, sweep.FinishedTS}
	return out, nil
}

type auditAnswer struct {
	Entries []policystore.Entry `json:"entries"`
	Next    int64               `json:"next,omitempty"` // after of the next page
}

func (s *Server) auditTrail(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (out auditAnswer, err error) {
	limit, err := httpx.QueryLimit(r, "limit", 100, 1000)
	if err != nil {
		return out, err
	}
	q := r.URL.Query()
	f := policystore.Filter{Kind: q.Get("kind"), Action: q.Get("action"), Reason: q.Get("reason"), Actor: q.Get("actor"),
		Server: q.Get("server"), Room: q.Get("room")}
	for name, into := range map[string]*int64{"after": &f.After, "since": &f.Since, "until": &f.Until} {
		if *into, err = httpx.QueryInt(r, name, 0, 0, math.MaxInt64); err != nil {
			return out, err
		}
	}
	out.Entries = []policystore.Entry{}
	for e, err := range s.Policy.Audit(ctx, f) {
		if err != nil {
			return out, err
		}
		if len(out.Entries) == limit {
			out.Next = out.Entries[limit-1].Seq
			break
		}
		out.Entries = append(out.Entries, e)
	}
	return out, nil
}

type trailAnswer struct {
	Intact  bool   `json:"intact"`
	Entries int64  `json:"entries,omitempty"`
	Hash    string `json:"hash,omitempty"`
	Broken  string `json:"broken,omitempty"` // where and how
}

func (s *Server) verify(ctx context.Context, _ *caller, _ *http.Request, _ httpx.None) (trailAnswer, error) {
	trail, err := s.Policy.VerifyAudit(ctx)
	if broken, ok := errors.AsType[*policystore.BrokenTrail](err); ok {
		return trailAnswer{Broken: broken.Error()}, nil
	}
	return trailAnswer{Intact: err == nil, Entries: trail.Entries, Hash: trail.Hash}, err
}

func (s *Server) decision(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (policystore.Entry, error) {
	return s.Policy.Find(ctx, strings.ToUpper(r.PathValue("id")))
}
