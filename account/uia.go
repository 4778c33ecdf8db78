package account

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/users"
)

// The stages of user-interactive authentication.
//
// https://spec.matrix.org/v1.19/client-server-api/#authentication-types
const (
	StageDummy    = "m.login.dummy"
	StagePassword = "m.login.password"
	StageEmail    = "m.login.email.identity"
	StageToken    = "m.login.registration_token"
)

const (
	// uiaLifetime is how long somebody may take to prove who they are. It is
	// longer than a mail session lives.
	uiaLifetime = 30 * time.Minute
	// maxSubjectBytes bounds what is kept of the subject of a challenge.
	maxSubjectBytes = 64 << 10
)

// Challenge is what somebody has to prove before an operation.
type Challenge struct {
	// Operation names the API call. What was proven for one is worth nothing
	// for another.
	Operation string
	// User is who is logged in, or "".
	User matrix.UserID
	// Subject is what the operation is about, such as the devices to delete. It
	// cannot change between the steps.
	Subject string
	// Flows are the ways to prove it; the client chooses one.
	Flows [][]string
	// Source is the address of the client, for the limits.
	Source string
}

// Proof says that a challenge was met. It is good for one operation: see
// [Server.Spend].
type Proof struct {
	session string // hash; "" where all was proven at once
	mailSID string
	token   string // hash of the registration token

	// User is whose password was given, or whose address was proven.
	User matrix.UserID
	// Email is the address that was proven, in comparable form, or "".
	Email string
	// Admin says that the registration token makes an administrator.
	Admin bool
}

// authDict is what a client sends as auth.
type authDict struct {
	Type          string     `json:"type"`
	Session       string     `json:"session"`
	Identifier    Identifier `json:"identifier"`
	User          string     `json:"user"` // of old clients
	Password      string     `json:"password"`
	Token         string     `json:"token"`
	Creds         mailCreds  `json:"threepid_creds"`
	CredsOldStyle mailCreds  `json:"threepidCreds"`
}

type mailCreds struct {
	SID    string `json:"sid"`
	Secret string `json:"client_secret"`
}

// Prove works one step of user-interactive authentication. auth is the member
// of that name of the request, or nil. Until the challenge is met the error is
// the answer of status 401 that tells the client what to do next; its Code is
// "" where nothing went wrong.
//
// https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
func (s *Server) Prove(ctx context.Context, c Challenge, auth json.RawMessage) (*Proof, error) {
	if len(c.Subject) > maxSubjectBytes {
		return nil, matrix.TooLarge("the request is about too many things at once")
	}
	var dict authDict
	if len(auth) > 0 && string(auth) != "null" {
		if err := json.Unmarshal(auth, &dict); err != nil {
			return nil, matrix.BadJSON("auth is not of the form of authentication data")
		}
	}
	session, err := s.uiaSession(ctx, c, dict.Session)
	if err != nil {
		return nil, err
	}
	if dict.Type == "" && dict.Session == "" {
		return nil, s.askFor(ctx, c, session, nil)
	}
	proof := &Proof{}
	if session.known {
		proof.session = session.Hash
	}
	if err := s.workStage(ctx, c, session, dict); err != nil {
		answer, ok := errors.AsType[*matrix.Error](err)
		if !ok || answer.Status != http.StatusUnauthorized && answer.Status != http.StatusForbidden || answer.Code == "M_LIMIT_EXCEEDED" {
			return nil, err
		}
		return nil, s.askFor(ctx, c, session, answer)
	}
	if !finished(c.Flows, session.stages()) {
		return nil, s.askFor(ctx, c, session, nil)
	}
	return proof, s.fill(ctx, proof, session)
}

// uiaState is a session as it is worked on.
type uiaState struct {
	users.UIASession
	id      string
	known   bool // it is stored
	changed bool
	user    matrix.UserID // whose password was given
}

func (u *uiaState) stages() []string { return strings.Fields(u.Completed) }

func (u *uiaState) complete(stage string) {
	u.Completed = strings.TrimSpace(u.Completed + " " + stage)
	u.changed = true
}

