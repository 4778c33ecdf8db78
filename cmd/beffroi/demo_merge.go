package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"beffroi/matrix"
	"beffroi/policy"
)

// The domain that moves in the story, and an address of it.
const (
	movedDomain = "*.police.gouv.example"
	movedEmail  = "nadia.petit@paris.police.gouv.example"
)

// organisationOf returns an organisation of a document.
func organisationOf(doc *policy.Document, id string) (*policy.Organisation, error) {
	for i := range doc.Organisations {
		if doc.Organisations[i].ID == id {
			return &doc.Organisations[i], nil
		}
	}
	return nil, fmt.Errorf("the document has no organisation %q", id)
}

// moveDomain gives a domain to the other ministry. Who has an address of it is
// sent there from this moment.
func (s *story) moveDomain(ctx context.Context) error {
	const server = "interieur.example"
	var failed error
	if err := s.changePolicy(ctx, server, "the police is of the other ministry now", func(doc *policy.Document) {
		from, err := organisationOf(doc, "interieur")
		to, other := organisationOf(doc, "sante")
		if failed = errors.Join(err, other); failed != nil {
			return
		}
		from.EmailDomains = slices.DeleteFunc(from.EmailDomains, func(e policy.Entry) bool { return e.Name == movedDomain })
		to.EmailDomains = append(to.EmailDomains, policy.Names(movedDomain)...)
	}); err != nil || failed != nil {
		return errors.Join(err, failed)
	}
	party, servers, err := s.servers[server].Policy.Engine().Snapshot().Email(movedEmail, time.Now())
	if err != nil || party.Organisation != "sante" || !slices.Equal(servers, []matrix.ServerName{"sante.example"}) {
		return fmt.Errorf("an address of the domain is of %q at %v: %w", party.Organisation, servers, err)
	}
	u := &demoUser{base: s.servers[server].clientURL}
	a, err := u.call(ctx, http.MethodPost, registerToken, map[string]any{"client_secret": rand.Text(), "email": movedEmail, "send_attempt": 1})
	if err != nil {
		return err
	}
	if reason := a.text("org.beffroi.policy", "reason"); reason != string(policy.ReasonEmailElsewhere) {
		return fmt.Errorf("registration at the ministry of before: %s", a)
	}
	return s.refused(server, "registration at the ministry of before", a)
}

// mergeMinistry makes one ministry of two, on both servers. Nobody loses a room
// by it, and they go on talking.
func (s *story) mergeMinistry(ctx context.Context) error {
	for _, server := range []matrix.ServerName{"interieur.example", "sante.example"} {
		var failed error
		if err := s.changePolicy(ctx, server, "the ministries are merged", func(doc *policy.Document) {
			into, err := organisationOf(doc, "interieur")
			gone, other := organisationOf(doc, "sante")
			if failed = errors.Join(err, other); failed != nil {
				return
			}
			into.Homeservers = append(into.Homeservers, gone.Homeservers...)
			into.EmailDomains = append(into.EmailDomains, gone.EmailDomains...)
			doc.Organisations = slices.DeleteFunc(doc.Organisations, func(o policy.Organisation) bool { return o.ID == "sante" })
		}); err != nil || failed != nil {
			return fmt.Errorf("%s: %w", server, errors.Join(err, failed))
		}
		party := s.servers[server].Policy.Engine().Snapshot().Server("sante.example", time.Now())
		if party.Organisation != "interieur" || !party.Admitted() {
			return fmt.Errorf("at %s the merged ministry is %+v", server, party)
		}
	}
	members, err := s.agent.members(ctx, s.room)
	if err != nil {
		return err
	}
	if bob := s.users["bob"].id; members[bob] != "join" {
		return fmt.Errorf("%s is %q in the room", bob, members[bob])
	}
	const words = "nous voilà du même ministère"
	if err := s.users["bob"].say(ctx, s.room, words); err != nil {
		return err
	}
	return s.agent.until(ctx, words)
}
