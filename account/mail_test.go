package account_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"beffroi/account"
	"beffroi/internal/testkit"
	"beffroi/storage"
)

func startWithMail(t *testing.T, db *storage.DB) (server, *sink) {
	t.Helper()
	sink := startSink(t)
	return start(t, db, func(o *account.Options) {
		o.Development, o.Mailer, o.PublicURL = false, sink.mailer(t), "https://matrix.interieur.example/"
	}), sink
}

func request(address string, attempt int64) account.EmailRequest {
	return account.EmailRequest{Purpose: account.ForRegistration, Address: address, Secret: "secret-" + address[:1], Attempt: attempt}
}

const goodPassword = "une longue phrase"

func TestRegisterByMail(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s, sink := startWithMail(t, db)
		ctx := t.Context()
		want := account.Registration{Username: "mallory", Password: goodPassword}
		_, err := s.Register(ctx, want, nil)
		session, _ := challenge(t, err)

		req := request("Jean.Dupont@Interieur.gouv.example", 1)
		sid, err := s.RequestEmail(ctx, req)
		wants(t, err, "")
		mail := sink.next(t)
		if mail.to != req.Address || !strings.Contains(mail.from, "noreply@interieur.example") ||
			!strings.Contains(mail.text, "Bonjour") {
			t.Errorf("mail %+v", mail)
		}
		again, err := s.RequestEmail(ctx, req) // the same attempt sends nothing
		wants(t, err, "")
		if again != sid || len(sink.mails) > 0 {
			t.Errorf("asked again: %s, %d mails", again, len(sink.mails))
		}
		stage := map[string]any{"type": "m.login.email.identity", "session": session,
			"threepid_creds": map[string]any{"sid": sid, "client_secret": req.Secret}}
		_, err = s.Register(ctx, want, auth(t, stage))
		wants(t, err, "M_THREEPID_AUTH_FAILED") // not proven yet
		_, err = s.SubmitEmailCode(ctx, sid, "another secret", mail.code(t))
		wants(t, err, "M_FORBIDDEN")
		_, err = s.SubmitEmailCode(ctx, sid, req.Secret, mail.code(t))
		wants(t, err, "")
		// The client asks again with nothing but the session.
		login, err := s.Register(ctx, want, auth(t, map[string]any{"session": session}))
		wants(t, err, "")
		if login.User != "@jean.dupont-interieur.gouv.example:interieur.example" {
			t.Errorf("account %s", login.User)
		}
		profile, err := s.Profile(ctx, login.User)
		wants(t, err, "")
		if string(profile["displayname"]) != `"Jean Dupont [Interieur]"` {
			t.Errorf("profile %s", profile["displayname"])
		}
		_, err = s.Register(ctx, want, auth(t, stage)) // both are used up
		wants(t, err, "M_FORBIDDEN")
		_, err = s.LoginByPassword(ctx, account.Identifier{Type: account.IdentifierOther, Medium: "email",
			Address: "jean.dupont@interieur.gouv.example"}, goodPassword, account.Client{})
		wants(t, err, "")

		// Who asks again gets the same answer, and a mail of another kind.
		s.clock.forward(2 * time.Minute)
		other := req
		other.Secret = "else"
		sid, err = s.RequestEmail(ctx, other)
		wants(t, err, "")
		if mail := sink.next(t); codePattern.MatchString(mail.text) || !strings.Contains(mail.text, "déjà") {
			t.Errorf("mail %+v", mail)
		}
		for guess := range 6 {
			_, err = s.SubmitEmailCode(ctx, sid, other.Secret, fmt.Sprintf("%06d", guess))
			wants(t, err, "M_FORBIDDEN")
		}
	})
}

