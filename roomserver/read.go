package roomserver

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// Event returns one event of a room. One that the user may not see is 404
// M_NOT_FOUND, as one that does not exist.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid
func (s *Server) Event(ctx context.Context, user matrix.UserID, device matrix.DeviceID, room matrix.RoomID,
	id matrix.EventID) (out json.RawMessage, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		e, sights, err := s.seenEvent(ctx, r, user, room, id)
		if err != nil {
			return err
		}
		list, err := s.RenderEvents(ctx, r, []*rooms.Event{e}, Rendering{Sights: sights, Device: device})
		if err == nil {
			out = list[0]
		}
		return err
	})
	return out, err
}

// seenEvent returns an event that a user may see, or M_NOT_FOUND. A stranger
// sees what is world readable only where the policy would let them in.
func (s *Server) seenEvent(ctx context.Context, r *storage.Reader, user matrix.UserID, room matrix.RoomID,
	id matrix.EventID) (*rooms.Event, *Sights, error) {
	e, err := rooms.EventIn(ctx, r, room, id)
	if err != nil {
		return nil, nil, err
	}
	sights := NewSights(user, nil)
	if err := sights.Look(ctx, r, []*rooms.Event{e}); err != nil {
		return nil, nil, err
	}
	if !sights.Sees(e) {
		return nil, nil, matrix.NotFound("no such event in this room")
	}
	if !sights.rooms[e.RoomNID].everJoined() {
		row, err := rooms.ByID(ctx, r, room)
		if err != nil {
			return nil, nil, err
		}
		if err := s.mayPeek(ctx, r, user, row); err != nil {
			return nil, nil, err
		}
	}
	return e, sights, nil
}

// State returns the state of a room: that of now to members, that of when they
// left to those who were.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate
func (s *Server) State(ctx context.Context, user matrix.UserID, room matrix.RoomID) (out []json.RawMessage, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		a, err := s.reach(ctx, r, user, room)
		if err != nil {
			return err
		}
		state, err := a.state(ctx, r)
		if err != nil {
			return err
		}
		out, err = s.RenderEvents(ctx, r, state, Rendering{Sights: a.sights, Plain: true})
		return err
	})
	return out, err
}

// StateEvent returns one event of the state of a room, of the time that
// [Server.State] says: its content, or the whole of it. A key that is not set
// is 404 M_NOT_FOUND.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey
func (s *Server) StateEvent(ctx context.Context, user matrix.UserID, room matrix.RoomID, typ, key string,
	whole bool) (out json.RawMessage, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		a, err := s.reach(ctx, r, user, room)
		if err != nil {
			return err
		}
		e, err := rooms.StateEventBefore(ctx, r, a.room.NID, event.StateTuple{Type: typ, StateKey: key}, a.bound(lastPosition))
		switch {
		case err != nil:
			return err
		case e == nil:
			return matrix.NotFound("the room has no state of this type and key")
		case !whole:
			out = e.Content()
			return nil
		}
		list, err := s.RenderEvents(ctx, r, []*rooms.Event{e}, Rendering{Sights: a.sights, Plain: true})
		if err == nil {
			out = list[0]
		}
		return err
	})
	return out, err
}

// MembersRequest asks for the members of a room.
type MembersRequest struct {
	User matrix.UserID
	Room matrix.RoomID
	At   *storage.Position // nil is now
	// Membership and NotMembership are wanted and unwanted memberships, ""
	// for none. Of both, one suffices.
	Membership, NotMembership string
}

// Members returns the membership events of a room, of the time that
// [Server.State] says or before.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers
func (s *Server) Members(ctx context.Context, req MembersRequest) (out []json.RawMessage, err error) {
	for _, word := range []string{req.Membership, req.NotMembership} {
		switch word {
		case "", "join", "invite", "knock", "leave", "ban":
		default:
			return nil, matrix.InvalidParam("%q is not a membership", word)
		}
	}
	err = s.db.View(ctx, func(r *storage.Reader) error {
		a, err := s.reach(ctx, r, req.User, req.Room)
		if err != nil {
			return err
		}
		list, err := a.members(ctx, r, req)
		if err != nil {
			return err
		}
		out, err = s.RenderEvents(ctx, r, list, Rendering{Sights: a.sights, Plain: true})
		return err
	})
	return out, err
}

func (a *reach) members(ctx context.Context, r *storage.Reader, req MembersRequest) (list []*rooms.Event, err error) {
	if req.At == nil && a.until == 0 {
		only := req.Membership
		if req.NotMembership != "" {
			only = ""
		}
		list, err = rooms.MemberEvents(ctx, r, a.room.NID, only)
	} else {
		at := lastPosition
		if req.At != nil {
			at = min(*req.At+1, at)
		}
		list, err = rooms.StateOfTypeBefore(ctx, r, a.room.NID, "m.room.member", a.bound(at))
	}
	kept := list[:0]
	for _, e := range list {
		m := e.Membership()
		is := req.Membership != "" && m == req.Membership
		isNot := req.NotMembership != "" && m != req.NotMembership
		if is || isNot || req.Membership == "" && req.NotMembership == "" {
			kept = append(kept, e)
		}
	}
	return kept, err
}

// JoinedMember is a member as a client shows one. What it has none of is null:
// clients want to see the fields.
type JoinedMember struct {
	DisplayName *string `json:"display_name"`
	AvatarURL   *string `json:"avatar_url"`
}

// given returns a text that is not empty, or nil.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// JoinedMembers returns who has joined a room, to one who has joined it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members
func (s *Server) JoinedMembers(ctx context.Context, user matrix.UserID, id matrix.RoomID) (map[matrix.UserID]JoinedMember, error) {
	out := make(map[matrix.UserID]JoinedMember)
	err := s.db.View(ctx, func(r *storage.Reader) error {
		room, err := s.joined(ctx, r, user, id)
		if err != nil {
			return err
		}
		list, err := rooms.MemberEvents(ctx, r, room.NID, "join")
		for _, e := range list {
			key, _ := e.StateKey()
			out[matrix.UserID(key)] = JoinedMember{given(stringField(e.Content(), "displayname")), given(stringField(e.Content(), "avatar_url"))}
		}
		return err
	})
	return out, err
}

// JoinedRooms returns the rooms that a user has joined.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms
func (s *Server) JoinedRooms(ctx context.Context, user matrix.UserID) (found []matrix.RoomID, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		found, err = rooms.JoinedRooms(ctx, r, user)
		return err
	})
	return found, err
}

// Forget hides a room from one who has left it: nothing of its past can be
// read any more. Who is still in it gets 400 M_UNKNOWN.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget
func (s *Server) Forget(ctx context.Context, user matrix.UserID, id matrix.RoomID) error {
	var room rooms.Room
	var member rooms.Member
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		if room, err = rooms.ByID(ctx, r, id); err == nil {
			member, err = rooms.MemberOf(ctx, r, room.NID, user)
		}
		return err
	}); err != nil && !matrix.IsCode(err, "M_NOT_FOUND") {
		return err
	}
	switch {
	case member.Membership == "":
		return matrix.NotFound("%s was never in this room", user)
	case member.Membership != "leave" && member.Membership != "ban":
		return stillIn(user)
	case member.Forgotten:
		return nil
	}
	_, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		gone, err := rooms.Forget(ctx, tx, room.NID, user)
		if err == nil && !gone {
			err = stillIn(user) // came back in between
		}
		return err
	})
	return err
}

func stillIn(user matrix.UserID) error {
	return matrix.NewError(http.StatusBadRequest, "M_UNKNOWN", "%s is in this room and must leave it first", user)
}