// uiaSession returns the session of a client, or a new one.
func (s *Server) uiaSession(ctx context.Context, c Challenge, id string) (*uiaState, error) {
	fresh := &uiaState{id: randomID(), UIASession: users.UIASession{
		Operation: c.Operation, User: c.User, Subject: c.Subject, Expires: s.now() + uiaLifetime.Milliseconds()}}
	fresh.Hash = hash(fresh.id)
	if id == "" {
		return fresh, nil
	}
	var found users.UIASession
	err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		found, err = users.UIASessionByHash(ctx, r, hash(id))
		return err
	})
	switch {
	case storage.NoRows(err) || err == nil && found.Expires <= s.now():
		return nil, s.askFor(ctx, c, fresh, matrix.Forbidden("The session of this authentication is over; begin again"))
	case err != nil:
		return nil, err
	case found.Operation != c.Operation || found.User != c.User || found.Subject != c.Subject:
		return nil, matrix.Forbidden("The session belongs to another operation")
	}
	return &uiaState{UIASession: found, id: id, known: true}, nil
}

// askFor stores the session and returns the answer that asks for what is
// missing, with what went wrong if something did.
func (s *Server) askFor(ctx context.Context, c Challenge, u *uiaState, wrong *matrix.Error) error {
	if !u.known || u.changed {
		_, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
			if u.known { // somebody may have spent it in the meantime
				if _, err := users.UIASessionByHash(ctx, &tx.Reader, u.Hash); err != nil {
					return matrix.Unauthorized("The session of this authentication is over; begin again")
				}
			}
			return users.PutUIASession(ctx, tx, u.UIASession)
		})
		if err != nil {
			return err
		}
	}
	type flow struct {
		Stages []string `json:"stages"`
	}
	flows := make([]flow, len(c.Flows))
	for i, stages := range c.Flows {
		flows[i] = flow{stages}
	}
	answer := &matrix.Error{Status: http.StatusUnauthorized}
	if wrong != nil {
		answer.Code, answer.Text, answer.Texts = wrong.Code, wrong.Text, wrong.Texts
	}
	answer = answer.With("flows", flows).With("params", map[string]any{}).With("session", u.id)
	if done := u.stages(); len(done) > 0 {
		answer = answer.With("completed", done)
	}
	return answer
}

// workStage checks one stage, if the client wants to complete one now.
func (s *Server) workStage(ctx context.Context, c Challenge, u *uiaState, dict authDict) error {
	stage, done := dict.Type, u.stages()
	if stage == "" && u.MailSID != "" { // it asks whether the link was followed
		stage = StageEmail
	}
	if stage == "" || slices.Contains(done, stage) {
		return nil // a completed stage cannot be tried again
	}
	if !allowed(c.Flows, done, stage) {
		return matrix.Forbidden("%s is not the next stage of any flow", clip(stage))
	}
	var err error
	switch stage {
	case StageDummy:
	case StagePassword:
		err = s.passwordStage(ctx, c, u, dict)
	case StageEmail:
		err = s.emailStage(ctx, c, u, dict)
	case StageToken:
		err = s.tokenStage(ctx, u, dict.Token)
	default:
		err = matrix.Forbidden("%s is not a stage of this server", clip(stage))
	}
	if err != nil {
		return err
	}
	u.complete(stage)
	return nil
}

func (s *Server) passwordStage(ctx context.Context, c Challenge, u *uiaState, dict authDict) error {
	if dict.Identifier.Type == "" {
		dict.Identifier = Identifier{Type: IdentifierUser, User: dict.User}
	}
	if dict.Identifier.User == "" && dict.Identifier.Address == "" && c.User != "" {
		dict.Identifier = Identifier{Type: IdentifierUser, User: string(c.User)}
	}
	account, err := s.checkPassword(ctx, dict.Identifier, dict.Password, c.Source)
	if err != nil {
		return err
	}
	if c.User != "" && account.ID != c.User {
		return errWrongPassword()
	}
	u.user = account.ID
	return nil
}

func (s *Server) tokenStage(ctx context.Context, u *uiaState, token string) error {
	var found users.RegistrationToken
	err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		found, err = users.RegistrationTokenByHash(ctx, r, hash(token))
		return err
	})
	if storage.NoRows(err) || err == nil && (found.UsesLeft <= 0 || found.Expires <= s.now()) {
		return matrix.Forbidden("This registration token is not valid")
	}
	u.TokenHash, u.changed = found.Hash, true
	return err
}