func TestSuffixWhenTheNameIsTaken(t *testing.T) {
	t.Parallel()
	s, sink := startWithMail(t, testkit.OpenDB(t, "sqlite"))
	ctx := t.Context()
	// Two addresses that differ in a character no localpart can have.
	for i, address := range []string{"jean.darc@interieur.gouv.example", "jean.d'arc@interieur.gouv.example"} {
		req := request(address, 1)
		sid, err := s.RequestEmail(ctx, req)
		wants(t, err, "")
		link := sink.next(t).link(t)
		if link.Get("sid") != sid {
			t.Fatalf("link for %s, want %s", link.Get("sid"), sid)
		}
		_, err = s.SubmitEmailLink(ctx, sid, link.Get("token"))
		wants(t, err, "")
		login, err := s.Register(ctx, account.Registration{Password: goodPassword}, auth(t, map[string]any{
			"type": "m.login.email.identity", "threepid_creds": map[string]any{"sid": sid, "client_secret": req.Secret}}))
		wants(t, err, "")
		want := []string{"@jean.darc-interieur.gouv.example:interieur.example", "@jean.darc-interieur.gouv.example1:interieur.example"}[i]
		if string(login.User) != want {
			t.Errorf("account %s, want %s", login.User, want)
		}
	}
}

func TestMailsAreRefusedOrBounded(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s, sink := startWithMail(t, db)
		ctx := t.Context()
		for address, code := range map[string]string{
			"a@gmail.example": "M_FORBIDDEN", "a@sante.gouv.example": "M_FORBIDDEN", "a@evilinterieur.gouv.example": "M_FORBIDDEN",
			"a@evil.example@interieur.gouv.example": "M_INVALID_PARAM", "a": "M_INVALID_PARAM",
			"<a@interieur.gouv.example>": "M_INVALID_PARAM", "a@interieur.gouv.example\r\nBcc: b@c.d": "M_INVALID_PARAM",
		} {
			_, err := s.RequestEmail(ctx, request(address, 1))
			wants(t, err, code)
		}
		for _, secret := range []string{"", strings.Repeat("s", 256), "a b"} {
			req := request("b@interieur.gouv.example", 1)
			req.Secret = secret
			_, err := s.RequestEmail(ctx, req)
			wants(t, err, "M_INVALID_PARAM")
		}
		sent := 0
		for attempt := range int64(20) {
			req := request("c@interieur.gouv.example", attempt)
			req.Secret = fmt.Sprint("s", attempt) // another client each time
			_, err := s.RequestEmail(ctx, req)
			if err == nil {
				sent++
				sink.next(t)
			}
			_, err = s.RequestEmail(ctx, account.EmailRequest{
				Purpose: account.ForRegistration, Address: req.Address, Secret: "else", Attempt: attempt})
			wants(t, err, "M_LIMIT_EXCEEDED") // one a minute
			s.clock.forward(time.Minute + time.Second)
		}
		if sent != 10 {
			t.Errorf("%d mails to one address in a day, want 10", sent)
		}
		s.clock.forward(25 * time.Hour)
		sink.refuse.Store(true)
		req := request("c@interieur.gouv.example", 30)
		_, err := s.RequestEmail(ctx, req)
		wants(t, err, "M_UNKNOWN")
		sink.refuse.Store(false)
		s.clock.forward(2 * time.Minute)
		_, err = s.RequestEmail(ctx, req) // the same attempt works after a failure
		wants(t, err, "")
		sink.next(t)
	})
}

func TestGuessingACode(t *testing.T) {
	t.Parallel()
	testkit.EachEngine(t, func(t *testing.T, db *storage.DB) {
		s, sink := startWithMail(t, db)
		ctx := t.Context()
		req := request("alice@interieur.gouv.example", 1)
		sid, err := s.RequestEmail(ctx, req)
		wants(t, err, "")
		code := sink.next(t).code(t)
		_, err = s.SubmitEmailLink(ctx, sid, code)
		wants(t, err, "M_FORBIDDEN") // a code needs the client's secret
		for guess := range 5 {
			_, err = s.SubmitEmailCode(ctx, sid, req.Secret, fmt.Sprintf("guess%d", guess))
			wants(t, err, "M_FORBIDDEN")
		}
		_, err = s.SubmitEmailCode(ctx, sid, req.Secret, code)
		wants(t, err, "M_FORBIDDEN") // the right one comes too late

		s.clock.forward(2 * time.Minute)
		req.Attempt++
		_, err = s.RequestEmail(ctx, req)
		wants(t, err, "")
		code = sink.next(t).code(t)
		s.clock.forward(11 * time.Minute)
		_, err = s.SubmitEmailCode(ctx, sid, req.Secret, code)
		wants(t, err, "M_FORBIDDEN") // out of date
	})
}

