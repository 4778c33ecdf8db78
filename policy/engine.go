package policy

import (
	"sync/atomic"
	"time"

	"beffroi/matrix"
)

// Request is a question to the engine. What it leaves empty is not judged, so
// an early gate may ask with what it knows and a later one with everything.
type Request struct {
	Action  Action
	Actor   matrix.UserID // who does it; "" for a server or nobody known yet
	Subject matrix.UserID // whom it concerns, where that is another account
	// Server is the other server: the origin of what comes in, the destination
	// of what goes out.
	Server matrix.ServerName
	Room   *RoomFacts // as it was before; nil where no room is concerned
	Source Source
	// Email is the address that registers or is invited.
	Email string
	// Invited says that the address that registers was invited by a government
	// account.
	Invited bool
	// SharesRoom says that the asker shares a room with the subject.
	SharesRoom bool
	Now        time.Time
}

// RoomFacts is what decisions know of a room, from its state before the event.
type RoomFacts struct {
	ID   matrix.RoomID
	Rule AccessRule // "" is restricted
	// Visibility is public, private, or "" where the access rule does not say.
	Visibility       string
	JoinRule         string
	Encrypted        bool
	ForceUnencrypted bool
	NoFederate       bool
	Creator          matrix.UserID
	// SubjectMembership is the membership of the subject: invite, join, …
	SubjectMembership string
	// Vouched says that the join rule let the subject in by way of a space, and
	// a government account of the room vouches for it.
	Vouched bool
	// Seats is how many of the two seats of a direct room others have.
	Seats int
}

// The visibility words of an access rule event.
const (
	visibilityPublic  = "public"
	visibilityPrivate = "private"
)

// rule returns the access rule that holds: what is not one of the three words
// is treated as restricted.
func (r *RoomFacts) rule() AccessRule {
	switch r.Rule {
	case Unrestricted:
		return Unrestricted
	case Direct:
		return Direct
	}
	return Restricted
}

// Engine answers from the active snapshot. It may be asked by any number of
// goroutines while another replaces the snapshot.
type Engine struct {
	active atomic.Pointer[Snapshot]
	shadow atomic.Pointer[Shadow] // nil: none
}

// NewEngine returns an engine that answers from s.
func NewEngine(s *Snapshot) *Engine {
	e := new(Engine)
	e.Replace(s)
	return e
}

// Replace activates s; decisions under way end with the snapshot they began with.
func (e *Engine) Replace(s *Snapshot) { e.active.Store(s) }

// Snapshot returns the active snapshot, for several questions that must be
// answered alike.
func (e *Engine) Snapshot() *Snapshot { return e.active.Load() }

// Decide answers r from the active snapshot.
func (e *Engine) Decide(r *Request) Decision {
	d := e.active.Load().Decide(r)
	if shadow := e.shadow.Load(); shadow != nil {
		shadow.compareRequest(r, d)
	}
	return d
}

// standing is what the document makes of a server: admitted where reason is "".
type standing struct {
	org    *organisation
	class  Class
	reason Reason
	rule   string
}

// standing judges a server name. Deny wins, then the organisations, then the
// servers admitted without one.
func (s *Snapshot) standing(name matrix.ServerName, now time.Time) standing {
	var buf nameBuffer
	key, host, ok := serverKey(&buf, string(name))
	if !ok {
		return standing{reason: ReasonUnknownServer, rule: "federation.default"}
	}
	found, known := s.servers.find(key, host)
	var out standing
	if known {
		out = found.standing(now)
	}
	self := string(key) == s.selfKey
	denied := s.denied.any(key, host, func(p *period) bool { return p.denies(now) })
	switch {
	case s.doc.DenyAll && !self:
		out.reason, out.rule = ReasonDenyAll, "deny_all"
	case denied:
		out.class, out.reason, out.rule = ClassBlocked, ReasonBlockedServer, "federation.deny"
	case known:
	default:
		if s.open || s.allowed.any(key, host, func(p *period) bool { return p.outside(now) == "" }) {
			out.class = ClassUnaffiliated
			break
		}
		out.reason, out.rule = ReasonUnknownServer, "federation.default"
	}
	return out
}

