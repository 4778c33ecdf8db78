package roomserver

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// Invite offers a user a place in a room. A guest of another server is told by
// its server, which signs the invitation first.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite
func (s *Server) Invite(ctx context.Context, req MembershipRequest) error {
	c := req.content("invite")
	c.IsDirect, c.ThirdPartyInvite = req.IsDirect, req.ThirdPartyInvite
	if s.local(req.Target) {
		return s.setMembership(ctx, req, c)
	}
	e, state, err := s.draftInvite(ctx, req, c)
	if err != nil {
		return err
	}
	raw, err := s.remote.Invite(ctx, req.Target.Server(), req.Room, e.ID(), e.Rules().Version, e.JSON(), state)
	if err != nil {
		return err
	}
	signed, err := event.ParseUntrusted(raw, e.Rules())
	if err != nil || signed.ID() != e.ID() {
		return matrix.NewError(http.StatusBadGateway, "M_UNKNOWN", "%s returned another event than our invitation", req.Target.Server())
	}
	if e, err = e.WithSignaturesOf(signed, req.Target.Server()); err != nil {
		return err
	}
	// The room may have moved on while the other server was asked: the
	// invitation is placed like an event of theirs, where it was made.
	return s.receive(ctx, &arrival{Event: e, errand: newErrand(s.self), strict: true})
}

// welcome asks whether the user of this server whom an event invites wants to
// be.
//
// https://spec.matrix.org/v1.19/client-server-api/#invite-permission
func (s *Server) welcome(ctx context.Context, d *draft, e *event.Event) error {
	if s.guests == nil || e.Type() != "m.room.member" || e.Membership() != "invite" {
		return nil
	}
	key, _ := e.StateKey()
	guest, err := matrix.ParseUserID(key)
	if err != nil || !s.local(guest) || d.membership(guest) == "invite" {
		return nil // the rules of the room say the rest
	}
	return s.guests.MayInvite(ctx, e.Sender(), guest)
}

// draftInvite builds an invitation on the room as it is and judges it, without
// adding it. It also returns what the guest's server is told of the room.
func (s *Server) draftInvite(ctx context.Context, req MembershipRequest, c content) (e *event.Event, state []json.RawMessage, err error) {
	p, err := memberProto(req.Sender, req.Target, c)
	if err != nil {
		return nil, nil, err
	}
	rm, err := s.lockIdle(ctx, req.Room) // its predecessors must be stored before it can be placed
	if err != nil {
		return nil, nil, err
	}
	defer rm.mu.Unlock()
	d := s.draft(ctx, rm)
	if e, err = s.prepare(ctx, d, p, false); err != nil {
		return nil, nil, err
	}
	return e, tell(d.cur, req.Sender), d.cur.err
}

// toldTypes are the parts of a room's state that a guest is told.
//
// https://spec.matrix.org/v1.19/client-server-api/#stripped-state
var toldTypes = []string{"m.room.create", "m.room.join_rules", "m.room.canonical_alias", "m.room.avatar", "m.room.name",
	"m.room.encryption", "m.room.topic", policy.TypeAccessRules}

// tell returns what a guest's server is told of a room: whole events, so that
// it can check the create event (and servers of before version 1.16 of the
// specification read only what they know of them).
func tell(v *view, sender matrix.UserID) (out []json.RawMessage) {
	add := func(e *event.Event) {
		if e != nil {
			out = append(out, e.JSON())
		}
	}
	for _, typ := range toldTypes {
		add(v.Event(typ, ""))
	}
	if sender != "" {
		add(v.Event("m.room.member", string(sender)))
	}
	return out
}

const (
	// maxTold bounds the events that an invitation tells of its room.
	maxTold = 100
	// maxToldBytes bounds them together.
	maxToldBytes = 256 << 10
)

// stripped reads what another server tells of a room, and returns it in the
// form that clients get, with the facts for the policy.
func stripped(told []json.RawMessage) (list []json.RawMessage, facts policy.RoomFacts, err error) {
	var events []policy.StrippedEvent
	total := 0
	if len(told) > maxTold {
		return nil, facts, matrix.TooLarge("more than %d events of a room are told", maxTold)
	}
	for _, raw := range told {
		if total += len(raw); total > maxToldBytes {
			return nil, facts, matrix.TooLarge("more than %d bytes of a room are told", maxToldBytes)
		}
		clean, err := canonicaljson.Canonicalise(raw, canonicaljson.Lenient)
		if err != nil {
			return nil, facts, err
		}
		var e Stripped
		if err := json.Unmarshal(clean, &e); err != nil || e.StateKey == nil || e.Type == "" || len(e.Content) == 0 || e.Content[0] != '{' {
			return nil, facts, matrix.BadJSON("what is told of a room is not stripped state")
		}
		if _, err := matrix.ParseUserID(string(e.Sender)); err != nil {
			return nil, facts, err
		}
		events = append(events, policy.StrippedEvent{Type: e.Type, StateKey: *e.StateKey, Sender: e.Sender, Content: e.Content})
		one, err := json.Marshal(e)
		if err != nil {
			return nil, facts, err
		}
		list = append(list, one)
	}
	return list, policy.StrippedFacts(events), nil
}