func TestPasswordReset(t *testing.T) {
	t.Parallel()
	s, sink := startWithMail(t, testkit.OpenDB(t, "sqlite"))
	ctx := t.Context()
	user, err := s.CreateUser(ctx, account.NewUser{Localpart: "alice", Password: goodPassword, Email: "alice@interieur.gouv.example"})
	wants(t, err, "")
	login, err := s.LoginByPassword(ctx, password("alice"), goodPassword, account.Client{})
	wants(t, err, "")
	c := account.Challenge{Operation: account.OpPassword, Flows: [][]string{{account.StageEmail}}}
	req := account.EmailRequest{Purpose: account.ForPassword, Address: "alice@interieur.gouv.example", Secret: "s", Attempt: 1, Language: "en-GB,en"}
	sid, err := s.RequestEmail(ctx, req)
	wants(t, err, "")
	mail := sink.next(t)
	if !strings.Contains(mail.text, "Hello") {
		t.Errorf("mail %+v", mail)
	}
	_, err = s.SubmitEmailCode(ctx, sid, "s", mail.code(t))
	wants(t, err, "")
	creds := map[string]any{"sid": sid, "client_secret": "s"}
	stage := auth(t, map[string]any{"type": "m.login.email.identity", "threepid_creds": creds})
	_, err = s.Register(ctx, account.Registration{Password: goodPassword}, stage)
	wants(t, err, "M_THREEPID_AUTH_FAILED") // it was proven for something else
	proof, err := s.Prove(ctx, c, stage)
	wants(t, err, "")
	if proof.User != user {
		t.Fatalf("proof of %q, want %s", proof.User, user)
	}
	wants(t, s.ChangePassword(ctx, proof, "court", true, ""), "M_PASSWORD_TOO_SHORT")
	wants(t, s.ChangePassword(ctx, proof, "un autre long mot", true, ""), "")
	wants(t, s.ChangePassword(ctx, proof, "encore un autre mot", true, ""), "M_UNAUTHORIZED")
	_, err = s.Authenticate(ctx, login.Token)
	wants(t, err, "M_UNKNOWN_TOKEN")
	_, err = s.LoginByPassword(ctx, password("alice"), goodPassword, account.Client{})
	wants(t, err, "M_FORBIDDEN")
	_, err = s.LoginByPassword(ctx, password("alice"), "un autre long mot", account.Client{})
	wants(t, err, "")

	_, err = s.RequestEmail(ctx, account.EmailRequest{Purpose: account.ForPassword, Address: "x@world.example", Secret: "s", Attempt: 1})
	wants(t, err, "")
	if len(sink.mails) > 0 {
		t.Error("a mail went to a stranger")
	}
}

func TestMailerOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]account.MailOptions{
		"no host": {Port: 25, From: "a@b.example"}, "bad port": {Host: "h", Port: 99999, From: "a@b.example"},
		"no from": {Host: "h", Port: 25}, "unknown tls": {Host: "h", Port: 25, From: "a@b.example", TLS: "perhaps"},
	} {
		if _, err := account.NewMailer(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAMailServerThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	m, err := account.NewMailer(account.MailOptions{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, TLS: account.TLSNone, From: "a@b.example"})
	wants(t, err, "")
	s := start(t, testkit.OpenDB(t, "sqlite"), func(o *account.Options) { o.Development, o.Mailer = false, m })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.RequestEmail(ctx, request("alice@interieur.gouv.example", 1)); err == nil {
		t.Error("a mail was sent to nobody")
	}
}
