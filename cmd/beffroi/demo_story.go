package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

const (
	agentEmail    = "camille.martin@interieur.gouv.example"
	unknownEmail  = "camille.martin@evilinterieur.gouv.example"
	partnerEmail  = "eve.dupont@partenaire.example"
	accessRules   = "im.vector.room.access_rules"
	registerPath  = "/_matrix/client/v3/register"
	registerToken = "/_matrix/client/v3/register/email/requestToken"
)

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

// register makes an account with the code of a real mail.
func (s *story) register(ctx context.Context) error {
	u := &demoUser{base: s.servers["interieur.example"].clientURL, password: rand.Text()}
	challenge, err := u.call(ctx, http.MethodPost, registerPath, map[string]any{"password": u.password})
	if err != nil {
		return err
	}
	if challenge.Status != http.StatusUnauthorized {
		return fmt.Errorf("register without proof: %s", challenge)
	}
	secret := rand.Text()
	sent, err := u.must(ctx, http.MethodPost, registerToken,
		map[string]any{"client_secret": secret, "email": agentEmail, "send_attempt": 1})
	if err != nil {
		return err
	}
	mail, err := s.mail.Wait(ctx, agentEmail, 0)
	if err != nil {
		return err
	}
	code := sixDigits.FindString(mail)
	path := strings.TrimPrefix(sent.text("submit_url"), u.base)
	if _, err := u.must(ctx, http.MethodPost, path,
		map[string]any{"sid": sent.text("sid"), "client_secret": secret, "token": code}); err != nil {
		return err
	}
	done, err := u.must(ctx, http.MethodPost, registerPath, map[string]any{"password": u.password, "auth": map[string]any{
		"type": "m.login.email.identity", "session": challenge.text("session"),
		"threepid_creds": map[string]string{"sid": sent.text("sid"), "client_secret": secret},
	}})
	u.token, u.id = done.text("access_token"), done.text("user_id")
	if err == nil && u.id != "@camille.martin-interieur.gouv.example:interieur.example" {
		err = fmt.Errorf("the account is %s", u.id)
	}
	s.agent = u
	return err
}

func (s *story) refuseRegistration(ctx context.Context) error {
	u := &demoUser{base: s.servers["interieur.example"].clientURL}
	a, err := u.call(ctx, http.MethodPost, registerToken,
		map[string]any{"client_secret": rand.Text(), "email": unknownEmail, "send_attempt": 1})
	if err != nil {
		return err
	}
	if s.mail.Count(unknownEmail) != 0 {
		return errors.New("a mail was sent")
	}
	return s.refused("interieur.example", "registration", a)
}

func (s *story) login(ctx context.Context) error {
	for _, u := range s.users {
		if err := u.login(ctx); err != nil {
			return err
		}
	}
	if s.agent == nil || s.agent.token == "" {
		s.agent = s.users["alice"] // the story goes on without the registration
	}
	return nil
}

func (s *story) createRoom(ctx context.Context) error {
	a, err := s.agent.must(ctx, http.MethodPost, "/_matrix/client/v3/createRoom",
		map[string]any{"name": "Cellule de crise", "preset": "private_chat", "room_alias_name": "crise"})
	if err != nil {
		return err
	}
	s.room, s.alias = a.text("room_id"), "#crise:interieur.example"
	rule, err := s.agent.must(ctx, http.MethodGet, roomPath(s.room, "state", accessRules)+"/", nil)
	if err == nil && rule.text("rule") != "restricted" {
		err = fmt.Errorf("the rule is %q", rule.text("rule"))
	}
	return err
}

func (s *story) invite(ctx context.Context, user string) (answer, error) {
	return s.agent.call(ctx, http.MethodPost, roomPath(s.room, "invite"), map[string]string{"user_id": user})
}

