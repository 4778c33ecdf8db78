package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/policystore"
)

// editors are two people of the national office, who hold tokens of each server.
type editors struct{ claire, denis *demoUser }

func (s *story) editors(ctx context.Context, server matrix.ServerName) (e editors, err error) {
	at := s.servers[server]
	for _, person := range []struct {
		into **demoUser
		name string
		role policystore.Role
	}{{&e.claire, "claire", policystore.RoleEditor}, {&e.denis, "denis", policystore.RoleApprover}} {
		u := &demoUser{base: at.clientURL}
		if u.token, _, err = policystore.CreateToken(ctx, at.DB, person.name, person.role, time.Hour, time.Now()); err != nil {
			return e, err
		}
		*person.into = u
	}
	return e, nil
}

// nextDocument returns the document in force with a greater version and a change.
func (s *story) nextDocument(server matrix.ServerName, change func(*policy.Document)) (string, error) {
	active := s.servers[server].Policy.Active().Document
	raw, err := active.JSON()
	if err != nil {
		return "", err
	}
	doc, err := policy.ParseDocument(raw)
	if err != nil {
		return "", err
	}
	doc.Version++
	change(doc)
	text, err := doc.YAML()
	return string(text), err
}

// changePolicy goes the whole way with two people: propose, approve, activate.
func (s *story) changePolicy(ctx context.Context, server matrix.ServerName, reason string, change func(*policy.Document)) error {
	who, err := s.editors(ctx, server)
	if err != nil {
		return err
	}
	text, err := s.nextDocument(server, change)
	if err != nil {
		return err
	}
	draft, err := who.claire.must(ctx, http.MethodPost, "/_beffroi/admin/v1/policy/drafts",
		map[string]any{"yaml": text, "reason": reason, "treatment": map[string]string{"how": policystore.TreatRemove}})
	if err != nil {
		return err
	}
	path := "/_beffroi/admin/v1/policy/drafts/" + draft.text("id")
	if a, err := who.claire.call(ctx, http.MethodPost, path+"/approve", nil); err != nil || a.Status != http.StatusForbidden {
		return errors.Join(err, fmt.Errorf("the author approves: %s", a))
	}
	for _, verb := range []string{"/approve", "/activate"} {
		if _, err := who.denis.must(ctx, http.MethodPost, path+verb, nil); err != nil {
			return err
		}
	}
	return nil
}

// refuseBadDocument proposes a document with a word that is no key.
func (s *story) refuseBadDocument(ctx context.Context) error {
	const server = "interieur.example"
	who, err := s.editors(ctx, server)
	if err != nil {
		return err
	}
	before := s.servers[server].Policy.Active().Version
	a, err := who.claire.call(ctx, http.MethodPost, "/_beffroi/admin/v1/policy/drafts",
		map[string]any{"yaml": "version: 3\norganization: []\n", "reason": "a new ministry"})
	if err != nil {
		return err
	}
	list, _ := a.Body["mistakes"].([]any)
	if a.Status != http.StatusBadRequest || !containsAll(fmt.Sprint(list), []string{"line:2", `did you mean "organisations"`}) {
		return fmt.Errorf("want line 2 and the nearest key, got %s: %v", a, list)
	}
	if s.servers[server].Policy.Active().Version != before {
		return errors.New("it is in force")
	}
	return nil
}

// endContract ends the contract of the partner on both ministries.
func (s *story) endContract(ctx context.Context) error {
	for _, server := range []matrix.ServerName{"interieur.example", "sante.example"} {
		if err := s.changePolicy(ctx, server, "the contract has ended", func(doc *policy.Document) {
			for i := range doc.Organisations {
				if o := &doc.Organisations[i]; o.ID == "partenaires" {
					o.Ends = time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
				}
			}
		}); err != nil {
			return fmt.Errorf("%s: %w", server, err)
		}
		start := time.Now()
		party := s.servers[server].Policy.Engine().Snapshot().Server("externe.example", start)
		if party.Refused != policy.ReasonEnded {
			return fmt.Errorf("%s still admits the partner %v after the activation", server, time.Since(start))
		}
	}
	a, err := s.invite(ctx, s.users["eve"].id)
	if err != nil {
		return err
	}
	return s.refused("interieur.example", "invitation after the end of the contract", a)
}

// partnerIsGone waits until the sweep has taken the partner out of the room.
func (s *story) partnerIsGone(ctx context.Context) error {
	eve := s.users["eve"]
	return errors.Join(s.gone(ctx, s.agent, eve), s.gone(ctx, s.users["bob"], eve))
}

// gone waits until a user sees another one in the room no more.
func (s *story) gone(ctx context.Context, who, other *demoUser) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		members, err := who.members(ctx, s.room)
		if err != nil {
			return err
		}
		if m := members[other.id]; m != "join" && m != "invite" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s still sees %s in the room", who.id, other.id)
		case <-tick.C:
		}
	}
}

// cutOff denies a server in an emergency: another ministry, that was broken into.
func (s *story) cutOff(ctx context.Context) error {
	if err := s.changePolicy(ctx, "interieur.example", "the server was broken into", func(doc *policy.Document) {
		doc.Federation.Deny = append(slices.Clone(doc.Federation.Deny), policy.Names("sante.example")...)
		doc.Tests = nil
	}); err != nil {
		return err
	}
	a, err := s.invite(ctx, s.users["benoit"].id)
	if err != nil {
		return err
	}
	if err := s.refused("interieur.example", "a server that was cut off", a); err != nil {
		return err
	}
	return s.gone(ctx, s.agent, s.users["bob"])
}
