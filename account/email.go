package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/users"
)

// Purpose is what somebody proves an address for.
type Purpose string

// The purposes.
const (
	ForRegistration Purpose = "register"
	ForPassword     Purpose = "password"
	ForContact      Purpose = "contact"
)

const (
	// mailLifetime is for how long a code and a link are good.
	mailLifetime = 10 * time.Minute
	// validatedLifetime is for how long a proven address can be used.
	validatedLifetime = 30 * time.Minute
	// maxTries is how often a code may be guessed.
	maxTries = 5
	// mailInterval and maxMailsPerDay bound the mails to one address, and with
	// them the guesses at its codes: 50 of a million a day.
	mailInterval   = time.Minute
	maxMailsPerDay = 10
	mailDay        = 24 * time.Hour
	// maxSecretBytes is that of the specification.
	maxSecretBytes   = 255
	maxNextLinkBytes = 2048
)

// EmailLinkPath is where the links in mails lead, below [Options.PublicURL],
// with the query sid and token. The page must ask before it calls
// [Server.SubmitEmailLink]: programs that scan mail follow links, too.
const EmailLinkPath = "/_beffroi/client/v1/email"

// EmailRequest asks for a mail that proves an address.
type EmailRequest struct {
	Purpose  Purpose
	User     matrix.UserID // who adds a contact
	Address  string
	Secret   string // of the client
	Attempt  int64  // a greater number asks for another mail
	NextLink string
	Language string // as in Accept-Language
	Source   string // the address of the client
}

// RequestEmail sends a code and a link to an address and returns the ID of the
// session. The answer is the same whether an account has the address or not:
// where it cannot serve the purpose, the mail says so, and no code will do.
// Only what the policy refuses is refused here. Mails that come too often are
// M_LIMIT_EXCEEDED.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registeremailrequesttoken
func (s *Server) RequestEmail(ctx context.Context, req EmailRequest) (sid string, err error) {
	address, err := s.acceptableMail(ctx, req)
	if err != nil {
		return "", err
	}
	now := s.now()
	session := users.MailSession{
		SID: sidOf(req, address), SecretHash: hash(req.Secret), Purpose: string(req.Purpose), User: req.User,
		Address: address, Attempt: req.Attempt, NextLink: req.NextLink, Sent: now, Expires: now + mailLifetime.Milliseconds(),
	}
	// Nobody shall make us write to all the world about accounts that are not.
	stranger := req.Purpose == ForPassword && s.mayRegister(ctx, address, policy.SourceClient) != nil
	code, link, mailID := randomCode(), randomID(), randomID()
	letter, fresh := letter{}, false
	err = s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		letter, fresh = letter.empty(), false
		known, err := users.MailSessionByID(ctx, &tx.Reader, session.SID)
		if err != nil && !storage.NoRows(err) {
			return err
		}
		if err == nil && known.Attempt >= req.Attempt && known.Expires > now {
			return nil // it asked for this mail already
		}
		if err := s.mayMail(ctx, tx, address, now); err != nil {
			return err
		}
		owner, err := users.ThreepidOwner(ctx, &tx.Reader, users.MediumEmail, address)
		if err != nil {
			return err
		}
		letter, fresh = letterFor(req.Purpose, owner), true
		put := session
		if letter.useful {
			put.CodeHash, put.LinkHash = hash(session.SID, code), hash(session.SID, link)
		}
		if err := users.AddMailSent(ctx, tx, mailID, address, now); err != nil {
			return err
		}
		return users.PutMailSession(ctx, tx, put)
	})
	if err != nil || !fresh || stranger && !letter.useful {
		return session.SID, err
	}
	letter.To, letter.Code, letter.Server = req.Address, code, string(s.ServerName)
	letter.Link = s.PublicURL + EmailLinkPath + "?" + url.Values{"sid": {session.SID}, "token": {link}}.Encode()
	letter.Language = s.language(req.Language)
	if err := s.Mailer.send(ctx, letter); err != nil {
		// The same attempt must be able to ask again.
		_ = s.append(context.WithoutCancel(ctx), "", func(ctx context.Context, tx *storage.Tx) error {
			return users.DeleteMailSession(ctx, tx, session.SID)
		})
		return "", err
	}
	return session.SID, nil
}

// acceptableMail refuses what no address of an account could be, and returns
// the address in comparable form.
func (s *Server) acceptableMail(ctx context.Context, req EmailRequest) (string, error) {
	switch {
	case s.Mailer == nil:
		return "", matrix.NewError(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "This server sends no mail")
	case !validSecret(req.Secret):
		return "", matrix.InvalidParam("client_secret has 1 to %d characters of [0-9a-zA-Z.=_-]", maxSecretBytes)
	case len(req.NextLink) > maxNextLinkBytes || !plain(req.NextLink, maxNextLinkBytes):
		return "", matrix.InvalidParam("next_link has at most %d bytes", maxNextLinkBytes)
	}
	address, err := normaliseEmail(req.Address)
	if err != nil {
		return "", err
	}
	if req.Purpose == ForPassword {
		return address, nil // who has an account may have its password back
	}
	return address, s.mayRegister(ctx, address, policy.SourceClient)
}

