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
	"beffroi/matrix/eventauth"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// joinRemote joins a room by the help of a server that is in it: the first
// that does not fail. What the last one answered is the answer.
//
// https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
func (s *Server) joinRemote(ctx context.Context, req JoinRequest, member rooms.Member) error {
	helpers, err := s.helpers(ctx, req.Via, member)
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
	e, rules, err := s.makeMembership(ctx, "make_join", helper, req.Room, req.User, c)
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
	if len(answer.Event) > 0 && slices.Contains(e.RequiredSigners(), helper) { // a restricted join, which it vouches for
		signed, err := event.ParseUntrusted(answer.Event, rules)
		if err != nil || signed.ID() != e.ID() {
			return matrix.NewError(http.StatusBadGateway, "M_UNKNOWN", "%s returned another event than our join", helper)
		}
		if e, err = e.WithSignaturesOf(signed, helper); err != nil {
			return err
		}
	}
	return s.enter(ctx, req.Room, rules, e, answer)
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

// enter makes the room that another server told of one of ours: every event is
// checked, the policy is asked about every member, and all is one commit.
func (s *Server) enter(ctx context.Context, id matrix.RoomID, rules *matrix.VersionRules, join *event.Event, answer *JoinAnswer) error {
	events := s.parseTheirs(ctx, id, rules, append(answer.State, answer.AuthChain...))
	create := createOf(events)
	if create == nil {
		return matrix.Forbidden("the other server told no create event of the room")
	}
	judged := s.judgeOutliers(events, nil, create)
	state, err := s.stateOf(answer.State, rules, judged)
	if err != nil {
		return err
	}
	rm, fresh, err := s.lockNew(ctx, id, rules)
	if err != nil {
		return err
	}
	d := s.draft(ctx, rm)
	d.fresh, d.outliers = fresh, judged
	if err := s.placeEntry(ctx, d, join, state, judged); err != nil {
		rm.drop()
		rm.mu.Unlock()
		return err
	}
	return s.submit(ctx, d)
}

// createOf returns the create event among events, nil if there is not just one.
func createOf(events []*event.Event) (create *event.Event) {
	for _, e := range events {
		if e.IsStateKey("m.room.create", "") {
			if create != nil {
				return nil
			}
			create = e
		}
	}
	return create
}

// stateOf returns the state that PDUs are, by those of the judged events that
// were not rejected.
func (s *Server) stateOf(pdus [][]byte, rules *matrix.VersionRules, judged []*rooms.Event) (stateMap, error) {
	byID := make(map[matrix.EventID]*rooms.Event, len(judged))
	for _, e := range judged {
		byID[e.ID()] = e
	}
	state := make(stateMap, len(pdus))
	for _, raw := range pdus {
		e, err := event.ParseUntrusted(raw, rules)
		if err != nil {
			continue
		}
		good := byID[e.ID()]
		if good == nil || good.Status == rooms.Rejected || !good.IsState() {
			continue
		}
		if state[good.StateTuple()] != nil {
			return nil, matrix.Forbidden("the other server told two events of one state")
		}
		state[good.StateTuple()] = &ref{id: good.ID(), ev: good.Event}
	}
	return state, nil
}

// lockNew takes the lock of a room that this server enters, with nothing of it
// in flight: one that it does not know, knows by an invitation, or has left.
func (s *Server) lockNew(ctx context.Context, id matrix.RoomID, rules *matrix.VersionRules) (rm *room, fresh bool, err error) {
	rm = s.cached(id)
	rm.mu.Lock()
	for rm.inflight > 0 {
		rm.idle.Wait()
	}
	rm.drop()
	err = s.load(ctx, rm)
	if !matrix.IsCode(err, "M_NOT_FOUND") {
		if err != nil {
			rm.mu.Unlock()
		}
		return rm, false, err
	}
	rm.begin(rules)
	err = s.db.View(ctx, func(r *storage.Reader) error {
		row, err := rooms.ByID(ctx, r, id)
		rm.nid = row.NID
		return err
	})
	if matrix.IsCode(err, "M_NOT_FOUND") {
		return rm, true, nil
	}
	if err != nil {
		rm.drop()
		rm.mu.Unlock()
	}
	return rm, false, err
}

// placeEntry makes the state that another server told, and our join on top of
// it, the state of the room.
func (s *Server) placeEntry(ctx context.Context, d *draft, join *event.Event, state stateMap, judged []*rooms.Event) error {
	rm := d.rm
	told := s.over(ctx, rm, state)
	create := told.createEvent()
	if create == nil {
		return matrix.Forbidden("the state that the other server told has no create event")
	}
	if err := s.admitMembers(ctx, told, judged); err != nil {
		return err
	}
	if err := s.admit(ctx, join, told, policy.SourceClient, false); err != nil {
		return err
	}
	if err := eventauth.Check(join, told, create); err != nil {
		return err
	}
	p := &placement{Event: &rooms.Event{Event: join, Status: rooms.Accepted}, history: d.from > 0}
	after := copyState(state)
	after[join.StateTuple()] = &ref{id: join.ID(), ev: join}
	p.deltas = d.become(after)
	rm.tips = []matrix.EventID{join.ID()}
	d.add(p)
	d.also(func(ctx context.Context, tx *storage.Tx) error {
		rooms.AddEdges(tx, rm.nid, join.PrevEvents())
		return nil
	})
	return d.cur.err
}

// admitMembers refuses a room whose state holds accounts that the policy does
// not allow there.
func (s *Server) admitMembers(ctx context.Context, state *view, events []*rooms.Event) error {
	for _, e := range events {
		r := state.refs[e.StateTuple()]
		if e.Type() != "m.room.member" || r == nil || r.id != e.ID() {
			continue
		}
		switch e.Membership() {
		case "join", "invite", "knock":
			if err := s.admitMember(ctx, e.Event, state); err != nil {
				return err
			}
		}
	}
	return state.err
}

// Stripped is a state event as an invitation tells it.
type Stripped struct {
	Type     string          `json:"type"`
	StateKey *string         `json:"state_key"`
	Sender   matrix.UserID   `json:"sender"`
	Content  json.RawMessage `json:"content"`
}
