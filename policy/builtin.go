package policy

import (
	"strings"
	"time"
)

// builtin applies what holds under every document: validity, organisations,
// and what external accounts may do.
func (j *judgement) builtin(r *Request) bool {
	if j.s.ownFreshness(r.Now) == Blocking && growing[r.Action] {
		j.reason, j.rule = ReasonDocumentExpired, "blocks_at"
		return false
	}
	if !j.affiliated() {
		return false
	}
	switch r.Action {
	case ActionRegister:
		return j.register(r)
	case ActionCreateRoom:
		return j.externalMay(j.s.externals.createRooms, ReasonExternalCreate)
	case ActionInvite:
		return j.externalMay(j.s.externals.invite, ReasonExternalInvite) && j.member(r, &j.subject)
	case ActionInvite3PID:
		return j.externalMay(j.s.externals.invite, ReasonExternalInvite) && j.inviteEmail(r)
	case ActionJoin:
		return j.member(r, &j.subject) && j.invited(r)
	case ActionKnock:
		return j.member(r, &j.subject)
	case ActionSendMessage, ActionSendState, ActionEDU:
		return j.present(r)
	case ActionSetAccessRule, ActionSetPowerLevels, ActionSetJoinRule, ActionSetEncryption, ActionAlias, ActionUpgradeRoom:
		return j.externalMay(false, ReasonExternalPower)
	case ActionPublishRoom:
		return j.externalMay(j.s.externals.publish, ReasonExternalPublish) && j.publish(r)
	case ActionSearchDirectory:
		return j.externalMay(j.s.externals.searchDirectory, ReasonExternalSearch)
	case ActionListPublicRooms:
		return j.externalMay(j.s.externals.searchDirectory, ReasonExternalPublic)
	case ActionReadProfile:
		return r.SharesRoom || r.Subject == r.Actor || j.externalMay(false, ReasonExternalProfile)
	}
	return true
}

// growing are the actions that an expired document refuses: those that bring
// in another server, a member or an account. People who talk go on talking.
var growing = [actionCount]bool{
	ActionRegister: true, ActionCreateRoom: true, ActionInvite: true, ActionInvite3PID: true, ActionJoin: true,
	ActionKnock: true, ActionSetAccessRule: true, ActionFederateIn: true, ActionFederateOut: true,
}

// unaffiliated are the actions open to a server of no organisation where access
// rules are enforced: to be spoken with, and nothing in a room.
var unaffiliated = [actionCount]bool{ActionFederateIn: true, ActionFederateOut: true}

func (j *judgement) affiliated() bool {
	if !j.s.enforce || unaffiliated[j.action] {
		return true
	}
	for _, p := range [...]*standing{&j.actor, &j.subject, &j.server} {
		if p.class == ClassUnaffiliated {
			return j.no(ReasonNoOrganisation, p)
		}
	}
	return true
}

// externalMay refuses an external asker, account or server, unless the document
// allows it.
func (j *judgement) externalMay(allowed bool, reason Reason) bool {
	if allowed {
		return true
	}
	asker := &j.actor
	if j.have&partyActor == 0 {
		asker = &j.server
	}
	if asker.class != ClassExternal {
		return true
	}
	return j.no(reason, asker)
}

// member says whether p may be, or ask to be, in the room: the access rule, and
// the seats of a direct room.
func (j *judgement) member(r *Request, p *standing) bool {
	if r.Room == nil || !j.s.enforce {
		return true
	}
	rule := r.Room.rule()
	if p.class == ClassExternal && rule == Restricted {
		return j.no(ReasonExternalRestricted, p)
	}
	inside := r.Room.SubjectMembership == "join" && r.Action != ActionInvite3PID // whose subject is nobody yet
	if rule == Direct && !inside && r.Room.Seats >= directSeats {
		return j.no(ReasonDirectFull, p)
	}
	return true
}

// invited refuses an external account that joins on its own account.
func (j *judgement) invited(r *Request) bool {
	if r.Room == nil || !j.s.enforce || j.subject.class != ClassExternal || r.Room.Vouched ||
		r.Room.SubjectMembership == "invite" || r.Room.SubjectMembership == "join" {
		return true
	}
	return j.no(ReasonExternalUninvited, &j.subject)
}