// admitted says why an organisation is not, or "". An organisation with dates
// is not admitted at a time that nobody gave.
func (o *organisation) admitted(now time.Time) Reason {
	if o.class == ClassBlocked {
		return ReasonBlockedServer
	}
	bounds := period{o.Starts, o.Ends}
	return bounds.outside(now)
}

// standing is what a name of an organisation has of it at now.
func (m *member) standing(now time.Time) standing {
	out := standing{org: m.org, class: m.org.class, reason: m.org.admitted(now), rule: m.org.rule}
	if out.reason == "" {
		out.reason = m.when.outside(now)
	}
	return out
}

// Decide answers a request: what the floor and the local document both allow
// is allowed. It is pure and does not allocate to allow.
func (s *Snapshot) Decide(r *Request) Decision {
	if s.floor != nil {
		if d := s.floor.decide(r); !d.Allow {
			return d
		}
	}
	return s.decide(r)
}

// decide answers by this document alone.
func (s *Snapshot) decide(r *Request) Decision {
	if r.Action == ActionLeave || r.Action == ActionKickBan {
		return s.allow(r.Action)
	}
	if r.Action == ActionNone || r.Action >= actionCount {
		return s.deny(ActionNone, ReasonNoAction, "", nil)
	}
	j := judgement{s: s, action: r.Action}
	if !j.parties(r) || !j.builtin(r) || !j.documentRules(r) {
		return s.deny(r.Action, j.reason, j.rule, &j)
	}
	return s.allow(r.Action)
}

func (s *Snapshot) allow(a Action) Decision {
	return Decision{Allow: true, Action: a, Version: s.doc.Version}
}

func (s *Snapshot) deny(a Action, reason Reason, rule string, j *judgement) Decision {
	if rule == "" {
		rule = reason.rule()
	}
	d := Decision{Action: a, Reason: reason, Rule: rule, Layer: s.layer, Version: s.doc.Version, Contact: s.contact, Text: reason.Text()}
	if j == nil {
		return d
	}
	if j.text != nil {
		d.Text = j.text
	}
	if j.refused != nil {
		d.Organisation = j.refused.ID
		if d.Contact == "" {
			d.Contact = j.refused.Contact
		}
	}
	return d
}

// judgement is a decision under way.
type judgement struct {
	s                             *Snapshot
	action                        Action
	actor, subject, server, email standing
	address                       Email
	have                          parties

	reason  Reason
	rule    string
	text    map[string]string
	refused *organisation
}

// no ends the judgement with a built-in rule. It returns false for the caller to return.
func (j *judgement) no(reason Reason, of *standing) bool {
	j.reason, j.rule = reason, ""
	if of != nil {
		j.refused = of.org
	}
	return false
}

// parties finds out who is concerned, and refuses if one of them is not admitted.
func (j *judgement) parties(r *Request) bool {
	if r.Actor != "" {
		j.have |= partyActor
		j.actor = j.s.standing(r.Actor.Server(), r.Now)
	}
	if r.Subject != "" && r.Subject != r.Actor {
		j.subject = j.s.standing(r.Subject.Server(), r.Now)
	} else {
		j.subject = j.actor
	}
	if r.Subject != "" || r.Actor != "" {
		j.have |= partySubject
	}
	if r.Server != "" {
		j.have |= partyServer
		j.server = j.s.standing(r.Server, r.Now)
	}
	if r.Room != nil {
		j.have |= partyRoom
	}
	return j.admitted(&j.server) && j.admitted(&j.actor) && j.admitted(&j.subject)
}

func (j *judgement) admitted(p *standing) bool {
	if p.reason == "" {
		return true
	}
	j.reason, j.rule, j.refused = p.reason, p.rule, p.org
	return false
}
