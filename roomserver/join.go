package roomserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// JoinRequest is a join of a user of this server.
type JoinRequest struct {
	User    matrix.UserID
	Room    matrix.RoomID
	Via     []matrix.ServerName // servers that may be in the room
	Reason  string
	Profile Profile
	// ThirdPartySigned is the proof of a third-party invitation, or nil.
	ThirdPartySigned json.RawMessage
}

// Join makes a user a member of a room: here if this server is in it, else by
// the help of a server that is.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias
func (s *Server) Join(ctx context.Context, req JoinRequest) error {
	if len(req.Reason) > maxReason {
		return matrix.TooLarge("a reason has at most %d bytes", maxReason)
	}
	member, resident, err := s.memberOf(ctx, req.Room, req.User)
	if err != nil && !matrix.IsCode(err, "M_NOT_FOUND") {
		return err
	}
	if member.Membership == "join" {
		return nil
	}
	if req.ThirdPartySigned != nil {
		if err := s.redeem(ctx, req); err != nil {
			return err
		}
		if member, resident, err = s.memberOf(ctx, req.Room, req.User); err != nil && !matrix.IsCode(err, "M_NOT_FOUND") {
			return err
		}
	}
	if !resident {
		return s.joinRemote(ctx, req, member)
	}
	err = s.joinLocal(ctx, req)
	if errors.Is(err, errCannotAuthorise) || errors.Is(err, errCannotGrant) {
		return s.joinRemote(ctx, req, member)
	}
	return err
}

// errCannotAuthorise says that nobody of this server may let a user into a
// restricted room; another server may have somebody.
//
// https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms
var errCannotAuthorise = matrix.NewError(http.StatusBadRequest, "M_UNABLE_TO_AUTHORISE_JOIN",
	"this server cannot tell whether the user meets a condition of the room")

// errCannotGrant says that a condition is met, but nobody here may invite.
var errCannotGrant = matrix.NewError(http.StatusBadRequest, "M_UNABLE_TO_GRANT_JOIN",
	"nobody of this server may let the user in")

func (s *Server) joinLocal(ctx context.Context, req JoinRequest) error {
	return s.change(ctx, req.Room, func(ctx context.Context, d *draft) error {
		if d.membership(req.User) == "join" {
			return nil
		}
		c := content{Membership: "join", Profile: req.Profile, Reason: req.Reason}
		via, err := s.authoriser(ctx, d.cur, req.User)
		if err != nil {
			return err
		}
		c.AuthorisedVia = via
		return s.buildMember(ctx, d, req.User, req.User, c)
	})
}

// authoriser returns the local member by whose right a user joins a restricted
// room, or "" where the join needs none.
//
// https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms
func (s *Server) authoriser(ctx context.Context, v *view, user matrix.UserID) (matrix.UserID, error) {
	rules := v.Event("m.room.join_rules", "")
	if rules == nil || !v.rm.rules.RestrictedJoinRule {
		return "", v.err
	}
	rule := gjson.GetBytes(rules.Content(), "join_rule").Str
	if rule != "restricted" && (rule != "knock_restricted" || !v.rm.rules.KnockRestrictedRule) {
		return "", nil
	}
	if m := v.Event("m.room.member", string(user)); m != nil && (m.Membership() == "invite" || m.Membership() == "join") {
		return "", nil
	}
	met, known, err := s.meetsCondition(ctx, rules, user)
	switch {
	case err != nil:
		return "", err
	case !met && !known:
		return "", errCannotAuthorise
	case !met:
		return "", matrix.Forbidden("%s meets no condition of the room: ask for an invitation", user)
	}
	return s.inviter(v)
}

// maxConditions bounds the conditions of a join rule that are looked at.
const maxConditions = 50

// meetsCondition reports whether a user is in one of the rooms that a join
// rule names, and whether this server is in any of them and so can tell.
func (s *Server) meetsCondition(ctx context.Context, rules *event.Event, user matrix.UserID) (met, known bool, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		for i, allow := range gjson.GetBytes(rules.Content(), "allow").Array() {
			if i >= maxConditions || met {
				break
			}
			if allow.Get("type").Str != "m.room_membership" {
				continue
			}
			room, err := rooms.ByID(ctx, r, matrix.RoomID(allow.Get("room_id").Str))
			if matrix.IsCode(err, "M_NOT_FOUND") {
				continue
			}
			if err != nil {
				return err
			}
			resident, err := rooms.ServerJoined(ctx, r, room.NID, s.self)
			if err != nil {
				return err
			}
			known = known || resident
			m, err := rooms.MemberOf(ctx, r, room.NID, user)
			if err != nil {
				return err
			}
			met = met || resident && m.Membership == "join"
		}
		return nil
	})
	return met, known, err
}

// inviter returns a joined member of this server who may invite.
func (s *Server) inviter(v *view) (matrix.UserID, error) {
	levels, err := v.PowerLevels()
	if err != nil {
		return "", err
	}
	var best matrix.UserID
	ours := func(key string) bool { return s.local(matrix.UserID(key)) }
	v.eachOf("m.room.member", ours, func(e *event.Event) bool {
		key, _ := e.StateKey()
		user := matrix.UserID(key)
		if e.Membership() == "join" && levels.User(user) >= levels.Invite() &&
			(best == "" || levels.User(user) > levels.User(best)) {
			best = user
		}
		return true
	})
	if v.err != nil {
		return "", v.err
	}
	if best == "" {
		return "", errCannotGrant
	}
	return best, nil
}

// maxHelpers bounds the servers that are asked for help with one membership.
const maxHelpers = 8

// helpers returns the servers to ask about a room: those that the user named,
// that of whoever invited, those whose users made what an invitation or a
// knock was told of the room, those that were in the room when this server
// last was, and, as a guess, that which the room ID names.
func (s *Server) helpers(ctx context.Context, via []matrix.ServerName, id matrix.RoomID, member rooms.Member) ([]matrix.ServerName, error) {
	list := slices.Clone(via)
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		room, err := rooms.ByID(ctx, r, id)
		if matrix.IsCode(err, "M_NOT_FOUND") {
			return nil
		}
		if err != nil {
			return err
		}
		found, err := rooms.EventsByNID(ctx, r, []int64{member.EventNID})
		if e := found[member.EventNID]; e != nil {
			list = append(list, e.Sender().Server())
		}
		if err != nil {
			return err
		}
		for _, told := range gjson.Get(member.Stripped, "#.sender").Array() {
			if user, err := matrix.ParseUserID(told.Str); err == nil {
				list = append(list, user.Server())
			}
		}
		known, err := rooms.Servers(ctx, r, room.NID)
		list = append(list, known...)
		return err
	}); err != nil {
		return nil, err
	}
	if _, domain, ok := strings.Cut(string(id), ":"); ok {
		if name, err := matrix.ParseServerName(domain); err == nil {
			list = append(list, name)
		}
	}
	seen := map[matrix.ServerName]bool{s.self: true, "": true}
	list = slices.DeleteFunc(list, func(name matrix.ServerName) bool {
		again := seen[name]
		seen[name] = true
		return again
	})
	return list[:min(len(list), maxHelpers)], nil
}
