package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/users"
)

// RenewalPath is where the links in reminders lead, below [Options.PublicURL],
// with the query token. The page must ask before it calls [Server.Renew]:
// programs that scan mail follow links, too.
const RenewalPath = "/_matrix/client/unstable/account_validity/renew"

// reminders are how long before its end an account is written to.
var reminders = []time.Duration{60 * 24 * time.Hour, 30 * 24 * time.Hour, 15 * 24 * time.Hour}

const (
	// renewalGrace is for how long a link is good after the end of the account
	// that it prolongs, and afterwards is known to have been.
	renewalGrace = 180 * 24 * time.Hour
	// endingsChunk bounds one look at the accounts that end.
	endingsChunk = 100
	// endingsEvery is how often those are looked for.
	endingsEvery = 10 * time.Minute
)

// RequestRenewal sends an account the mail that prolongs it. It is
// M_INVALID_PARAM where the account has no end, or no address to write to.
func (s *Server) RequestRenewal(ctx context.Context, user matrix.UserID, language string) error {
	u, err := s.User(ctx, user)
	if err != nil {
		return err
	}
	if u.ValidUntil == 0 {
		return matrix.InvalidParam("this account does not expire")
	}
	emails, err := s.Emails(ctx, user)
	if err != nil {
		return err
	}
	if len(emails) == 0 || s.Mailer == nil {
		return matrix.InvalidParam("this account has no address to which a mail could go; an administrator can prolong it")
	}
	return s.sendRenewal(ctx, users.Ending{User: user, Until: u.ValidUntil}, emails, language, true)
}

// sendRenewal writes to every address of an account. limited says that somebody
// asked for it, who may not do so all the time.
func (s *Server) sendRenewal(ctx context.Context, e users.Ending, emails []users.Threepid, language string, limited bool) error {
	now, token := s.now(), randomID()+randomID()
	ids := make([]string, len(emails))
	for i := range ids {
		ids[i] = randomID()
	}
	err := s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		for i, mail := range emails {
			if err := s.mayMail(ctx, tx, mail.Address, now); err != nil && limited {
				return err
			}
			if err := users.AddMailSent(ctx, tx, ids[i], mail.Address, now); err != nil {
				return err
			}
		}
		return users.AddRenewalToken(ctx, tx, users.RenewalToken{Hash: hash(token), User: e.User, Until: e.Until,
			Expires: max(e.Until, now) + renewalGrace.Milliseconds()})
	})
	if err != nil {
		return err
	}
	l := letter{template: "renewal", Server: string(s.ServerName), Language: s.language(language),
		Link:  s.PublicURL + RenewalPath + "?" + url.Values{"token": {token}}.Encode(),
		Until: time.UnixMilli(e.Until).UTC().Format(time.DateOnly), Expired: e.Until <= now}
	for _, mail := range emails {
		l.To = mail.Address
		err = errors.Join(err, s.Mailer.send(ctx, l))
	}
	return err
}

// Renew prolongs the account that a link is for. Once done it is done: the link
// answers the same again. A token that is unknown or too old is M_UNKNOWN_TOKEN
// with the status 400.
func (s *Server) Renew(ctx context.Context, token string) (until time.Time, err error) {
	var t users.RenewalToken
	err = s.DB.View(ctx, func(r *storage.Reader) (err error) {
		t, err = users.RenewalTokenByHash(ctx, r, hash(token))
		return err
	})
	unknown := matrix.NewError(400, "M_UNKNOWN_TOKEN", "This link does not work; ask for another mail")
	if err != nil {
		return until, orRows(err, unknown)
	}
	if t.Expires <= s.now() {
		return until, unknown
	}
	err = s.append(ctx, t.User, func(ctx context.Context, tx *storage.Tx) error {
		u, err := s.account(ctx, &tx.Reader, t.User)
		if matrix.IsCode(err, "M_NOT_FOUND") {
			return unknown
		}
		if err != nil {
			return err
		}
		if u.ValidUntil == t.Until && s.Validity > 0 {
			if u.ValidUntil, err = s.renewedUntil(ctx, tx, t.User); err != nil {
				return err
			}
			err = users.SetStatus(ctx, tx, u)
		}
		until = time.UnixMilli(u.ValidUntil)
		return err
	})
	return until, err
}

