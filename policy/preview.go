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
