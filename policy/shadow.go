package policy

import (
	"strings"
	"sync"

	"beffroi/matrix"
)

// maxDifferences bounds the kinds of differences that a shadow tells apart.
const maxDifferences = 1000

// Shadow is a candidate that is asked beside the active snapshot, and never
// answers anybody. [Engine.Cast] begins it.
type Shadow struct {
	candidate *Snapshot

	mu    sync.Mutex
	asked int64                         // guarded by mu
	found map[DifferenceKind]Difference // guarded by mu
}

// DifferenceKind is what makes two differences count as one.
type DifferenceKind struct {
	Action       Action
	Denies       bool // the candidate denies what is allowed, or the other way round
	Reason       Reason
	Rule         string
	Organisation string
}

// Difference is how often a candidate decided otherwise, with the first example.
type Difference struct {
	Count          int64
	Actor, Subject matrix.UserID
	Server         matrix.ServerName
	Room           matrix.RoomID
}

// NewShadow returns a shadow that nobody asks yet.
func NewShadow(candidate *Snapshot) *Shadow {
	return &Shadow{candidate: candidate, found: make(map[DifferenceKind]Difference)}
}

// Version returns the version of the candidate.
func (s *Shadow) Version() int64 { return s.candidate.Version() }

// Take returns what was found since the last call, and forgets it.
func (s *Shadow) Take() (asked int64, found map[DifferenceKind]Difference) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, found = s.asked, s.found
	s.asked, s.found = 0, make(map[DifferenceKind]Difference)
	return asked, found
}

// Cast asks a candidate beside the active snapshot from now on; nil ends it.
func (e *Engine) Cast(s *Shadow) { e.shadow.Store(s) }

// compareRequest asks the candidate what was decided. It keeps copies only, so
// that a request stays on the stack of its maker.
func (s *Shadow) compareRequest(r *Request, active Decision) {
	d := s.candidate.Decide(r)
	if d.Allow == active.Allow {
		s.count()
		return
	}
	example := Difference{
		Actor: matrix.UserID(strings.Clone(string(r.Actor))), Subject: matrix.UserID(strings.Clone(string(r.Subject))),
		Server: matrix.ServerName(strings.Clone(string(r.Server))),
	}
	if r.Room != nil {
		example.Room = matrix.RoomID(strings.Clone(string(r.Room.ID)))
	}
	s.note(d, active, example)
}

func (s *Shadow) compareEvent(r *EventRequest, active Decision) {
	d := s.candidate.AdmitEvent(r)
	if d.Allow == active.Allow {
		s.count()
		return
	}
	e := r.Event
	example := Difference{Actor: e.Sender(), Room: e.RoomID()}
	if key, ok := e.StateKey(); ok && e.Type() == typeMember {
		example.Subject = matrix.UserID(key)
	}
	s.note(d, active, example)
}

func (s *Shadow) count() {
	s.mu.Lock()
	s.asked++
	s.mu.Unlock()
}

func (s *Shadow) note(candidate, active Decision, example Difference) {
	refusing := candidate
	if candidate.Allow {
		refusing = active
	}
	kind := DifferenceKind{candidate.Action, !candidate.Allow, refusing.Reason, refusing.Rule, refusing.Organisation}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	d, known := s.found[kind]
	if !known && len(s.found) >= maxDifferences {
		return
	}
	if !known {
		d = example
	}
	d.Count++
	s.found[kind] = d
}
