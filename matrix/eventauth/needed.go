package eventauth

import (
	"slices"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

// Subject is what the selection of auth events looks at: an event, or one
// that is about to be built.
//
// https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
type Subject struct {
	Type     string
	StateKey *string // nil for an event that is no state
	Sender   matrix.UserID
	Content  []byte // a JSON object
}

// SubjectOf returns the subject of an event.
//
// https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
func SubjectOf(e *event.Event) Subject {
	s := Subject{Type: e.Type(), Sender: e.Sender(), Content: e.Content()}
	if key, ok := e.StateKey(); ok {
		s.StateKey = &key
	}
	return s
}

// SubjectOfProto returns the subject of an event that is about to be built.
//
// https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
func SubjectOfProto(p *event.Proto) Subject {
	return Subject{Type: p.Type, StateKey: p.StateKey, Sender: p.Sender, Content: p.Content}
}

// NeededFor returns the keys of the state that the authorisation of an event
// looks at, which are those of its auth_events where the room has them. The
// create event comes first in versions 1 to 11; from version 12 on the room
// ID implies it. For a create event there is nothing.
//
// https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
func NeededFor(s Subject, rules *matrix.VersionRules) []event.StateTuple {
	if s.Type == typeCreate {
		return nil
	}
	needed := make([]event.StateTuple, 0, 7)
	if !rules.RoomIDIsCreateHash {
		needed = append(needed, event.StateTuple{Type: typeCreate})
	}
	needed = append(needed, event.StateTuple{Type: typePowerLevels}, memberTuple(string(s.Sender)))
	if s.Type != typeMember || s.StateKey == nil {
		return needed
	}
	if target := memberTuple(*s.StateKey); !slices.Contains(needed, target) {
		needed = append(needed, target)
	}
	switch membership := gjson.GetBytes(s.Content, "membership").Str; membership {
	case membershipJoin, membershipInvite, membershipKnock:
		needed = append(needed, event.StateTuple{Type: typeJoinRules})
		if membership == membershipInvite {
			if token := gjson.GetBytes(s.Content, "third_party_invite.signed.token"); token.Type == gjson.String {
				needed = append(needed, event.StateTuple{Type: typeThirdPartyInvite, StateKey: token.Str})
			}
		}
		if membership == membershipJoin && rules.RestrictedJoinRule {
			authoriser := gjson.GetBytes(s.Content, keyAuthorised)
			if tuple := memberTuple(authoriser.Str); authoriser.Type == gjson.String && !slices.Contains(needed, tuple) {
				needed = append(needed, tuple)
			}
		}
	}
	return needed
}

func memberTuple(user string) event.StateTuple {
	return event.StateTuple{Type: typeMember, StateKey: user}
}
