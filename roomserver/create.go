package roomserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"crypto/rand"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

// CreateRequest is a room that a user of this server creates.
type CreateRequest struct {
	policy.CreateRequest
	// AliasName is the localpart of an alias to give the room, or "".
	AliasName string
	// Profile of the creator, for the membership.
	Profile Profile
	// Guests are the profiles of those who are invited and are of this server.
	Guests map[matrix.UserID]Profile
}

// Profile is what memberships say of their user.
type Profile struct {
	DisplayName string `json:"displayname,omitempty"`
	AvatarURL   string `json:"avatar_url,omitempty"`
}

// CreateRoom makes a room by the plan of the policy layer, in one commit, and
// then invites. An invitation that fails undoes neither the room nor the other
// invitations: it is returned as the error beside the room's ID.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
func (s *Server) CreateRoom(ctx context.Context, req CreateRequest) (matrix.RoomID, error) {
	req.Now, req.Source = s.now(), policy.SourceClient
	req.DefaultVersion = s.defaultVersion
	for _, guest := range req.Invite { // before anything is made
		if s.guests == nil || !s.local(guest) {
			continue
		}
		if err := s.guests.MayInvite(ctx, req.Creator, guest); err != nil {
			return "", err
		}
	}
	plan, err := s.gate.PrepareRoom(ctx, req.CreateRequest)
	if err != nil {
		return "", err
	}
	rules, err := plan.Version.Rules()
	if err != nil {
		return "", err
	}
	alias, err := s.newAlias(ctx, req)
	if err != nil {
		return "", err
	}
	for later := range int64(maxAttempts) {
		create, err := s.createEvent(req.Creator, plan, rules, later)
		if err != nil {
			return "", err
		}
		err = s.tryCreate(ctx, req, plan, alias, create)
		if err == nil {
			return create.RoomID(), s.inviteAll(ctx, create.RoomID(), req)
		}
		if !errors.Is(err, storage.ErrConflict) {
			return "", err
		}
	}
	return "", fmt.Errorf("create room: %w", storage.ErrConflict)
}

// tryCreate makes a room of its create event. It is [storage.ErrConflict] where
// there is such a room already: from version 12 on two rooms of one creator and
// one millisecond are the same.
func (s *Server) tryCreate(ctx context.Context, req CreateRequest, plan policy.CreatePlan, alias matrix.RoomAlias, create *event.Event) error {
	rm := s.cached(create.RoomID())
	rm.mu.Lock()
	if rm.loaded || rm.inflight > 0 {
		rm.mu.Unlock()
		return storage.ErrConflict
	}
	rm.begin(create.Rules(), newAudience(s.hearing.position()))
	d := s.draft(ctx, rm)
	d.moved = true
	defer d.release()
	if err := s.fillRoom(ctx, d, req, plan, create); err != nil {
		return err
	}
	s.publishIn(d, plan, alias, req.Creator)
	return s.submit(ctx, d)
}

// begin makes the room the empty one that its first events are prepared on.
func (rm *room) begin(rules *matrix.VersionRules, hear *audience) {
	rm.rules, rm.loaded = rules, true
	rm.version, rm.depth, rm.tips = 0, 0, nil
	rm.state = make(map[event.StateTuple]*ref)
	rm.levels, rm.levelsID, rm.forks, rm.last = nil, "", nil, nil
	rm.joined, rm.audience = 0, hear
}

// newAlias checks the alias of a new room before anything is written.
func (s *Server) newAlias(ctx context.Context, req CreateRequest) (matrix.RoomAlias, error) {
	if req.AliasName == "" {
		return "", nil
	}
	alias, err := matrix.ParseRoomAlias(fmt.Sprintf("#%s:%s", req.AliasName, s.self))
	if err != nil {
		return "", err
	}
	check := policy.Request{Action: policy.ActionAlias, Actor: req.Creator, Source: req.Source, Now: s.now()}
	if err := s.gate.Check(ctx, &check); err != nil {
		return "", err
	}
	err = s.db.View(ctx, func(r *storage.Reader) error {
		_, err := rooms.ByAlias(ctx, r, alias)
		return err
	})
	switch {
	case err == nil:
		return "", matrix.NewError(http.StatusBadRequest, "M_ROOM_IN_USE", "the alias %s is taken", alias)
	case matrix.IsCode(err, "M_NOT_FOUND"):
		return alias, nil
	}
	return "", err
}

