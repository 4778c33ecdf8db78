package account

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/users"
)

// The operations that this package asks proofs for. Other packages name their own.
const (
	OpRegister = "register"
	OpPassword = "password"
)

// Registration is what somebody wants an account with.
type Registration struct {
	Username string // "" lets the server choose; an e-mail address chooses by itself
	Password string
	Client
	InhibitLogin bool
}

// maxSuffix bounds the search for a free name.
const maxSuffix = 1000

// flows returns the ways to register.
func (s *Server) flows(ctx context.Context) ([][]string, error) {
	var flows [][]string
	if s.Development {
		flows = append(flows, []string{StageDummy})
	}
	if s.Mailer != nil {
		flows = append(flows, []string{StageEmail})
	}
	err := s.DB.View(ctx, func(r *storage.Reader) error {
		tokens, err := users.HasRegistrationTokens(ctx, r, s.now())
		if tokens {
			flows = append(flows, []string{StageToken})
		}
		return err
	})
	if err == nil && len(flows) == 0 {
		e := matrix.Forbidden("Accounts of this server are made by its administrators")
		e.Texts = policy.ReasonRegistrationClosed.Text()
		return nil, e
	}
	return flows, err
}

// Register makes an account for somebody who proves that they may have one: by
// an e-mail address of an allowed domain, by a registration token, or in
// development by asking. What is wrong with the name is said before the proof.
// Who registers by e-mail is named after the address.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
func (s *Server) Register(ctx context.Context, req Registration, auth json.RawMessage) (Login, error) {
	flows, err := s.flows(ctx)
	if err != nil {
		return Login{}, err
	}
	if err := req.Client.valid(); err != nil {
		return Login{}, err
	}
	if req.Password != "" {
		if err := s.acceptable(req.Password); err != nil {
			return Login{}, err
		}
	}
	if req.Username != "" && !(len(flows) == 1 && flows[0][0] == StageEmail) {
		if err := s.Available(ctx, req.Username); err != nil {
			return Login{}, err
		}
	}
	proof, err := s.Prove(ctx, Challenge{Operation: OpRegister, Flows: flows, Source: req.Source}, auth)
	if err != nil {
		return Login{}, err
	}
	return s.register(ctx, req, proof, policy.SourceClient)
}

// RegisterWithToken makes the account that a registration token is good for,
// such as the first administrator. A token that is not good is M_FORBIDDEN.
func (s *Server) RegisterWithToken(ctx context.Context, token string, req Registration) (Login, error) {
	if err := req.Client.valid(); err != nil {
		return Login{}, err
	}
	if err := s.Available(ctx, req.Username); err != nil {
		return Login{}, err
	}
	state := &uiaState{}
	if err := s.tokenStage(ctx, state, token); err != nil {
		return Login{}, err
	}
	proof := &Proof{}
	if err := s.fill(ctx, proof, state); err != nil {
		return Login{}, err
	}
	return s.register(ctx, req, proof, policy.SourceAdmin)
}

func (s *Server) register(ctx context.Context, req Registration, proof *Proof, source policy.Source) (Login, error) {
	if err := s.acceptable(req.Password); err != nil {
		return Login{}, err
	}
	if proof.token != "" {
		source = policy.SourceAdmin // an administrator made the token
	}
	if err := s.mayRegister(ctx, proof.Email, source); err != nil {
		return Login{}, err
	}
	hashed, err := s.hasher.hash(ctx, req.Password)
	if err != nil {
		return Login{}, err
	}
	n := newAccount{user: s.newUser(hashed), email: proof.Email, chosen: req.Username, proof: proof}
	n.user.Admin = proof.Admin
	if !req.InhibitLogin {
		n.session = s.newSession("", req.Client)
	}
	user, err := s.create(ctx, n)
	if err != nil || n.session == nil {
		return Login{User: user}, err
	}
	return n.session.login(), nil
}

func (s *Server) newUser(hashed string) users.User {
	return users.User{Password: hashed, Created: s.now()}
}

// Available returns nil if somebody could register the name, and otherwise
// M_INVALID_USERNAME or M_USER_IN_USE.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable
func (s *Server) Available(ctx context.Context, localpart string) error {
	user, err := s.validName(lower(localpart))
	if err != nil {
		return err
	}
	return s.DB.View(ctx, func(r *storage.Reader) error {
		_, err := users.ByID(ctx, r, user)
		switch {
		case err == nil:
			return errInUse()
		case matrix.IsCode(err, "M_NOT_FOUND"):
			return nil
		}
		return err
	})
}

