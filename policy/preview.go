package policy

import (
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

// Turns reports whether an organisation begins or ends to be admitted after
// from and no later than to: then the document has other answers than before.
func (s *Snapshot) Turns(from, to time.Time) bool {
	passed := func(t time.Time) bool { return !t.IsZero() && t.After(from) && !t.After(to) }
	for _, o := range s.orgs {
		if passed(o.Starts) || passed(o.Ends) {
			return true
		}
	}
	return false
}
