package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/policystore"
)

// tell turns what is wrong with a document into an answer that names each
// mistake with its line.
func tell(err error) error {
	mistakes, ok := errors.AsType[policy.Mistakes](err)
	if !ok {
		return err
	}
	list := make([]mistake, len(mistakes))
	for i, m := range mistakes {
		list[i] = mistake{m.Line, m.Path, m.Text}
	}
	e := matrix.NewError(http.StatusBadRequest, "ORG.BEFFROI.BAD_DOCUMENT", "%s", mistakes.Error())
	return e.With("mistakes", list)
}

type mistake struct {
	Line int    `json:"line,omitempty"`
	Path string `json:"path,omitempty"`
	Text string `json:"text"`
}

// candidate is a document in a body: JSON, or YAML as people write it.
type candidate struct {
	Document json.RawMessage `json:"document"`
	YAML     string          `json:"yaml"`
}

func (c *candidate) parse() (*policy.Document, error) {
	switch {
	case (len(c.Document) == 0) == (c.YAML == ""):
		return nil, matrix.BadJSON("either document or yaml holds the document")
	case c.YAML != "":
		return policy.ParseDocument([]byte(c.YAML))
	}
	return policy.ParseDocument(c.Document)
}

type activeAnswer struct {
	Version   int64           `json:"version"`
	SHA256    string          `json:"sha256"`
	SinceTS   int64           `json:"since_ts"`
	Actor     string          `json:"actor"`
	Way       string          `json:"way"`
	Freshness string          `json:"freshness"`
	Document  json.RawMessage `json:"document"`
}

var freshness = [...]string{policy.Fresh: "fresh", policy.Expiring: "expiring", policy.Stale: "stale", policy.Blocking: "blocking"}

func (s *Server) active(context.Context, *caller, *http.Request, httpx.None) (activeAnswer, error) {
	a := s.Policy.Active()
	raw, err := a.Document.JSON()
	return activeAnswer{a.Version, a.SHA256, a.Since.UnixMilli(), a.Actor, a.Way,
		freshness[s.Policy.Engine().Snapshot().Freshness(s.Now())], raw}, err
}

type journalLine struct {
	Version     int64  `json:"version"`
	SHA256      string `json:"sha256"`
	Issuer      string `json:"issuer"`
	Actor       string `json:"actor"`
	Way         string `json:"way"`
	ActivatedTS int64  `json:"activated_ts"`
}

type journalAnswer struct {
	Documents []journalLine `json:"documents"`
}

func (s *Server) journal(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (out journalAnswer, err error) {
	limit, err := httpx.QueryLimit(r, "limit", 100, 1000)
	if err != nil {
		return out, err
	}
	list, err := s.Policy.Journal(ctx, limit)
	out.Documents = make([]journalLine, len(list))
	for i, a := range list {
		out.Documents[i] = journalLine{a.Version, a.SHA256, a.Issuer, a.Actor, a.Way, a.ActivatedTS}
	}
	return out, err
}

type validity struct {
	Valid    bool      `json:"valid"`
	Version  int64     `json:"version"`
	Mistakes []mistake `json:"mistakes,omitempty"`
}

func (s *Server) validate(ctx context.Context, _ *caller, _ *http.Request, in candidate) (out validity, err error) {
	doc, err := in.parse()
	if err == nil {
		out.Version = doc.Version
		_, err = s.Policy.Candidate(ctx, doc)
	}
	if mistakes, ok := errors.AsType[policy.Mistakes](err); ok {
		for _, m := range mistakes {
			out.Mistakes = append(out.Mistakes, mistake{m.Line, m.Path, m.Text})
		}
		return out, nil
	}
	out.Valid = err == nil
	return out, err
}

type testAnswer struct {
	Passed   int           `json:"passed"`
	Failures []testFailure `json:"failures"`
}

type testFailure struct {
	Index int    `json:"index"`
	Text  string `json:"text"`
}

func (s *Server) test(_ context.Context, _ *caller, _ *http.Request, in candidate) (out testAnswer, err error) {
	doc, err := in.parse()
	if err != nil {
		return out, err
	}
	snapshot, err := policy.Compile(doc, s.Policy.Self())
	if err != nil {
		return out, err
	}
	out.Failures = []testFailure{}
	for _, f := range policy.RunTests(snapshot, s.Now()) {
		out.Failures = append(out.Failures, testFailure{f.Index, f.String()})
	}
	out.Passed = len(doc.Tests) - len(out.Failures)
	return out, nil
}

func (s *Server) preview(ctx context.Context, _ *caller, _ *http.Request, in candidate) (*policystore.Preview, error) {
	doc, err := in.parse()
	if err != nil {
		return nil, err
	}
	snapshot, err := s.Policy.Candidate(ctx, doc)
	if err != nil {
		return nil, err
	}
	return s.Policy.Preview(ctx, snapshot)
}

type shadowStart struct {
	candidate
	Hours int64 `json:"hours"` // 24 if it is absent
}

// maxShadowHours bounds how long a candidate runs beside the active document.
const maxShadowHours = 24 * 31

func (s *Server) startShadow(ctx context.Context, who *caller, _ *http.Request, in shadowStart) (out policystore.ShadowReport, err error) {
	if in.Hours == 0 {
		in.Hours = 24
	}
	if in.Hours < 1 || in.Hours > maxShadowHours {
		return out, matrix.InvalidParam("hours is 1 to %d", maxShadowHours)
	}
	doc, err := in.parse()
	if err != nil {
		return out, err
	}
	return s.Policy.StartShadow(ctx, doc, who.editor(), time.Duration(in.Hours)*time.Hour)
}

func (s *Server) shadow(ctx context.Context, _ *caller, _ *http.Request, _ httpx.None) (policystore.ShadowReport, error) {
	return s.Policy.Shadow(ctx)
}

func (s *Server) stopShadow(ctx context.Context, who *caller, _ *http.Request, _ httpx.None) (policystore.ShadowReport, error) {
	return s.Policy.StopShadow(ctx, who.editor())
}
