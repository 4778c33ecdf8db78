package roomserver

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// Summary is what somebody who might join a room is told of it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
type Summary struct {
	PublicRoom
	RoomVersion matrix.RoomVersion `json:"room_version,omitempty"`
	Encryption  string             `json:"encryption,omitempty"`
	Allowed     []matrix.RoomID    `json:"allowed_room_ids,omitempty"` // of a restricted room
}

// UserSummary is a [Summary] for a user.
type UserSummary struct {
	Summary
	Membership string `json:"membership,omitempty"`
}

// RoomSummary tells a user, or nobody in particular where that is "", of a room
// that they could be in. What this server does not have it asks of others; every
// other room is 404 M_NOT_FOUND.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias
func (s *Server) RoomSummary(ctx context.Context, user matrix.UserID, id matrix.RoomID, via []matrix.ServerName) (UserSummary, error) {
	who := asker{user: user}
	known, err := s.lookAt(ctx, who, []matrix.RoomID{id})
	if err != nil {
		return UserSummary{}, err
	}
	p := known[id]
	out := UserSummary{Membership: p.membership()}
	if p != nil && p.resident {
		may, err := s.mayKnow(ctx, who, p)
		if err == nil && !may {
			err = errNoSummary()
		}
		out.Summary = p.summary()
		return out, err
	}
	var helpers []matrix.ServerName
	if helpers, err = s.helpers(ctx, via, id, p.memberRow()); err != nil {
		return out, err
	}
	if told := s.askSpace(ctx, id, helpers, false); told != nil {
		may, err := s.mayKnowRemote(ctx, who, &told.Room.Summary, out.Membership)
		if err != nil || may {
			out.Summary = told.Room.Summary
			return out, err
		}
	}
	if summary, ok := p.offered(); ok {
		out.Summary = summary
		return out, nil
	}
	return out, errNoSummary()
}

func errNoSummary() error {
	return matrix.NotFound("there is no such room, or it is not open to you: ask a member for an invitation")
}

// asker is who wants to know of rooms: a user, a server, or nobody in
// particular.
type asker struct {
	user   matrix.UserID
	server matrix.ServerName
}

// place is what this server knows of a room, for an asker.
type place struct {
	room     rooms.Room
	member   rooms.Member // of the user
	inside   bool         // the server that asks has a member, joined or invited
	resident bool         // this server is in the room, and so has its state
	state    map[string]*rooms.Event
}

func (p *place) membership() string {
	if p == nil {
		return ""
	}
	return p.member.Membership
}

func (p *place) memberRow() rooms.Member {
	if p == nil {
		return rooms.Member{}
	}
	return p.member
}

// lookAt returns what this server knows of some rooms, in five queries.
func (s *Server) lookAt(ctx context.Context, who asker, ids []matrix.RoomID) (map[matrix.RoomID]*place, error) {
	found := make(map[matrix.RoomID]*place, len(ids))
	err := s.db.View(ctx, func(r *storage.Reader) error {
		list, err := rooms.ByIDs(ctx, r, ids)
		if err != nil || len(list) == 0 {
			return err
		}
		nids := numbers(maps.Values(list))
		var members map[int64]rooms.Member
		if who.user != "" {
			if members, err = rooms.MembershipsIn(ctx, r, who.user, nids); err != nil {
				return err
			}
		}
		var inside map[int64]bool
		if who.server != "" {
			if inside, err = rooms.ServerIn(ctx, r, nids, who.server, true); err != nil {
				return err
			}
		}
		ours, err := rooms.ServerIn(ctx, r, nids, s.self, false)
		if err != nil {
			return err
		}
		state, err := rooms.SummaryState(ctx, r, nids)
		for id, room := range list {
			found[id] = &place{room: room, member: members[room.NID], inside: inside[room.NID], resident: ours[room.NID], state: state[room.NID]}
		}
		return err
	})
	return found, err
}

// summary tells of a room that this server is in.
func (p *place) summary() Summary {
	out := Summary{PublicRoom: publicRoom(p.room, p.state), RoomVersion: p.room.RoomVersion}
	if e := p.state["m.room.encryption"]; e != nil {
		out.Encryption = stringField(e.Content(), "algorithm")
	}
	if out.JoinRule == "restricted" || out.JoinRule == "knock_restricted" {
		for i, allow := range gjson.GetBytes(p.state["m.room.join_rules"].Content(), "allow").Array() {
			room, err := matrix.ParseRoomID(allow.Get("room_id").Str)
			if err == nil && allow.Get("type").Str == "m.room_membership" && i < maxConditions {
				out.Allowed = append(out.Allowed, room)
			}
		}
	}
	return out
}

