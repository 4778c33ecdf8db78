package account

import (
	"context"
	"net/http"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/users"
)

// maxContacts bounds the addresses of an account.
const maxContacts = 20

// AddEmail gives an account an address that a client has proven: sid and secret
// are those of the mail session. The proof is that of a [Challenge] to the
// account. An address that was not proven is M_THREEPID_AUTH_FAILED, and one
// that belongs to an account M_THREEPID_IN_USE.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3pidadd
func (s *Server) AddEmail(ctx context.Context, user matrix.UserID, sid, secret string, proof *Proof) error {
	mail, err := s.contactSession(ctx, user, sid, secret)
	if err != nil {
		return err
	}
	if err := s.mayRegister(ctx, mail.Address, policy.SourceClient); err != nil {
		return err
	}
	return s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		if err := s.spendable(ctx, tx, proof); err != nil {
			return err
		}
		if _, err := users.MailSessionByID(ctx, &tx.Reader, sid); err != nil {
			return orRows(err, errNotProven())
		}
		owner, err := users.ThreepidOwner(ctx, &tx.Reader, users.MediumEmail, mail.Address)
		if err != nil {
			return err
		}
		if owner != "" && owner != user {
			return matrix.NewError(http.StatusBadRequest, "M_THREEPID_IN_USE", "This address belongs to an account already")
		}
		have, err := users.Threepids(ctx, &tx.Reader, user)
		if err != nil {
			return err
		}
		if len(have) >= maxContacts {
			return matrix.NewError(http.StatusForbidden, "M_RESOURCE_LIMIT_EXCEEDED", "An account has at most %d addresses", maxContacts)
		}
		if err := s.spend(ctx, tx, proof); err != nil {
			return err
		}
		if err := users.DeleteMailSession(ctx, tx, sid); err != nil {
			return err
		}
		_, err = users.AddThreepid(ctx, tx, users.Threepid{Medium: users.MediumEmail, Address: mail.Address, User: user,
			Validated: mail.Validated, Added: s.now()})
		return err
	})
}

func errNotProven() error {
	return matrix.NewError(http.StatusBadRequest, "M_THREEPID_AUTH_FAILED", "The address has not been proven; ask for a mail and follow its link first")
}

// contactSession returns the mail session by which somebody proved an address
// to add.
func (s *Server) contactSession(ctx context.Context, user matrix.UserID, sid, secret string) (m users.MailSession, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		m, err = users.MailSessionByID(ctx, r, sid)
		return err
	})
	switch {
	case storage.NoRows(err):
		return m, errNotProven()
	case err != nil:
		return m, err
	case m.SecretHash != hash(secret), m.Purpose != string(ForContact), m.User != "" && m.User != user,
		m.Validated == 0, m.Expires <= s.now():
		return m, errNotProven()
	}
	return m, nil
}

// RemoveEmail takes an address from an account. One that it has not got is no
// error.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3account3piddelete
func (s *Server) RemoveEmail(ctx context.Context, user matrix.UserID, address string) error {
	address, err := normaliseEmail(address)
	if err != nil {
		return err
	}
	return s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		_, err := users.DeleteThreepid(ctx, tx, user, users.MediumEmail, address)
		return err
	})
}
