package roomserver

import (
	"context"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// Remove takes an account out of a room that the policy refuses it: an account
// of this server leaves, another one is kicked in the name of the local member
// with the greatest power. It is M_FORBIDDEN where no local member has enough.
// An account that is not in the room is no error.
func (s *Server) Remove(ctx context.Context, room matrix.RoomID, user matrix.UserID, reason string) error {
	member, resident, err := s.memberOf(ctx, room, user)
	if err != nil {
		return err
	}
	if m := member.Membership; m != "join" && m != "invite" && m != "knock" {
		return nil
	}
	if user.Server() == s.self {
		return s.Leave(ctx, MembershipRequest{Sender: user, Target: user, Room: room, Reason: reason})
	}
	if !resident {
		return matrix.Forbidden("this server is not in the room")
	}
	sender, err := s.kicker(ctx, member.RoomNID, user)
	if err != nil {
		return err
	}
	return s.Kick(ctx, MembershipRequest{Sender: sender, Target: user, Room: room, Reason: reason})
}

// kicker returns the local member with the greatest power who may kick a user.
func (s *Server) kicker(ctx context.Context, roomNID int64, target matrix.UserID) (sender matrix.UserID, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		levels, named, err := s.powerNow(ctx, r, roomNID)
		if err != nil {
			return err
		}
		joined, err := rooms.JoinedAmong(ctx, r, roomNID, named)
		if err != nil {
			return err
		}
		best := levels.User(target) // who kicks has more
		for u := range joined {
			if power := levels.User(u); power >= levels.Kick() && power > best {
				sender, best = u, power
			}
		}
		if sender == "" {
			return matrix.Forbidden("no member of this server has the power to remove %s", target)
		}
		return nil
	})
	return sender, err
}

// powerNow returns the power levels of a room, and the users of this server
// that they name.
func (s *Server) powerNow(ctx context.Context, r *storage.Reader, roomNID int64) (*eventauth.PowerLevels, []matrix.UserID, error) {
	state, err := rooms.StateEventsNow(ctx, r, roomNID, []string{"m.room.create", "m.room.power_levels"})
	if err != nil {
		return nil, nil, err
	}
	create := state["m.room.create"]
	if create == nil {
		return nil, nil, matrix.Forbidden("the state of the room is not known here")
	}
	var said *event.Event
	if e := state["m.room.power_levels"]; e != nil {
		said = e.Event
	}
	levels, err := eventauth.EffectivePowerLevels(create.Event, said)
	if err != nil {
		return nil, nil, err
	}
	var named []matrix.UserID
	for _, u := range eventauth.Creators(create.Event) {
		if u.Server() == s.self {
			named = append(named, u)
		}
	}
	for u := range levels.Users() {
		if u.Server() == s.self {
			named = append(named, u)
		}
	}
	return levels, named, nil
}
