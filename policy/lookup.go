package policy

import (
	"maps"
	"time"

	"beffroi/matrix"
)

// Party is what the document makes of a server, an account or an address.
type Party struct {
	Class        Class
	Organisation string // its ID, "" where there is none
	Name         Text
	Contact      string
	// Refused says why it is not admitted, "" where it is.
	Refused Reason
}

// Admitted reports whether the party may be spoken with.
func (p Party) Admitted() bool { return p.Refused == "" }

func (s *standing) party() Party {
	p := Party{Class: s.class, Refused: s.reason}
	if s.org != nil {
		p.Organisation, p.Name, p.Contact = s.org.ID, s.org.Name, s.org.Contact
	}
	return p
}

// Server returns what the document makes of a server, and so of its accounts.
func (s *Snapshot) Server(name matrix.ServerName, now time.Time) Party {
	p := s.effective(name, now)
	return p.party()
}

// Email returns the organisation of an address, and the servers of it, of which
// the first is where its accounts are made. The error is a *matrix.Error
// M_INVALID_PARAM for what is no address of one reading.
func (s *Snapshot) Email(address string, now time.Time) (Party, []matrix.ServerName, error) {
	parsed, err := ParseEmail(address)
	if err != nil {
		return Party{}, nil, matrix.InvalidParam("this %v", err)
	}
	p := s.emailStanding(parsed.Domain, now)
	if s.floor != nil && p.reason == "" {
		if by := s.floor.emailStanding(parsed.Domain, now); by.reason != "" {
			p = by
		}
	}
	var servers []matrix.ServerName
	if p.org != nil {
		servers = p.org.servers()
	}
	return p.party(), servers, nil
}

// servers returns the homeservers that are names and not patterns.
func (o *organisation) servers() []matrix.ServerName {
	var out []matrix.ServerName
	for _, h := range o.Homeservers {
		if p, err := parseServerPattern(h.Name); err == nil && !p.below {
			out = append(out, matrix.ServerName(p.name))
		}
	}
	return out
}

// Peers returns the other servers that the document names and admits at now.
func (s *Snapshot) Peers(now time.Time) []matrix.ServerName {
	var out []matrix.ServerName
	for _, o := range s.orgs {
		for _, name := range o.servers() {
			if p := s.effective(name, now); p.reason == "" && string(name) != s.selfKey {
				out = append(out, name)
			}
		}
	}
	return out
}

// PinnedKeys returns the signing keys that the document pins for a server, as
// unpadded base64 by key ID. Nil pins none: the server's own word holds.
// What the floor pins no local document changes.
func (s *Snapshot) PinnedKeys(name matrix.ServerName) map[matrix.KeyID]string {
	if s.floor != nil {
		if pinned := s.floor.PinnedKeys(name); pinned != nil {
			return pinned
		}
	}
	var buf nameBuffer
	key, host, ok := serverKey(&buf, string(name))
	if !ok {
		return nil
	}
	pinned, found := s.keys[string(key)]
	if !found {
		pinned = s.keys[string(key[:host])]
	}
	return maps.Clone(pinned)
}

// Member says whether an account may be in a room where it already is, however
// it came in: for state that another server sends, and for findings.
func (s *Snapshot) Member(user matrix.UserID, room RoomFacts, now time.Time) Decision {
	room.SubjectMembership = "join"
	return s.Decide(&Request{Action: ActionJoin, Actor: user, Room: &room, Now: now})
}

// Document returns the document, the local one where there is a floor. It must
// not be changed.
func (s *Snapshot) Document() *Document { return s.source }

// Floor returns the floor, or nil where the document stands alone.
func (s *Snapshot) Floor() *Snapshot { return s.floor }

// Version returns the version of the document, the local one where there is a
// floor.
func (s *Snapshot) Version() int64 { return s.doc.Version }

// RoomVersion returns the version that the document gives new rooms, or "".
func (s *Snapshot) RoomVersion() matrix.RoomVersion { return matrix.RoomVersion(s.doc.Rooms.Version) }

// Self returns the server for which the document was compiled.
func (s *Snapshot) Self() matrix.ServerName { return s.self }

// EnforcesAccessRules reports whether rooms have access rules at all.
func (s *Snapshot) EnforcesAccessRules() bool { return s.enforce }

// OpenRegistration reports whether an account needs no address and no
// administrator.
func (s *Snapshot) OpenRegistration() bool { return s.doc.Accounts.Registration == "open" }
