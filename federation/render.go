package federation

import (
	"net/http"
	"strconv"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
)

// The answers with events are written by appending: an event is stored in the
// form in which it is sent.

// eventList appends the member name with a list of events to the members of
// an object.
func eventList(dst []byte, name string, events []*event.Event) []byte {
	dst = member(dst, name)
	dst = append(dst, '[')
	for i, e := range events {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, e.JSON()...)
	}
	return append(dst, ']')
}

// idList is eventList with only the IDs.
func idList(dst []byte, name string, events []*event.Event) []byte {
	dst = member(dst, name)
	dst = append(dst, '[')
	for i, e := range events {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = canonicaljson.AppendString(dst, string(e.ID()))
	}
	return append(dst, ']')
}

// member appends the name of a member, and the comma before it.
func member(dst []byte, name string) []byte {
	if len(dst) > 0 && dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(canonicaljson.AppendString(dst, name), ':')
}

// sizeOf returns how long the lists will be, so that they are written once.
func sizeOf(lists ...[]*event.Event) (bytes int) {
	bytes = 256
	for _, events := range lists {
		for _, e := range events {
			bytes += len(e.JSON()) + 1
		}
	}
	return bytes
}

// twoHundred wraps a body in what version 1 of some calls answers: [200, body].
func twoHundred(body httpx.Raw) httpx.Raw {
	out := append(make(httpx.Raw, 0, len(body)+6), "[200,"...)
	return append(append(out, body...), ']')
}

// wholeChain returns the auth chain of a state with those events in it that
// are part of the state too, as the specification wants it.
func wholeChain(state, rest []*event.Event) []*event.Event {
	byID := make(map[matrix.EventID]*event.Event, len(state))
	for _, e := range state {
		byID[e.ID()] = e
	}
	chain := rest[:len(rest):len(rest)]
	for _, list := range [][]*event.Event{state, rest} {
		for _, e := range list {
			for _, id := range e.AuthEvents() {
				if named := byID[id]; named != nil {
					chain = append(chain, named)
					delete(byID, id)
				}
			}
		}
	}
	return chain
}

// appendInt appends the member name with a number.
func appendInt(dst []byte, name string, n int64) []byte {
	return strconv.AppendInt(member(dst, name), n, 10)
}

// appendString appends the member name with a string.
func appendString(dst []byte, name, text string) []byte {
	return canonicaljson.AppendString(member(dst, name), text)
}

// pathRoom, pathEvent and pathUser read an identifier of the path.
func pathRoom(r *http.Request) (matrix.RoomID, error) {
	return matrix.ParseRoomID(r.PathValue("roomID"))
}

func pathEvent(r *http.Request) (matrix.EventID, error) {
	return matrix.ParseEventID(r.PathValue("eventID"))
}

func pathUser(r *http.Request) (matrix.UserID, error) {
	return matrix.ParseUserID(r.PathValue("userID"))
}

// pathRoomEvent reads both.
func pathRoomEvent(r *http.Request) (room matrix.RoomID, id matrix.EventID, err error) {
	if room, err = pathRoom(r); err == nil {
		id, err = pathEvent(r)
	}
	return room, id, err
}

// textField returns a string of a canonical object, "" where it is none.
func textField(object []byte, name string) string {
	text, _ := canonicaljson.Unquote(canonicaljson.Field(object, name))
	return text
}