func (s *story) joinOtherMinistry(ctx context.Context) error {
	bob := s.users["bob"]
	if a, err := s.invite(ctx, bob.id); err != nil || a.Status != http.StatusOK {
		return errors.Join(err, fmt.Errorf("invite: %s", a))
	}
	if err := bob.until(ctx, s.room, `"invite_state"`); err != nil {
		return err
	}
	if _, err := bob.must(ctx, http.MethodPost, roomPath(s.room, "join"), map[string]any{}); err != nil {
		return err
	}
	return s.agent.until(ctx, bob.id, `"join"`)
}

func (s *story) talk(ctx context.Context) error {
	bob := s.users["bob"]
	if err := s.agent.say(ctx, s.room, "bonjour de l'Intérieur"); err != nil {
		return err
	}
	if err := bob.until(ctx, "bonjour de l'Intérieur"); err != nil {
		return err
	}
	if err := bob.say(ctx, s.room, "bonjour de la Santé"); err != nil {
		return err
	}
	return s.agent.until(ctx, "bonjour de la Santé")
}

func (s *story) refuseInvite(ctx context.Context) error {
	a, err := s.invite(ctx, s.users["eve"].id)
	if err != nil {
		return err
	}
	return s.refused("interieur.example", "invitation", a)
}

func (s *story) refuseEmailInvite(ctx context.Context) error {
	a, err := s.agent.call(ctx, http.MethodPost, roomPath(s.room, "invite"),
		map[string]string{"medium": "email", "address": partnerEmail, "id_server": "interieur.example", "id_access_token": "x"})
	if err != nil {
		return err
	}
	return s.refused("interieur.example", "invitation by e-mail", a)
}

func (s *story) refuseJoinByAlias(ctx context.Context) error {
	a, err := s.users["eve"].call(ctx, http.MethodPost, "/_matrix/client/v3/join/"+url.PathEscape(s.alias), map[string]any{})
	if err != nil {
		return err
	}
	if a.Status != http.StatusForbidden {
		return fmt.Errorf("want 403, got %s", a)
	}
	return nil
}

func (s *story) openRoom(ctx context.Context) error {
	a, err := s.agent.must(ctx, http.MethodGet, roomPath(s.room, "state", accessRules)+"/", nil)
	if err != nil {
		return err
	}
	a.Body["rule"] = "unrestricted"
	_, err = s.agent.must(ctx, http.MethodPut, roomPath(s.room, "state", accessRules)+"/", a.Body)
	return err
}

func (s *story) joinPartner(ctx context.Context) error {
	eve := s.users["eve"]
	if a, err := s.invite(ctx, eve.id); err != nil || a.Status != http.StatusOK {
		return errors.Join(err, fmt.Errorf("invite: %s", a))
	}
	if err := eve.until(ctx, s.room); err != nil {
		return err
	}
	if _, err := eve.must(ctx, http.MethodPost, roomPath(s.room, "join"), map[string]any{}); err != nil {
		return err
	}
	if err := eve.say(ctx, s.room, "bonjour du partenaire"); err != nil {
		return err
	}
	return s.users["bob"].until(ctx, "bonjour du partenaire")
}

func (s *story) refusePower(ctx context.Context) error {
	a, err := s.agent.must(ctx, http.MethodGet, roomPath(s.room, "state", "m.room.power_levels")+"/", nil)
	if err != nil {
		return err
	}
	users, _ := a.Body["users"].(map[string]any)
	if users == nil {
		users = make(map[string]any)
	}
	users[s.users["eve"].id] = 50
	a.Body["users"] = users
	a, err = s.agent.call(ctx, http.MethodPut, roomPath(s.room, "state", "m.room.power_levels")+"/", a.Body)
	if err != nil {
		return err
	}
	return s.refused("interieur.example", "power for the partner", a)
}

func (s *story) refuseClosing(ctx context.Context) error {
	a, err := s.agent.must(ctx, http.MethodGet, roomPath(s.room, "state", accessRules)+"/", nil)
	if err != nil {
		return err
	}
	a.Body["rule"] = "restricted"
	a, err = s.agent.call(ctx, http.MethodPut, roomPath(s.room, "state", accessRules)+"/", a.Body)
	if err != nil {
		return err
	}
	return s.refused("interieur.example", "closing the room", a)
}