// mayMail bounds the mails to an address.
func (s *Server) mayMail(ctx context.Context, tx *storage.Tx, address string, now int64) error {
	last, count, err := users.MailsSent(ctx, &tx.Reader, address, now-mailDay.Milliseconds())
	switch wait := last + mailInterval.Milliseconds() - now; {
	case err != nil:
		return err
	case wait > 0:
		return matrix.LimitExceeded(time.Duration(wait) * time.Millisecond)
	case count >= maxMailsPerDay:
		return matrix.LimitExceeded(time.Hour)
	}
	return nil
}

// sidOf names the session: the same client that asks again for the same thing
// gets the same session.
func sidOf(req EmailRequest, address string) string {
	return hash("mail", string(req.Purpose), string(req.User), address, req.Secret)[:32]
}

func validSecret(secret string) bool {
	if secret == "" || len(secret) > maxSecretBytes {
		return false
	}
	for i := range len(secret) {
		c := secret[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '=' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// randomCode returns six digits.
func randomCode() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return fmt.Sprintf("%06d", n)
}

// SubmitEmailCode takes the code of a mail, or the token of its link, from the
// client that asked for it, and returns where the client wanted to go next. A
// code that is wrong, used up or out of date is one M_FORBIDDEN.
func (s *Server) SubmitEmailCode(ctx context.Context, sid, secret, code string) (nextLink string, err error) {
	return s.submitMail(ctx, sid, code, func(m users.MailSession) bool { return m.SecretHash == hash(secret) })
}

// SubmitEmailLink takes the token of a link, from whoever has the mail.
func (s *Server) SubmitEmailLink(ctx context.Context, sid, token string) (nextLink string, err error) {
	if len(token) <= len("000000") {
		return "", errWrongCode() // a code is for the client alone
	}
	return s.submitMail(ctx, sid, token, func(users.MailSession) bool { return true })
}

func errWrongCode() error {
	e := matrix.Forbidden("The code is wrong or out of date")
	e.Texts = map[string]string{"fr": "Le code est erroné ou périmé"}
	return e
}

func (s *Server) submitMail(ctx context.Context, sid, code string, mine func(users.MailSession) bool) (nextLink string, err error) {
	right := false
	err = s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		right = false
		m, err := users.MailSessionByID(ctx, &tx.Reader, sid)
		switch {
		case storage.NoRows(err):
			return errWrongCode()
		case err != nil:
			return err
		case m.Expires <= s.now() || m.Tries >= maxTries || !mine(m):
			return errWrongCode()
		}
		given := []byte(hash(sid, code))
		right = m.CodeHash != "" &&
			subtle.ConstantTimeCompare(given, []byte(m.CodeHash))|subtle.ConstantTimeCompare(given, []byte(m.LinkHash)) == 1
		nextLink = m.NextLink
		switch {
		case !right:
			m.Tries++
		case m.Validated == 0:
			m.Validated, m.Expires = s.now(), s.now()+validatedLifetime.Milliseconds()
		}
		return users.PutMailSession(ctx, tx, m)
	})
	if err == nil && !right {
		err = errWrongCode()
	}
	if err != nil {
		return "", err
	}
	return nextLink, nil
}

// emailStage checks that the address of a mail session was proven for the
// operation. The session is remembered, so that a client can ask again with
// nothing but the session of the challenge.
func (s *Server) emailStage(ctx context.Context, c Challenge, u *uiaState, dict authDict) error {
	creds := dict.Creds
	if creds.SID == "" {
		creds = dict.CredsOldStyle
	}
	sid := creds.SID
	if sid == "" {
		sid = u.MailSID
	}
	var m users.MailSession
	err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		m, err = users.MailSessionByID(ctx, r, sid)
		return err
	})
	unknown := matrix.NewError(401, "M_THREEPID_AUTH_FAILED", "The address has not been proven")
	switch {
	case storage.NoRows(err):
		return unknown
	case err != nil:
		return err
	case creds.SID != "" && m.SecretHash != hash(creds.Secret):
		return unknown
	case m.Purpose != c.Operation || m.User != c.User && m.User != "" || m.Expires <= s.now():
		return unknown
	}
	if u.MailSID != m.SID {
		u.MailSID, u.changed = m.SID, true
	}
	if m.Validated == 0 {
		return unknown
	}
	return nil
}
