package policystore

import (
	"context"
	"time"

	"beffroi/matrix"
	"beffroi/policy"
	"beffroi/storage/policies"
)

// The kinds of lines in the audit trail.
const (
	KindRefusal    = "refusal"          // the policy refused a request or an event
	KindActivation = "activation"       // a document came into force
	KindRejected   = "document_refused" // a document was refused
	KindCall       = "call"             // an administrator's call
	KindFreshness  = "freshness"        // a document became too old, or was renewed
)

// RoomVersion returns the version that the policy gives new rooms, or "".
func (s *Store) RoomVersion() matrix.RoomVersion { return s.Engine().Snapshot().RoomVersion() }

// Check asks the engine. It returns nil, or the *matrix.Error that tells the
// peer why it was refused and under which ID the audit trail knows it. To allow
// costs nothing beyond the decision, and to refuse waits for nothing. A request
// without a time is asked for now.
func (s *Store) Check(ctx context.Context, req *policy.Request) error {
	if req.Now.IsZero() {
		req.Now = s.now()
	}
	d := s.engine.Decide(req)
	if d.Allow {
		return nil
	}
	return s.Refuse(ctx, req, d)
}

// Ask answers what Check would, without a trace: for who wants to know before
// trying. A request without a time is asked for now.
func (s *Store) Ask(req *policy.Request) policy.Decision {
	if req.Now.IsZero() {
		req.Now = s.now()
	}
	return s.engine.Snapshot().Decide(req)
}

// Address returns what the document in force makes of an e-mail address, and
// the servers of its organisation, of which the first is where its accounts
// are. What is no address is M_INVALID_PARAM.
func (s *Store) Address(address string, now time.Time) (policy.Party, []matrix.ServerName, error) {
	return s.engine.Snapshot().Email(address, now)
}

// AdmitEvent is [Store.Check] for an event that would enter a room.
func (s *Store) AdmitEvent(ctx context.Context, req *policy.EventRequest) error {
	if req.Now.IsZero() {
		req.Now = s.now()
	}
	d := s.engine.AdmitEvent(req)
	if d.Allow {
		return nil
	}
	e := req.Event
	who := subject{
		actor: string(e.Sender()), server: string(e.Sender().Server()), room: string(e.RoomID()),
		source: req.Source, detail: "event " + string(e.ID()) + " of type " + e.Type(),
	}
	if key, ok := e.StateKey(); ok && e.Type() == "m.room.member" {
		who.subject = key
	}
	return s.refuse(ctx, d, &who)
}

// Refuse records a denial that was decided on a snapshot of the engine and
// returns the error for the peer, as [Store.Check] does. It returns nil where
// the decision allows. req says what the decision was about.
func (s *Store) Refuse(ctx context.Context, req *policy.Request, d policy.Decision) error {
	if d.Allow {
		return nil
	}
	who := subject{
		actor: string(req.Actor), subject: string(req.Subject), server: string(req.Server), source: req.Source,
	}
	if req.Room != nil {
		who.room = string(req.Room.ID)
	}
	if address, err := policy.ParseEmail(req.Email); req.Email != "" && req.Subject == "" && err == nil {
		who.subject = "*@" + address.Domain // of an address, the domain is all that may be kept
	}
	return s.refuse(ctx, d, &who)
}

// subject is whom a refusal concerns, as the audit trail keeps it.
type subject struct {
	actor, subject, server, room, detail string
	source                               policy.Source
}

func (s *Store) refuse(ctx context.Context, d policy.Decision, who *subject) error {
	s.metrics.refusals.WithLabelValues(d.Action.String(), string(d.Reason)).Inc()
	k := key{
		action: d.Action, reason: d.Reason, actor: cleanText(who.actor, maxField),
		subject: cleanText(who.subject, maxField), server: cleanText(who.server, maxField),
		room: cleanText(who.room, maxField),
	}
	id, first := s.recorder.count(k, func() policies.Entry {
		return policies.Entry{
			Kind: KindRefusal, Actor: k.actor, Action: d.Action.String(), Subject: k.subject, Server: k.server,
			Room: k.room, Source: who.source.String(), Reason: string(d.Reason), Rule: d.Rule, Version: d.Version,
			Organisation: d.Organisation, Detail: who.detail,
		}
	})
	if first {
		s.log.InfoContext(ctx, "policy refused", "decision", id, "action", d.Action.String(), "reason", d.Reason,
			"rule", d.Rule, "actor", k.actor, "subject", k.subject, "server", k.server, "room_id", k.room)
	}
	return d.Error(id)
}
