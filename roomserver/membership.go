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

// maxReason bounds the reason of a membership, in bytes.
const maxReason = 4096

// MembershipRequest is a change of the membership of a user.
type MembershipRequest struct {
	Sender matrix.UserID
	Target matrix.UserID
	Room   matrix.RoomID
	Reason string
	// Profile is that of the target where the target is of this server.
	Profile  Profile
	IsDirect bool // of an invitation
	// ThirdPartyInvite is the third-party invitation, with its proof, that an
	// invitation comes from, or nil.
	ThirdPartyInvite json.RawMessage
}

// content is what a membership event says.
type content struct {
	Membership string `json:"membership"`
	Profile
	Reason           string          `json:"reason,omitempty"`
	IsDirect         bool            `json:"is_direct,omitempty"`
	AuthorisedVia    matrix.UserID   `json:"join_authorised_via_users_server,omitempty"`
	ThirdPartyInvite json.RawMessage `json:"third_party_invite,omitempty"`
}

func (req *MembershipRequest) content(membership string) content {
	return content{Membership: membership, Profile: req.Profile, Reason: req.Reason}
}

// Kick makes a member leave.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick
func (s *Server) Kick(ctx context.Context, req MembershipRequest) error {
	return s.setMembership(ctx, req, req.content("leave"), "join", "invite", "knock")
}

// Ban keeps a user out of a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidban
func (s *Server) Ban(ctx context.Context, req MembershipRequest) error {
	return s.setMembership(ctx, req, req.content("ban"))
}

// Unban lets a banned user be invited again.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidunban
func (s *Server) Unban(ctx context.Context, req MembershipRequest) error {
	return s.setMembership(ctx, req, req.content("leave"), "ban")
}

// setMembership writes a membership in a room that this server is in. from are
// the memberships that it may follow; none means any.
func (s *Server) setMembership(ctx context.Context, req MembershipRequest, c content, from ...string) error {
	if len(req.Reason) > maxReason {
		return matrix.TooLarge("a reason has at most %d bytes", maxReason)
	}
	return s.change(ctx, req.Room, func(ctx context.Context, d *draft) error {
		if err := d.expect(req.Target, from); err != nil {
			return err
		}
		return s.buildMember(ctx, d, req.Sender, req.Target, c)
	})
}

// expect refuses a change of a membership that is not one of those.
func (d *draft) expect(user matrix.UserID, memberships []string) error {
	if len(memberships) == 0 {
		return nil
	}
	now := d.membership(user)
	for _, m := range memberships {
		if now == m {
			return nil
		}
	}
	if now == "" {
		now = "none"
	}
	return matrix.Forbidden("the membership of %s is %s", user, now)
}

// membership returns the membership of a user in the state of the draft.
func (d *draft) membership(user matrix.UserID) string {
	if e := d.cur.Event("m.room.member", string(user)); e != nil {
		return e.Membership()
	}
	return ""
}

// buildMember makes a membership event.
func (s *Server) buildMember(ctx context.Context, d *draft, sender, target matrix.UserID, c content) error {
	p, err := memberProto(sender, target, c)
	if err != nil {
		return err
	}
	_, err = s.build(ctx, d, p, false)
	return err
}

func memberProto(sender, target matrix.UserID, c content) (event.Proto, error) {
	raw, err := json.Marshal(c)
	if err != nil {
		return event.Proto{}, matrix.BadJSON("membership: %v", err)
	}
	key := string(target)
	return event.Proto{Sender: sender, Type: "m.room.member", StateKey: &key, Content: raw}, nil
}

// Leave takes a user of this server out of a room, or declines an invitation.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave
func (s *Server) Leave(ctx context.Context, req MembershipRequest) error {
	req.Target = req.Sender
	member, resident, err := s.memberOf(ctx, req.Room, req.Sender)
	switch {
	case err != nil:
		return err
	case member.Membership == "leave":
		return nil // nothing to do, and a client that repeats itself is right to
	case member.Membership == "" || member.Membership == "ban":
		return matrix.Forbidden("%s is not in the room", req.Sender)
	case !resident:
		return s.leaveRemote(ctx, req, member)
	}
	return s.setMembership(ctx, req, req.content("leave"), "join", "invite", "knock")
}

// memberOf returns the membership of a user, and whether this server is in the
// room and can change it without help.
func (s *Server) memberOf(ctx context.Context, id matrix.RoomID, user matrix.UserID) (m rooms.Member, resident bool, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		room, err := rooms.ByID(ctx, r, id)
		if err != nil {
			return err
		}
		if m, err = rooms.MemberOf(ctx, r, room.NID, user); err != nil {
			return err
		}
		resident, err = rooms.ServerJoined(ctx, r, room.NID, s.self)
		return err
	})
	return m, resident, err
}

// UpdateProfile writes a new display name or avatar into the memberships of a
// user. It follows the profile; a room that refuses it keeps the old one.
//
// https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information
func (s *Server) UpdateProfile(ctx context.Context, user matrix.UserID, profile Profile) error {
	var joined []matrix.RoomID
	err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		joined, err = rooms.JoinedRooms(ctx, r, user)
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range joined {
		err := s.change(ctx, id, func(ctx context.Context, d *draft) error {
			now := d.cur.Event("m.room.member", string(user))
			if now == nil || now.Membership() != "join" {
				return nil
			}
			var had content
			if err := json.Unmarshal(now.Content(), &had); err == nil && had.Profile == profile {
				return nil
			}
			return s.buildMember(ctx, d, user, user, content{Membership: "join", Profile: profile})
		})
		if err != nil && matrix.Answer(err).Status != http.StatusForbidden {
			return err
		}
	}
	return nil
}
