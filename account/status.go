package account

import (
	"context"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/keys"
	"beffroi/storage/users"
)

// ChangePassword stores a new password for the account of a proof: that of a
// password, or of an address of the account. If all is true every other device
// is logged out; keep is the device that asks, or "".
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword
func (s *Server) ChangePassword(ctx context.Context, proof *Proof, password string, all bool, keep matrix.DeviceID) error {
	if proof == nil || proof.User == "" {
		return matrix.NewError(404, "M_THREEPID_NOT_FOUND", "No account has this address")
	}
	if err := s.acceptable(password); err != nil {
		return err
	}
	hashed, err := s.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	return s.append(ctx, proof.User, func(ctx context.Context, tx *storage.Tx) error {
		if err := s.spendable(ctx, tx, proof); err != nil {
			return err
		}
		if _, err := s.account(ctx, &tx.Reader, proof.User); err != nil {
			return err
		}
		if err := s.spend(ctx, tx, proof); err != nil {
			return err
		}
		if err := users.SetPassword(ctx, tx, proof.User, hashed); err != nil || !all {
			return err
		}
		return deleteAllDevices(ctx, tx, proof.User, keep)
	})
}

// ResetPassword stores a new password on the word of an administrator and logs
// every device out.
func (s *Server) ResetPassword(ctx context.Context, user matrix.UserID, password string) error {
	return s.ChangePassword(ctx, &Proof{User: user}, password, true, "")
}

// OpDeactivate is the operation of a [Challenge] before [Server.Deactivate].
const OpDeactivate = "deactivate"

// Deactivate ends the account of a proof for good: nobody can log in or have
// its name; its devices, password, addresses, profile and key backups are
// gone. With erase its account data goes too, and who comes into a room later
// does not read what it wrote. Its rooms are for another owner to leave: see
// [Server.Departures].
//
// https://spec.matrix.org/v1.19/client-server-api/#account-deactivation
func (s *Server) Deactivate(ctx context.Context, user matrix.UserID, erase bool, proof *Proof) error {
	return s.append(ctx, user, func(ctx context.Context, tx *storage.Tx) error {
		if err := s.spendable(ctx, tx, proof); err != nil {
			return err
		}
		u, err := s.account(ctx, &tx.Reader, user)
		if err != nil {
			return err
		}
		if err := s.spend(ctx, tx, proof); err != nil {
			return err
		}
		if erase {
			if err := users.Erase(ctx, tx, user, s.now()); err != nil {
				return err
			}
		}
		for _, step := range []func(context.Context, *storage.Tx, matrix.UserID) error{
			users.DeleteThreepids, users.DeleteShortTokens, users.DeleteProfile, keys.DeleteBackups,
		} {
			if err := step(ctx, tx, user); err != nil {
				return err
			}
		}
		if err := users.SetPassword(ctx, tx, user, ""); err != nil {
			return err
		}
		if err := deleteAllDevices(ctx, tx, user, ""); err != nil {
			return err
		}
		if err := users.AddDeparture(ctx, tx, user, s.now()); err != nil {
			return err
		}
		u.Deactivated = true
		return users.SetStatus(ctx, tx, u)
	})
}

// Departures returns at most limit accounts that were deactivated and have
// still to leave their rooms.
func (s *Server) Departures(ctx context.Context, limit int) (list []matrix.UserID, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		list, err = users.Departures(ctx, r, limit)
		return err
	})
	return list, err
}

// Departed notes that an account has left its rooms.
func (s *Server) Departed(ctx context.Context, user matrix.UserID) error {
	return s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error { return users.Departed(ctx, tx, user) })
}

// AdminProof is the proof of an administrator, whose own session is enough.
func AdminProof(session Session) *Proof {
	if !session.Admin {
		return nil
	}
	return &Proof{User: session.User}
}

// User returns an account, or M_NOT_FOUND. Its password hash is left out.
func (s *Server) User(ctx context.Context, user matrix.UserID) (u users.User, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		u, err = users.ByID(ctx, r, user)
		return err
	})
	u.Password = ""
	return u, err
}

// Lock locks or unlocks an account. A locked one keeps its sessions, which can
// do nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#account-locking
func (s *Server) Lock(ctx context.Context, user matrix.UserID, locked bool) error {
	return s.change(ctx, user, func(u *users.User) { u.Locked = locked })
}

// Suspend suspends an account, or ends that.
//
// https://spec.matrix.org/v1.19/client-server-api/#account-suspension
func (s *Server) Suspend(ctx context.Context, user matrix.UserID, suspended bool) error {
	return s.change(ctx, user, func(u *users.User) { u.Suspended = suspended })
}

// SetAdmin makes an account an administrator, or an ordinary one again.
func (s *Server) SetAdmin(ctx context.Context, user matrix.UserID, admin bool) error {
	return s.change(ctx, user, func(u *users.User) { u.Admin = admin })
}

// SetValidity says until when an account can be used. The zero time is for ever.
func (s *Server) SetValidity(ctx context.Context, user matrix.UserID, until time.Time) error {
	return s.change(ctx, user, func(u *users.User) {
		u.ValidUntil = 0
		if !until.IsZero() {
			u.ValidUntil = until.UnixMilli()
		}
	})
}

func (s *Server) change(ctx context.Context, user matrix.UserID, change func(*users.User)) error {
	return s.append(ctx, user, func(ctx context.Context, tx *storage.Tx) error {
		u, err := s.account(ctx, &tx.Reader, user)
		if err != nil {
			return err
		}
		before := u
		if change(&u); u == before {
			return nil
		}
		return users.SetStatus(ctx, tx, u)
	})
}

// Sponsor lets the owner of an address of an external organisation make an
// account, for which the sponsor answers, until a time. The account ends when
// ends says; the zero time is when every account does.
func (s *Server) Sponsor(ctx context.Context, address string, sponsor matrix.UserID, until, ends time.Time) error {
	address, err := normaliseEmail(address)
	if err != nil {
		return err
	}
	now := s.Now()
	if !until.After(now) || !ends.IsZero() && !ends.After(now) {
		return matrix.InvalidParam("a sponsorship ends in the future")
	}
	p := users.Sponsorship{Address: address, Sponsor: sponsor, Created: now.UnixMilli(), Expires: until.UnixMilli()}
	if !ends.IsZero() {
		p.Ends = ends.UnixMilli()
	}
	return s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error { return users.PutSponsorship(ctx, tx, p) })
}

// Sponsored reports whether somebody answers for the owner of an address.
func (s *Server) Sponsored(ctx context.Context, address string) (bool, error) {
	address, err := normaliseEmail(address)
	if err != nil {
		return false, err
	}
	var p users.Sponsorship
	err = s.DB.View(ctx, func(r *storage.Reader) (err error) {
		p, err = users.SponsorshipOf(ctx, r, address)
		return err
	})
	if storage.NoRows(err) {
		return false, nil
	}
	return p.Expires > s.now(), err
}

// HasAddress reports whether an account of this server has an address.
func (s *Server) HasAddress(ctx context.Context, address string) (bool, error) {
	address, err := normaliseEmail(address)
	if err != nil {
		return false, err
	}
	var owner matrix.UserID
	err = s.DB.View(ctx, func(r *storage.Reader) (err error) {
		owner, err = users.ThreepidOwner(ctx, r, users.MediumEmail, address)
		return err
	})
	return owner != "", err
}

// Emails returns the addresses of an account.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3account3pid
func (s *Server) Emails(ctx context.Context, user matrix.UserID) (list []users.Threepid, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		list, err = users.Threepids(ctx, r, user)
		return err
	})
	return list, err
}
