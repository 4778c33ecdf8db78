package policystore

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"beffroi/matrix"
	"beffroi/policy"
)

const (
	// defaultImpact is the share of the memberships, in percent, that a change
	// may refuse on the word of one person.
	defaultImpact = 10
	// fewMemberships is how many may be refused whatever their share is: on a
	// small server one contract is a large share.
	fewMemberships = 20
)

// impact says what of a preview asks for a second person, "" for nothing: a
// large share of all memberships, or people of this server's own organisation.
func (s *Store) impact(p *Preview) string {
	refused := p.Refused.Members + p.Refused.Invitations
	if refused > fewMemberships && refused*100 > int64(s.maxImpact)*p.Memberships {
		return fmt.Sprintf("it would refuse %d of %d memberships, more than %d %% of them", refused, p.Memberships, s.maxImpact)
	}
	own := s.engine.Snapshot().Server(s.self, s.now()).Organisation
	for _, o := range p.Organisations {
		if o.ID == own && own != "" && o.Refused.Members > 0 {
			return fmt.Sprintf("it would refuse %d memberships of %s, the organisation of this server itself", o.Refused.Members, own)
		}
	}
	return ""
}

// guardFile refuses a document of the policy file, behind which stands one
// person, where [Store.impact] asks for two. A document that is wrong otherwise
// is not refused here.
func (s *Store) guardFile(ctx context.Context, doc *policy.Document) error {
	if s.engine == nil || s.Active().Version == 0 || doc.Version <= s.Active().Version {
		return nil
	}
	snapshot, err := s.Candidate(ctx, doc)
	if _, wrong := errors.AsType[policy.Mistakes](err); wrong {
		return nil // Activate says so
	}
	if err != nil {
		return err
	}
	p, err := s.Preview(ctx, snapshot)
	if err != nil {
		return err
	}
	if what := s.impact(p); what != "" {
		return policy.Mistakes{{Text: what + "; that needs a second person: propose it with beffroi policy apply, for another one to approve"}}
	}
	return nil
}

// guardDraft refuses a draft that nobody but its author has seen where
// [Store.impact] asks for two, and one whose impact has grown beyond that since
// it was approved.
func (s *Store) guardDraft(ctx context.Context, d *Draft, approved bool) error {
	doc, err := d.Document()
	if err != nil {
		return err
	}
	snapshot, err := s.Candidate(ctx, doc)
	if err != nil {
		return nil //nolint:nilerr // Activate says what is wrong with it
	}
	now, err := s.Preview(ctx, snapshot)
	if err != nil {
		return err
	}
	what := s.impact(now)
	if what == "" {
		return nil
	}
	if !approved {
		return matrix.NewError(http.StatusForbidden, "ORG.BEFFROI.IMPACT", "%s: another person approves it first", what)
	}
	seen, err := d.Preview()
	if err != nil {
		return err
	}
	if seen.Guard == "" {
		return matrix.NewError(http.StatusConflict, "ORG.BEFFROI.IMPACT",
			"since the draft was approved its effect has grown: %s. Propose it anew, so that who approves sees it", what)
	}
	return nil
}