// offered tells of a room that this server is not in, by what came with an
// invitation.
func (p *place) offered() (out Summary, ok bool) {
	if p == nil || p.member.Stripped == "" || p.member.Membership != "invite" && p.member.Membership != "knock" {
		return out, false
	}
	var told []Stripped
	if json.Unmarshal([]byte(p.member.Stripped), &told) != nil {
		return out, false
	}
	field := func(typ, name string) string {
		for _, e := range told {
			if e.Type == typ && e.StateKey != nil && *e.StateKey == "" {
				return gjson.GetBytes(e.Content, name).String()
			}
		}
		return ""
	}
	out.PublicRoom = PublicRoom{
		RoomID: p.room.ID, Name: field("m.room.name", "name"), Topic: field("m.room.topic", "topic"),
		AvatarURL: field("m.room.avatar", "url"), CanonicalAlias: field(typeCanonicalAlias, "alias"),
		JoinRule: field("m.room.join_rules", "join_rule"), RoomType: field("m.room.create", "type"),
	}
	out.RoomVersion, out.Encryption = p.room.RoomVersion, field("m.room.encryption", "algorithm")
	return out, true
}

// mayKnow reports whether an asker may be told of a room that this server is
// in: members, those who are invited, and those who could come in by themselves
// and whom the policy would let.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
func (s *Server) mayKnow(ctx context.Context, who asker, p *place) (bool, error) {
	switch p.member.Membership {
	case "join", "invite":
		return true, nil
	case "ban":
		return false, nil
	}
	sum := p.summary()
	if who.server != "" {
		if !federates(p.state) || s.AllowedByACL(ctx, p.room.ID, who.server) != nil {
			return false, nil
		}
		if p.inside {
			return true, nil
		}
	}
	met, err := s.couldEnter(ctx, who, &sum)
	if err != nil || !met {
		return false, err
	}
	state := make(stateEvents, len(p.state))
	for _, e := range p.state {
		state[e.StateTuple()] = e.Event
	}
	facts := policy.Facts(state, state.Event("m.room.create", ""), "")
	facts.ID, facts.SubjectMembership, facts.Vouched = p.room.ID, p.member.Membership, sum.Allowed != nil
	return s.allows(s.mayFind(ctx, who.user, who.server, facts))
}

// allows turns an answer of the policy into whether it is yes.
func (s *Server) allows(err error) (bool, error) {
	if err != nil && matrix.Answer(err).Status < 500 {
		return false, nil
	}
	return err == nil, err
}

// mayKnowRemote is mayKnow for a room that another server told a user of.
func (s *Server) mayKnowRemote(ctx context.Context, who asker, sum *Summary, membership string) (bool, error) {
	switch membership {
	case "invite":
		return true, nil
	case "ban":
		return false, nil
	}
	met, err := s.couldEnter(ctx, who, sum)
	if err != nil || !met {
		return false, err
	}
	return s.allows(s.mayFind(ctx, who.user, "", policy.RoomFacts{ID: sum.RoomID, JoinRule: sum.JoinRule,
		Encrypted: sum.Encryption != "", SubjectMembership: membership, Vouched: sum.Allowed != nil}))
}

// couldEnter reports whether the rules of a room let an asker in, or let them
// look in, or knock.
func (s *Server) couldEnter(ctx context.Context, who asker, sum *Summary) (bool, error) {
	switch {
	case sum.WorldReadable, sum.JoinRule == "public", sum.JoinRule == "knock", sum.JoinRule == "knock_restricted":
		return true, nil
	case sum.JoinRule != "restricted" || len(sum.Allowed) == 0 || who == asker{}:
		return false, nil
	}
	allowing, err := s.lookInto(ctx, who, sum.Allowed[:min(len(sum.Allowed), maxConditions)])
	return allowing, err
}

// lookInto reports whether an asker has a joined member in one of some rooms
// that this server is in.
func (s *Server) lookInto(ctx context.Context, who asker, ids []matrix.RoomID) (inside bool, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		list, err := rooms.ByIDs(ctx, r, ids)
		if err != nil || len(list) == 0 {
			return err
		}
		nids := numbers(maps.Values(list))
		ours, err := rooms.ServerIn(ctx, r, nids, s.self, false)
		if err != nil {
			return err
		}
		if who.server != "" {
			theirs, err := rooms.ServerIn(ctx, r, nids, who.server, false)
			for nid := range theirs {
				inside = inside || ours[nid]
			}
			return err
		}
		members, err := rooms.MembershipsIn(ctx, r, who.user, nids)
		for nid, m := range members {
			inside = inside || ours[nid] && m.Membership == "join"
		}
		return err
	})
	return inside, err
}

// childOf returns a child of a space as it is told to others, or nil where the
// event is no valid link.
func childOf(e *event.Event) *SpaceChild {
	key, _ := e.StateKey()
	return (&SpaceChild{Type: e.Type(), StateKey: matrix.RoomID(key), Sender: e.Sender(), Content: e.Content(),
		OriginServerTS: e.OriginServerTS()}).valid()
}
