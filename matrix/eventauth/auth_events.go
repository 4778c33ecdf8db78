package eventauth

import (
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
)

// AuthEvents is the state that the auth events of an event make up, for
// judging the event by them. It is a short list: finding walks it.
//
// https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
type AuthEvents []*event.Event

// Event returns the event with this type and state key, or nil.
func (a AuthEvents) Event(typ, key string) *event.Event {
	for _, e := range a {
		if e.IsStateKey(typ, key) {
			return e
		}
	}
	return nil
}

// CheckAuthEvents checks the list of an event's auth events (rule 2, in
// version 12 rules 2 and 3), not what they say: that is [Check]. auth are the
// events that e.AuthEvents() names, in any order; an ID without its event is
// refused. rejected tells whether an event was rejected when it was received;
// it is also asked for the create event of a version 12 room.
//
// The error is a *NotAllowed.
//
// https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
func CheckAuthEvents(e *event.Event, auth []*event.Event, rejected func(matrix.EventID) bool) error {
	c := check{e: e, rules: e.Rules(), n: numbersFor(e.Rules())}
	if e.Type() == typeCreate {
		if len(e.AuthEvents()) > 0 {
			return c.deny("1", "a create event has no auth events")
		}
		return nil
	}
	if c.rules.RoomIDIsCreateHash && rejected(createID(e.RoomID())) {
		return c.deny(c.n.room, "the create event of the room was rejected")
	}
	needed := NeededFor(SubjectOf(e), c.rules)
	seen := make([]event.StateTuple, 0, len(needed))
	for _, id := range e.AuthEvents() {
		i := slices.IndexFunc(auth, func(a *event.Event) bool { return a.ID() == id })
		if i < 0 {
			return c.deny(c.n.auth, "auth event %s is not known", id)
		}
		key, isState := auth[i].StateKey()
		tuple := event.StateTuple{Type: auth[i].Type(), StateKey: key}
		switch {
		case isState && slices.Contains(seen, tuple):
			return c.deny(c.n.auth+".1", "two auth events for %s with state key %q", tuple.Type, tuple.StateKey)
		case !isState || !slices.Contains(needed, tuple):
			return c.deny(c.n.auth+".2", "auth event %s of type %s is not one that this event needs", id, tuple.Type)
		case rejected(id):
			return c.deny(c.n.auth+".3", "auth event %s was rejected", id)
		case auth[i].RoomID() != e.RoomID():
			return c.deny(c.n.auth+".5", "auth event %s is of another room", id)
		}
		seen = append(seen, tuple)
	}
	if !c.rules.RoomIDIsCreateHash && !slices.Contains(seen, event.StateTuple{Type: typeCreate}) {
		return c.deny(c.n.auth+".4", "no create event among the auth events")
	}
	return nil
}

// createID returns the ID of the create event that a room ID of version 12
// is made of.
func createID(room matrix.RoomID) matrix.EventID {
	if room == "" {
		return ""
	}
	return "$" + matrix.EventID(room[1:])
}
