package roomserver

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/policy"
)

// MakeMembership answers make_join, make_leave and make_knock: the template of
// an event that a user of another server may send next. membership is join,
// leave or knock; versions are those that the other server supports, nil where
// it need not say.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
func (s *Server) MakeMembership(ctx context.Context, origin matrix.ServerName, room matrix.RoomID, user matrix.UserID,
	membership string, versions []matrix.RoomVersion) (matrix.RoomVersion, json.RawMessage, error) {
	if user.Server() != origin {
		return "", nil, matrix.Forbidden("%s is not a user of %s", user, origin)
	}
	if err := s.residentFor(ctx, room, origin); err != nil {
		return "", nil, err
	}
	rm, err := s.lockIdle(ctx, room)
	if err != nil {
		return "", nil, err
	}
	defer rm.mu.Unlock()
	if versions != nil && !slices.Contains(versions, rm.rules.Version) {
		return "", nil, matrix.NewError(http.StatusBadRequest, "M_INCOMPATIBLE_ROOM_VERSION",
			"the room has version %s, which your server does not support", rm.rules.Version).
			With("room_version", string(rm.rules.Version))
	}
	d := s.draft(ctx, rm)
	c := content{Membership: membership}
	if membership == "join" {
		if c.AuthorisedVia, err = s.authoriser(ctx, d.cur, user); err != nil {
			return "", nil, err
		}
	}
	p, err := memberProto(user, user, c)
	if err != nil {
		return "", nil, err
	}
	d.cur.follow(&p)
	p.OriginServerTS, p.Origin = s.nowMS(), s.self
	if err := s.judgeTemplate(ctx, d, p); err != nil {
		return "", nil, err
	}
	raw, err := p.MarshalTemplate(rm.rules)
	return rm.rules.Version, raw, err
}

// judgeTemplate asks whether the event that a template becomes would be
// accepted. It is built for the question alone.
func (s *Server) judgeTemplate(ctx context.Context, d *draft, p event.Proto) error {
	probe, err := p.Build(d.rm.rules, s.key)
	if err != nil {
		return err
	}
	return s.judge(ctx, d, probe, policy.SourceFederation, false)
}

// residentFor refuses a server that the room shuts out, and rooms that this
// server is not in.
func (s *Server) residentFor(ctx context.Context, room matrix.RoomID, origin matrix.ServerName) error {
	if err := s.aclAllows(ctx, room, origin); err != nil {
		return err
	}
	_, resident, err := s.memberOf(ctx, room, "")
	if err == nil && !resident {
		err = matrix.NotFound("this server is not in the room")
	}
	return err
}

// SendMembership answers send_join, send_leave and send_knock: the event is
// checked like any other, and refused with the reason where it is not
// accepted. It returns the event as it is stored: with our signature where it
// needs it.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
func (s *Server) SendMembership(ctx context.Context, origin matrix.ServerName, room matrix.RoomID, id matrix.EventID,
	membership string, raw []byte) (*event.Event, error) {
	if err := s.residentFor(ctx, room, origin); err != nil {
		return nil, err
	}
	rules, err := s.rules(ctx, room)
	if err != nil {
		return nil, err
	}
	e, err := event.ParseUntrusted(raw, rules)
	if err != nil {
		return nil, err
	}
	key, _ := e.StateKey()
	switch {
	case e.RoomID() != room || e.ID() != id:
		return nil, matrix.InvalidParam("the event is not the one that the path names")
	case e.Type() != "m.room.member" || e.Membership() != membership || key != string(e.Sender()):
		return nil, matrix.BadJSON("the event is not the %s of its sender", membership)
	case e.Sender().Server() != origin:
		return nil, matrix.Forbidden("%s is not a user of %s", e.Sender(), origin)
	}
	if slices.Contains(e.RequiredSigners(), s.self) {
		if e, err = s.vouch(ctx, e); err != nil {
			return nil, err
		}
	}
	if err := event.VerifySignatures(ctx, s.keys, []*event.Event{e})[0]; err != nil {
		return nil, err
	}
	return e, s.receive(ctx, &arrival{Event: e, errand: newErrand(origin), fill: true, strict: true})
}

// vouch signs a restricted join for the local member by whose right it
// happens, if the joiner meets a condition of the room still.
//
// https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms
func (s *Server) vouch(ctx context.Context, e *event.Event) (*event.Event, error) {
	rm, err := s.lock(ctx, e.RoomID())
	if err != nil {
		return nil, err
	}
	defer rm.mu.Unlock()
	if _, err = s.authoriser(ctx, s.current(ctx, rm), e.Sender()); err != nil {
		return nil, err
	}
	return e.AddSignature(s.key)
}

// Told returns what a knocking user's server is told of a room.
func (s *Server) Told(ctx context.Context, room matrix.RoomID) ([]json.RawMessage, error) {
	rm, err := s.lock(ctx, room)
	if err != nil {
		return nil, err
	}
	defer rm.mu.Unlock()
	v := s.current(ctx, rm)
	told := tell(v, "")
	return told, v.err
}
