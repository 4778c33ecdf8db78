package roomserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/tidwall/gjson"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// joinRemote joins a room by the help of a server that is in it: the first
// that does not fail. What the last one answered is the answer.
//
// https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
func (s *Server) joinRemote(ctx context.Context, req JoinRequest, member rooms.Member) error {
	helpers, err := s.helpers(ctx, req.Via, req.Room, member)
	if err != nil {
		return err
	}
	err = matrix.NotFound("this server is not in the room and knows no server that is")
	for _, helper := range helpers {
		if err = s.joinVia(ctx, req, helper); err == nil || final(err) {
			return err
		}
		s.log.InfoContext(ctx, "join failed", "room_id", req.Room, "destination", helper, "error", err)
	}
	return err
}

// final reports whether another server would refuse as well.
func final(err error) bool {
	answer := matrix.Answer(err)
	return answer.Status == http.StatusForbidden && answer.Fields["org.beffroi.policy"] != nil
}

func (s *Server) joinVia(ctx context.Context, req JoinRequest, helper matrix.ServerName) error {
	c := content{Membership: "join", Profile: req.Profile, Reason: req.Reason}
	e, _, err := s.makeMembership(ctx, "make_join", helper, req.Room, req.User, c)
	if err != nil {
		return err
	}
	answer, err := s.remote.SendJoin(ctx, helper, req.Room, e.ID(), e.JSON())
	if err != nil {
		return err
	}
	if len(answer.State)+len(answer.AuthChain) > maxFetched {
		return matrix.TooLarge("the state of the room has %d events", len(answer.State))
	}
	if slices.Contains(e.RequiredSigners(), helper) { // a restricted join, which it vouches for
		if e, err = s.vouchedFor(ctx, e, helper, answer.Event); err != nil {
			return err
		}
	}
	return s.enter(ctx, helper, e, answer)
}

// vouchedFor returns our join with the signature of the server that lets us in,
// without which no other would accept it.
func (s *Server) vouchedFor(ctx context.Context, e *event.Event, helper matrix.ServerName, raw []byte) (*event.Event, error) {
	other, err := event.ParseUntrusted(raw, e.Rules())
	if err != nil || other.ID() != e.ID() {
		return nil, matrix.NewError(http.StatusBadGateway, "M_UNKNOWN", "%s returned another event than our join", helper)
	}
	if e, err = e.WithSignaturesOf(other, helper); err != nil {
		return nil, err
	}
	return e, event.VerifySignatures(ctx, s.keys, []*event.Event{e})[0]
}

// makeMembership asks a server for the template of a membership and builds the
// event: nothing of the template is signed but the few fields that only the
// other server can know.
func (s *Server) makeMembership(ctx context.Context, call string, helper matrix.ServerName, room matrix.RoomID,
	user matrix.UserID, c content) (*event.Event, *matrix.VersionRules, error) {
	version, raw, err := s.remote.MakeMembership(ctx, call, helper, room, user, matrix.RoomVersions())
	if err != nil {
		return nil, nil, err
	}
	rules, err := version.Rules()
	if err != nil {
		return nil, nil, err
	}
	if err := s.agreeOn(ctx, room, version); err != nil {
		return nil, nil, err
	}
	template, err := event.ParseTemplate(raw, rules)
	if err != nil {
		return nil, nil, fmt.Errorf("template of %s: %w", helper, err)
	}
	if c.Membership == "join" && rules.RestrictedJoinRule {
		c.AuthorisedVia = matrix.UserID(gjson.GetBytes(template.Content, "join_authorised_via_users_server").Str)
	}
	p, err := memberProto(user, user, c)
	if err != nil {
		return nil, nil, err
	}
	p.RoomID, p.PrevEvents, p.AuthEvents = room, template.PrevEvents, template.AuthEvents
	p.PrevHashes, p.AuthHashes = template.PrevHashes, template.AuthHashes
	p.Depth, p.OriginServerTS = template.Depth, s.nowMS()
	e, err := p.Build(rules, s.key)
	return e, rules, err
}

// agreeOn refuses a version of a room other than the one that it is known to
// have.
func (s *Server) agreeOn(ctx context.Context, room matrix.RoomID, version matrix.RoomVersion) error {
	return s.db.View(ctx, func(r *storage.Reader) error {
		row, err := rooms.ByID(ctx, r, room)
		switch {
		case matrix.IsCode(err, "M_NOT_FOUND"):
			return nil
		case err == nil && row.Version > 0 && row.RoomVersion != version:
			return matrix.NewError(http.StatusBadGateway, "M_UNKNOWN", "the other server tells a wrong version of the room")
		}
		return err
	})
}

// Stripped is a state event as an invitation tells it.
type Stripped struct {
	Type     string          `json:"type"`
	StateKey *string         `json:"state_key"`
	Sender   matrix.UserID   `json:"sender"`
	Content  json.RawMessage `json:"content"`
}