// lower maps a name that somebody asks for to the localpart that is meant:
// there are no capitals in localparts.
//
// https://spec.matrix.org/v1.19/appendices/#mapping-from-other-character-sets
func lower(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

func errInUse() error {
	return matrix.NewError(400, "M_USER_IN_USE", "This user name is taken")
}

// validName returns the account that a localpart names. It is
// M_INVALID_USERNAME if a new account cannot have it.
func (s *Server) validName(localpart string) (matrix.UserID, error) {
	user := s.userID(localpart)
	if !matrix.ValidLocalpart(localpart) || len(user) > matrix.MaxIDBytes {
		return "", matrix.NewError(400, "M_INVALID_USERNAME",
			"A user name is of a-z, 0-9 and -._=/+, and with the name of the server not over %d bytes", matrix.MaxIDBytes)
	}
	return user, nil
}

// newAccount is an account that is about to be made.
type newAccount struct {
	user        users.User // without its ID
	chosen      string     // the localpart that was asked for, "" for none
	email       string     // "" for none
	displayName string     // "" takes the one that the address gives
	session     *newSession
	proof       *Proof
}

// create makes an account in one commit: with its name, address, profile and
// session, and it spends the proof. Of many who want one name or address, one
// gets it.
func (s *Server) create(ctx context.Context, n newAccount) (user matrix.UserID, err error) {
	fallback := randomID()
	err = s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		if n.proof != nil {
			if err := s.spendable(ctx, tx, n.proof); err != nil {
				return err
			}
		}
		if user, err = s.freeName(ctx, tx, n, fallback); err != nil {
			return err
		}
		if n.email != "" {
			owner, err := users.ThreepidOwner(ctx, &tx.Reader, users.MediumEmail, n.email)
			if err != nil {
				return err
			}
			if owner != "" {
				return matrix.NewError(400, "M_THREEPID_IN_USE", "This address belongs to an account already")
			}
		}
		return s.write(ctx, tx, user, n)
	})
	return user, err
}

// freeName returns the name of the account: the one that its address gives,
// with a number if it is taken, or the one that was asked for.
func (s *Server) freeName(ctx context.Context, tx *storage.Tx, n newAccount, fallback string) (matrix.UserID, error) {
	base, suffixes := lower(n.chosen), 1
	switch {
	case n.email != "" && n.proof != nil:
		base, suffixes = LocalpartOf(n.email), maxSuffix
	case base == "":
		base = "u-" + lower(fallback[:12])
	}
	for i := range suffixes {
		name := base
		if i > 0 {
			name += strconv.Itoa(i)
		}
		user, err := s.validName(name)
		if err != nil {
			return "", err
		}
		_, err = users.ByID(ctx, &tx.Reader, user)
		switch {
		case matrix.IsCode(err, "M_NOT_FOUND"):
			return user, nil
		case err != nil:
			return "", err
		}
	}
	return "", errInUse()
}

// limitLife gives an account its end: that of every account with an address,
// to which the renewals go, or an earlier one that its sponsor has set.
func (s *Server) limitLife(ctx context.Context, tx *storage.Tx, n *newAccount) error {
	if s.Validity > 0 {
		n.user.ValidUntil = n.user.Created + s.Validity.Milliseconds()
	}
	p, err := users.SponsorshipOf(ctx, &tx.Reader, n.email)
	if err != nil {
		return orRows(err, nil)
	}
	if p.Expires > s.now() && p.Ends > 0 && (n.user.ValidUntil == 0 || p.Ends < n.user.ValidUntil) {
		n.user.ValidUntil = p.Ends
	}
	return nil
}

func (s *Server) write(ctx context.Context, tx *storage.Tx, user matrix.UserID, n newAccount) error {
	n.user.ID = user
	if n.email != "" {
		if err := s.limitLife(ctx, tx, &n); err != nil {
			return err
		}
	}
	if created, err := users.Create(ctx, tx, n.user); err != nil {
		return err
	} else if !created {
		return errInUse()
	}
	if n.email != "" {
		now := s.now()
		_, err := users.AddThreepid(ctx, tx, users.Threepid{
			Medium: users.MediumEmail, Address: n.email, User: user, Validated: now, Added: now})
		if err != nil {
			return err
		}
	}
	name := n.displayName
	if name == "" && n.email != "" {
		name = DisplayNameOf(n.email)
	}
	if name != "" {
		value, err := json.Marshal(name)
		if err != nil {
			return err
		}
		if err := users.SetProfileField(ctx, tx, user, FieldDisplayName, string(value)); err != nil {
			return err
		}
	}
	if n.session != nil {
		n.session.user = user
		if err := n.session.write(ctx, tx); err != nil {
			return err
		}
	}
	if n.proof == nil {
		return nil
	}
	return s.spend(ctx, tx, n.proof)
}