// renewedUntil returns until when an account is prolonged now: not beyond the
// end that a sponsor has set for the owner of one of its addresses.
func (s *Server) renewedUntil(ctx context.Context, tx *storage.Tx, user matrix.UserID) (int64, error) {
	until := s.now() + s.Validity.Milliseconds()
	emails, err := users.Threepids(ctx, &tx.Reader, user)
	if err != nil {
		return 0, err
	}
	for _, mail := range emails {
		p, err := users.SponsorshipOf(ctx, &tx.Reader, mail.Address)
		if err != nil && !storage.NoRows(err) {
			return 0, err
		}
		if err == nil && p.Ends > 0 {
			until = min(until, p.Ends)
		}
	}
	return until, nil
}

// RunReminders calls [Server.Remind] again and again until ctx ends. It is
// apart from [Server.Run], because a mail may take its time.
func (s *Server) RunReminders(ctx context.Context) error {
	tick := time.NewTicker(endingsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.Remind(ctx); err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "accounts not told of their end; trying again", "error", err)
		}
	}
}

// Remind writes to the accounts whose end is near, and deactivates those whose
// end is long past. A mail that cannot be sent is tried again next time.
func (s *Server) Remind(ctx context.Context) error {
	if s.Validity == 0 {
		return nil
	}
	after := matrix.UserID("")
	for {
		var list []users.Ending
		err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
			list, err = users.Endings(ctx, r, s.now()+reminders[0].Milliseconds()+1, after, endingsChunk)
			return err
		})
		if err != nil {
			return err
		}
		for _, e := range list {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			after = e.User
			if err := s.ending(ctx, e); err != nil {
				slog.WarnContext(ctx, "account not told of its end; trying again", "user_id", e.User, "error", err)
			}
		}
		if len(list) < endingsChunk {
			return nil
		}
	}
}

// ending does what is due for one account.
func (s *Server) ending(ctx context.Context, e users.Ending) error {
	now := s.now()
	if s.DeactivateAfter > 0 && e.Until+s.DeactivateAfter.Milliseconds() <= now {
		return s.deactivateExpired(ctx, e)
	}
	due := int64(0)
	for _, before := range reminders {
		if e.Until-before.Milliseconds() <= now {
			due++
		}
	}
	if due <= e.Sent || s.Mailer == nil {
		return nil
	}
	emails, err := s.Emails(ctx, e.User)
	if err != nil || len(emails) == 0 {
		return err
	}
	mine := false // of several nodes one writes
	claim := func(from, to int64) error {
		return s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
			sent, err := users.ReminderOf(ctx, &tx.Reader, e.User, e.Until)
			if mine = err == nil && sent == from; !mine {
				return err
			}
			return users.SetReminder(ctx, tx, users.Ending{User: e.User, Until: e.Until, Sent: to})
		})
	}
	if err := claim(e.Sent, due); err != nil || !mine {
		return err
	}
	if err := s.sendRenewal(ctx, e, emails, "", false); err != nil {
		return errors.Join(err, claim(due, e.Sent))
	}
	return nil
}

func (s *Server) deactivateExpired(ctx context.Context, e users.Ending) error {
	u, err := s.User(ctx, e.User)
	if err != nil || u.ValidUntil != e.Until {
		return err // it was prolonged in the meantime
	}
	slog.InfoContext(ctx, "account deactivated: it was not renewed", "user_id", e.User)
	if err := s.Deactivate(ctx, e.User, false, &Proof{User: e.User}); err != nil {
		return fmt.Errorf("deactivate: %w", err)
	}
	return nil
}