// present refuses what an external account says in a restricted room: another
// server may have let it in.
func (j *judgement) present(r *Request) bool {
	if r.Room == nil || !j.s.enforce || j.actor.class != ClassExternal || r.Room.rule() != Restricted {
		return true
	}
	return j.no(ReasonExternalRestricted, &j.actor)
}

// publish accepts only a restricted room that is not private by its flag, and
// that people who find it can do something with.
func (j *judgement) publish(r *Request) bool {
	if r.Room == nil || !j.s.enforce {
		return true
	}
	if r.Room.rule() != Restricted || r.Room.Visibility == visibilityPrivate ||
		r.Room.JoinRule == "invite" || r.Room.JoinRule == "private" {
		return j.no(ReasonNotPublishable, nil)
	}
	return true
}

func (j *judgement) inviteEmail(r *Request) bool {
	if r.Email == "" { // an event says nothing of the address
		return j.member(r, &standing{})
	}
	if !j.readEmail(r) {
		return false
	}
	return j.member(r, &j.email)
}

// readEmail finds the organisation of the address and refuses what has none.
func (j *judgement) readEmail(r *Request) bool {
	address, err := ParseEmail(strings.Clone(r.Email)) // a request must not escape from its maker's stack
	if err != nil {
		return j.no(ReasonEmailInvalid, nil)
	}
	j.have |= partyEmail
	j.address = address
	j.email = j.s.emailStanding(address.Domain, r.Now)
	return j.admitted(&j.email)
}

func (s *Snapshot) emailStanding(domain string, now time.Time) standing {
	var buf nameBuffer
	key := append(buf[:0], domain...)
	found, ok := s.domains.find(key, len(key))
	switch {
	case ok:
		return found.standing(now)
	case !s.enforce:
		return standing{class: ClassUnaffiliated}
	}
	return standing{reason: ReasonEmailUnknown, rule: "email_domains"}
}

// register accepts an address of the organisation of this server.
func (j *judgement) register(r *Request) bool {
	mode := j.s.doc.Accounts.Registration
	switch {
	case r.Source == SourceAdmin || r.Source == SourceSystem:
		return true
	case mode == "closed":
		return j.no(ReasonRegistrationClosed, nil)
	case mode == "open":
		return r.Email == "" || j.registerOpen(r)
	case r.Email == "":
		return j.no(ReasonEmailMissing, nil)
	case !j.readEmail(r):
		return false
	case j.email.org == nil: // where access rules are off
		return j.no(ReasonEmailUnknown, nil)
	case j.email.org != j.s.own:
		return j.no(ReasonEmailElsewhere, &j.email)
	case j.email.class == ClassExternal && !r.Invited:
		return j.no(ReasonExternalSponsor, &j.email)
	}
	return true
}

// registerOpen accepts every address but those of organisations not admitted.
func (j *judgement) registerOpen(r *Request) bool {
	return j.readEmail(r) || j.reason == ReasonEmailUnknown
}

// Freshness says how old a document is.
type Freshness uint8

// How old a document is: each follows the date the document gives for it.
const (
	Fresh    Freshness = iota
	Expiring           // expires is over: warn
	Stale              // stale_at is over: tell peers
	Blocking           // blocks_at is over: admit nobody new

	freshnessCount
)

var freshnessNames = [freshnessCount]string{"fresh", "expired", "stale", "blocking"}

// String returns the word by which peers and the audit trail know it.
func (f Freshness) String() string { return freshnessNames[min(f, Blocking)] }

// Freshness returns how old the document is at now, or the floor where that is
// older.
func (s *Snapshot) Freshness(now time.Time) Freshness {
	if s.floor != nil {
		return max(s.floor.ownFreshness(now), s.ownFreshness(now))
	}
	return s.ownFreshness(now)
}

func (s *Snapshot) ownFreshness(now time.Time) Freshness {
	over := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case over(s.doc.BlocksAt):
		return Blocking
	case over(s.doc.StaleAt):
		return Stale
	case over(s.doc.Expires):
		return Expiring
	}
	return Fresh
}
