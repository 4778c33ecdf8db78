package policy

import (
	"beffroi/matrix"
	"beffroi/matrix/event"
)

const (
	// directSeats is how many members a direct room has.
	directSeats = 2
	// maxTokens is how many third-party invites of a direct room are looked
	// at; there can be one at a time.
	maxTokens = 8
)

// waitingInvite is a third-party invite that may still be waiting.
type waitingInvite struct {
	sender matrix.UserID
	depth  int64
	spent  bool
}

// seats counts the seats of a direct room that others than subject have:
// members and invited, and third-party invites that wait. Who left or is banned
// has none. Against one who was invited and joins only members count: of two
// who were invited at the same moment the first to join has the seat. e is the
// event that would take a seat.
func seats(state RoomState, e *event.Event, subject matrix.UserID) int {
	if key, _ := e.StateKey(); e.Type() == typeThirdParty {
		if already := state.Event(typeThirdParty, key); already != nil && already.ID() == e.ID() {
			return 0 // the state of a join is judged on itself: e has its seat, or had it
		}
	}
	var waiting [maxTokens]waitingInvite
	tokens := pendingTokens(state, e, waiting[:0])
	taken, accepting := 0, false
	if m := state.Event(typeMember, string(subject)); m != nil && e.Membership() == "join" {
		accepting = m.Membership() == "invite"
	}
	state.Each(typeMember, func(m *event.Event) bool {
		key, _ := m.StateKey()
		for i := range tokens {
			// After a third-party invite of a direct room nobody can come in
			// but by it, so a later event of another member shows it spent.
			if key != string(tokens[i].sender) && m.Depth() > tokens[i].depth {
				tokens[i].spent = true
			}
		}
		if key == string(subject) && e.Type() == typeMember {
			return true
		}
		if membership := m.Membership(); membership == "join" || membership == "invite" && !accepting {
			taken++
		}
		return true
	})
	for _, t := range tokens {
		if !t.spent && !accepting {
			taken++
		}
	}
	return taken
}

// pendingTokens returns the third-party invites that were not revoked, but the
// one that e itself replaces or redeems.
func pendingTokens(state RoomState, e *event.Event, out []waitingInvite) []waitingInvite {
	own, _ := e.StateKey()
	if e.Type() == typeMember {
		b, _ := text(field(field(field(e.Content(), "third_party_invite"), "signed"), "token"))
		own = string(b)
	}
	state.Each(typeThirdParty, func(t *event.Event) bool {
		if key, _ := t.StateKey(); key != own && !isEmpty(t.Content()) {
			out = append(out, waitingInvite{sender: t.Sender(), depth: t.Depth()})
		}
		return len(out) < maxTokens
	})
	return out
}

// isEmpty reports whether a content is {}: of a third-party invite, that it
// was revoked.
func isEmpty(content []byte) bool {
	i := skipSpace(content, 0)
	if i >= len(content) || content[i] != '{' {
		return true
	}
	i = skipSpace(content, i+1)
	return i >= len(content) || content[i] == '}'
}