// ReceiveInvite takes an invitation of a user of this server from another
// server, signs it and returns it.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid
func (s *Server) ReceiveInvite(ctx context.Context, origin matrix.ServerName, room matrix.RoomID, id matrix.EventID,
	version matrix.RoomVersion, raw []byte, told []json.RawMessage) (signed []byte, err error) {
	rules, err := version.Rules()
	if err != nil {
		return nil, matrix.NewError(http.StatusBadRequest, "M_INCOMPATIBLE_ROOM_VERSION",
			"room version %q is not supported", version).With("room_version", string(version))
	}
	e, err := event.ParseUntrusted(raw, rules)
	if err != nil {
		return nil, err
	}
	if err := checkInvite(e, origin, room, id, s.self); err != nil {
		return nil, err
	}
	if rules.RoomIDIsCreateHash && !tellsCreate(told, room, rules) {
		return nil, matrix.MissingParam("invite_room_state lacks the create event of the room")
	}
	list, facts, err := stripped(told)
	if err != nil {
		return nil, err
	}
	if err := event.VerifySignatures(ctx, s.keys, []*event.Event{e})[0]; err != nil {
		return nil, err
	}
	if err := s.admitStripped(ctx, e, facts, policy.SourceFederation); err != nil {
		return nil, err
	}
	if s.guests != nil {
		key, _ := e.StateKey()
		if err := s.guests.MayInvite(ctx, e.Sender(), matrix.UserID(key)); err != nil {
			return nil, err
		}
	}
	if e, err = e.AddSignature(s.key); err != nil {
		return nil, err
	}
	if err := s.keepOffer(ctx, e, list); err != nil {
		return nil, err
	}
	return e.JSON(), nil
}

func checkInvite(e *event.Event, origin matrix.ServerName, room matrix.RoomID, id matrix.EventID, self matrix.ServerName) error {
	key, _ := e.StateKey()
	guest, err := matrix.ParseUserID(key)
	switch {
	case err != nil || e.Type() != "m.room.member" || e.Membership() != "invite":
		return matrix.BadJSON("the event is not an invitation")
	case e.RoomID() != room || e.ID() != id:
		return matrix.BadJSON("the event is not the one that the path names")
	case e.Sender().Server() != origin:
		return matrix.Forbidden("the invitation is not by a user of %s", origin)
	case guest.Server() != self:
		return matrix.InvalidParam("%s is not a user of this server", guest)
	}
	return nil
}

// tellsCreate reports whether the create event whose hash the room ID is, is
// among what is told.
func tellsCreate(told []json.RawMessage, room matrix.RoomID, rules *matrix.VersionRules) bool {
	for _, raw := range told[:min(len(told), maxTold)] {
		if e, err := event.ParseUntrusted(raw, rules); err == nil && e.Type() == "m.room.create" && e.RoomID() == room {
			return true
		}
	}
	return false
}

// keepOffer stores an invitation to a room whose state this server does not
// have, or a knock on one, or the end of either.
func (s *Server) keepOffer(ctx context.Context, e *event.Event, told []json.RawMessage) error {
	text := ""
	if len(told) > 0 {
		raw, err := json.Marshal(told)
		if err != nil {
			return err
		}
		text = string(raw)
	}
	key, _ := e.StateKey()
	_, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		r, err := tx.Snapshot(ctx)
		if err != nil {
			return err
		}
		row, err := rooms.ByID(ctx, r, e.RoomID())
		switch {
		case matrix.IsCode(err, "M_NOT_FOUND"):
			if row.NID, err = rooms.Begin(ctx, tx, e.RoomID(), e.Rules().Version); err != nil {
				return err
			}
		case err != nil:
			return err
		case row.RoomVersion == e.Rules().Version:
		case row.Version > 0:
			return matrix.BadJSON("the room has version %s", row.RoomVersion)
		default: // an earlier invitation told another version
			if err := rooms.SetVersion(ctx, tx, row.NID, e.Rules().Version); err != nil {
				return err
			}
		}
		resident, err := rooms.ServerJoined(ctx, r, row.NID, s.self)
		if err != nil || resident {
			return err // the event itself comes, to the room as we have it
		}
		stored := &rooms.Event{Event: e, Status: rooms.Outlier}
		if err := insertUnknown(ctx, tx, row.NID, []*rooms.Event{stored}); err != nil {
			return err
		}
		return rooms.SetMember(ctx, tx, rooms.Member{RoomNID: row.NID, User: matrix.UserID(key),
			Membership: e.Membership(), EventNID: stored.NID, Pos: tx.Next(), Stripped: text})
	})
	return err
}