// ValidRegistrationToken reports whether somebody could register with a token
// now. Where nobody can register at all it is M_FORBIDDEN.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity
func (s *Server) ValidRegistrationToken(ctx context.Context, token string) (bool, error) {
	if _, err := s.flows(ctx); err != nil {
		return false, err
	}
	err := s.tokenStage(ctx, &uiaState{}, token)
	if matrix.IsCode(err, "M_FORBIDDEN") {
		return false, nil
	}
	return err == nil, err
}

// fill completes a proof with what its stages found out.
func (s *Server) fill(ctx context.Context, p *Proof, u *uiaState) error {
	p.User, p.mailSID, p.token = u.user, u.MailSID, u.TokenHash
	return s.DB.View(ctx, func(r *storage.Reader) error {
		if p.token != "" {
			token, err := users.RegistrationTokenByHash(ctx, r, p.token)
			if err != nil && !storage.NoRows(err) {
				return err
			}
			p.Admin = token.Admin
		}
		if p.mailSID == "" {
			return nil
		}
		mail, err := users.MailSessionByID(ctx, r, p.mailSID)
		if storage.NoRows(err) {
			return matrix.Unauthorized("The proof of the address is over; begin again")
		}
		if err != nil {
			return err
		}
		p.Email = mail.Address
		owner, err := users.ThreepidOwner(ctx, r, users.MediumEmail, mail.Address)
		if p.User == "" {
			p.User = owner
		}
		return err
	})
}

// Spend uses up a proof, for an operation outside this package; the operations
// of this one do it in their own commit. A proof that was spent is
// M_UNAUTHORIZED: who asks for the same thing twice proves it twice.
func (s *Server) Spend(ctx context.Context, p *Proof) error {
	_, err := s.DB.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		if err := s.spendable(ctx, tx, p); err != nil {
			return err
		}
		return s.spend(ctx, tx, p)
	})
	return err
}

// spendable returns why a proof cannot be spent, before anything is written.
func (s *Server) spendable(ctx context.Context, tx *storage.Tx, p *Proof) error {
	over := matrix.Unauthorized("This authentication was used already; begin again")
	if p == nil {
		return over
	}
	if p.session != "" {
		if _, err := users.UIASessionByHash(ctx, &tx.Reader, p.session); err != nil {
			return orRows(err, over)
		}
	}
	if p.mailSID != "" {
		mail, err := users.MailSessionByID(ctx, &tx.Reader, p.mailSID)
		if err != nil {
			return orRows(err, over)
		}
		if mail.Validated == 0 {
			return over
		}
	}
	if p.token != "" {
		token, err := users.RegistrationTokenByHash(ctx, &tx.Reader, p.token)
		if err != nil {
			return orRows(err, over)
		}
		if token.UsesLeft <= 0 || token.Expires <= s.now() {
			return over
		}
	}
	return nil
}

// orRows returns err, or instead of "no rows" what that means.
func orRows(err error, instead error) error {
	if storage.NoRows(err) {
		return instead
	}
	return err
}

// spend writes that a proof is used up. [Server.spendable] came before it.
func (s *Server) spend(ctx context.Context, tx *storage.Tx, p *Proof) error {
	if p.session != "" {
		if _, err := users.DeleteUIASession(ctx, tx, p.session); err != nil {
			return err
		}
	}
	if p.mailSID != "" {
		if err := users.DeleteMailSession(ctx, tx, p.mailSID); err != nil {
			return err
		}
	}
	if p.token != "" {
		_, err := users.SpendRegistrationToken(ctx, tx, p.token, s.now())
		return err
	}
	return nil
}

// allowed reports whether stage is the next one of a flow that begins with
// what is done. An order that differs within a flow is refused.
func allowed(flows [][]string, done []string, stage string) bool {
	for _, flow := range flows {
		n := len(done)
		if n < len(flow) && slices.Equal(flow[:n], done) && flow[n] == stage {
			return true
		}
	}
	return false
}

func finished(flows [][]string, done []string) bool {
	return slices.ContainsFunc(flows, func(flow []string) bool { return slices.Equal(flow, done) })
}

// clip bounds what a message repeats of an input.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
