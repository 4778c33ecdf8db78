package adminapi

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/policystore"
)

type proposal struct {
	candidate
	Reason    string                `json:"reason"`
	Treatment policystore.Treatment `json:"treatment"`
}

type draftsAnswer struct {
	Drafts []policystore.Draft `json:"drafts"`
}

func (s *Server) drafts(ctx context.Context, _ *caller, _ *http.Request, _ httpx.None) (draftsAnswer, error) {
	list, err := s.Policy.Drafts(ctx)
	return draftsAnswer{list}, err
}

func (s *Server) propose(ctx context.Context, who *caller, _ *http.Request, in proposal) (out policystore.Draft, err error) {
	doc, err := in.parse()
	if err != nil {
		return out, err
	}
	return s.Policy.Propose(ctx, policystore.Proposal{Document: doc, By: who.editor(), Reason: in.Reason, Treatment: in.Treatment})
}

type draftAnswer struct {
	policystore.Draft
	Document json.RawMessage `json:"document"`
}

func (s *Server) draft(ctx context.Context, _ *caller, r *http.Request, _ httpx.None) (out draftAnswer, err error) {
	d, err := s.Policy.Draft(ctx, r.PathValue("id"))
	return draftAnswer{d, d.DocumentJSON()}, err
}

func (s *Server) approve(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (policystore.Draft, error) {
	return s.Policy.Approve(ctx, r.PathValue("id"), who.editor())
}

func (s *Server) activate(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (policystore.Draft, error) {
	return s.Policy.ActivateDraft(ctx, r.PathValue("id"), who.editor(), s.Alone)
}

func (s *Server) withdraw(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (policystore.Draft, error) {
	return s.Policy.Withdraw(ctx, r.PathValue("id"), who.editor())
}

type rollbackRequest struct {
	Version int64  `json:"version"`
	Reason  string `json:"reason"`
}

// rollback is the one step back: it was in force before, so one person is
// enough, and the audit trail says who.
func (s *Server) rollback(ctx context.Context, who *caller, _ *http.Request, in rollbackRequest) (out policystore.Draft, err error) {
	if in.Version <= 0 {
		return out, matrix.BadJSON("version is that of a document of the journal")
	}
	doc, err := s.Policy.Past(ctx, in.Version)
	if err != nil {
		return out, err
	}
	doc.Version = s.Policy.Active().Version + 1
	draft, err := s.Policy.Propose(ctx, policystore.Proposal{Document: doc, By: who.editor(), Reason: in.Reason})
	if err != nil {
		return out, err
	}
	return s.Policy.RollBackTo(ctx, draft.ID, who.editor())
}