// createEvent builds the first event of a room, and with it the room's ID. It
// is dated some milliseconds later than it is.
func (s *Server) createEvent(creator matrix.UserID, plan policy.CreatePlan, rules *matrix.VersionRules, later int64) (*event.Event, error) {
	content := make(map[string]json.RawMessage)
	if len(plan.CreationContent) > 0 {
		if err := json.Unmarshal(plan.CreationContent, &content); err != nil {
			return nil, matrix.BadJSON("creation_content is not an object")
		}
	}
	set := func(key, value string) {
		raw, _ := json.Marshal(value) // a string always marshals
		content[key] = raw
	}
	set("room_version", string(rules.Version))
	if rules.CreatorInContent {
		set("creator", string(creator))
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	p := event.Proto{Sender: creator, Type: "m.room.create", StateKey: new(string), Content: raw, Depth: 1,
		OriginServerTS: s.nowMS() + later}
	if !rules.RoomIDIsCreateHash {
		p.RoomID = matrix.RoomID("!" + rand.Text() + ":" + string(s.self))
	}
	return p.Build(rules, s.key)
}

// fillRoom adds the events of a new room to a draft, in the order that the
// specification gives.
func (s *Server) fillRoom(ctx context.Context, d *draft, req CreateRequest, plan policy.CreatePlan, create *event.Event) error {
	if err := s.judge(ctx, d, create, policy.SourceClient, true); err != nil {
		return err
	}
	d.place(create)
	member := struct {
		Membership string `json:"membership"`
		Profile
	}{"join", req.Profile}
	if err := s.buildState(ctx, d, req.Creator, "m.room.member", string(req.Creator), member); err != nil {
		return err
	}
	state := plan.State
	if req.AliasName != "" { // after the power levels
		alias := marshal(map[string]string{"alias": fmt.Sprintf("#%s:%s", req.AliasName, s.self)})
		state = slices.Insert(slices.Clone(state), 1, policy.StateEvent{Type: typeCanonicalAlias, Content: alias})
	}
	for _, st := range state {
		if err := s.buildState(ctx, d, req.Creator, st.Type, st.StateKey, st.Content); err != nil {
			return err
		}
	}
	return d.cur.err
}

// buildState makes a state event of a room that is being created.
func (s *Server) buildState(ctx context.Context, d *draft, sender matrix.UserID, typ, key string, content any) error {
	raw, err := json.Marshal(content)
	if err != nil {
		return matrix.BadJSON("content of %s: %v", typ, err)
	}
	_, err = s.build(ctx, d, event.Proto{Sender: sender, Type: typ, StateKey: &key, Content: raw}, true)
	return err
}

// publishIn adds the alias and the place in the directory to the commit of a
// new room.
func (s *Server) publishIn(d *draft, plan policy.CreatePlan, alias matrix.RoomAlias, creator matrix.UserID) {
	rm := d.rm
	if alias != "" {
		d.also(func(ctx context.Context, tx *storage.Tx) error {
			return rooms.AddAlias(ctx, tx, rooms.Alias{Alias: alias, RoomID: rm.id, Creator: creator}, s.nowMS())
		})
	}
	if plan.Public {
		d.also(func(ctx context.Context, tx *storage.Tx) error { return rooms.SetPublished(ctx, tx, rm.nid, true) })
	}
}

// inviteAll invites the guests of a new room, one after the other.
func (s *Server) inviteAll(ctx context.Context, room matrix.RoomID, req CreateRequest) (failed error) {
	for i, user := range req.Invite {
		if user == req.Creator || slices.Contains(req.Invite[:i], user) {
			continue
		}
		err := s.Invite(ctx, MembershipRequest{Sender: req.Creator, Target: user, Room: room, IsDirect: req.IsDirect, Profile: req.Guests[user]})
		if err != nil {
			failed = err
			s.log.InfoContext(ctx, "guest of a new room not invited", "room_id", room, "error", err)
		}
	}
	return failed
}
