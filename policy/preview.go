package policy

import (
	"regexp"
	"time"

	"beffroi/matrix"
)

// Stays says whether an account may remain in a room where it is joined,
// invited or knocking. Unlike [Snapshot.Member] it leaves aside how old the
// document is: a document that nobody renewed admits nobody new, and throws
// nobody out.
func (s *Snapshot) Stays(user matrix.UserID, room *RoomFacts, now time.Time) Decision {
	facts := *room
	facts.SubjectMembership = "join"
	d := s.Decide(&Request{Action: ActionJoin, Actor: user, Room: &facts, Source: SourceSystem, Now: now})
	if d.Reason == ReasonDocumentExpired {
		return s.allow(ActionJoin)
	}
	return d
}

// Speaks says whether the document lets this server speak with another one.
func (s *Snapshot) Speaks(server matrix.ServerName, now time.Time) Decision {
	return s.Decide(&Request{Action: ActionFederateOut, Server: server, Source: SourceSystem, Now: now})
}

// Turns reports whether a part of the document begins or ends to hold after
// from and no later than to: then it has other answers than before.
func (s *Snapshot) Turns(from, to time.Time) bool {
	passed := func(starts, ends time.Time) bool {
		over := func(t time.Time) bool { return !t.IsZero() && t.After(from) && !t.After(to) }
		return over(starts) || over(ends)
	}
	for _, o := range s.orgs {
		if passed(o.Starts, o.Ends) {
			return true
		}
		for _, h := range o.Homeservers {
			if passed(h.Starts, h.Ends) {
				return true
			}
		}
	}
	for _, list := range [][]Entry{s.doc.Federation.Allow, s.doc.Federation.Deny} {
		for _, e := range list {
			if passed(e.Starts, e.Ends) {
				return true
			}
		}
	}
	return s.floor != nil && s.floor.Turns(from, to)
}

// namesPeople finds a condition that may read who somebody is, as actor.id.
var namesPeople = regexp.MustCompile(`\.\s*id\b`)

// AlikeByServer reports whether [Snapshot.Stays] has one answer for all
// accounts of a server in a room: no rule of the document names people.
func (s *Snapshot) AlikeByServer() bool {
	for _, r := range s.doc.Rules {
		if namesPeople.MatchString(r.When) {
			return false
		}
	}
	return s.floor == nil || s.floor.AlikeByServer()
}
