package roomserver

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/event"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	typeTombstone = "m.room.tombstone"
	// maxCreators bounds the additional creators that a request names: more do
	// not fit into an event anyway.
	maxCreators = 200
)

// UpgradeRequest replaces a room by one of another version.
type UpgradeRequest struct {
	User    matrix.UserID
	Room    matrix.RoomID
	Version matrix.RoomVersion
	// Creators are creators of the new room beside the user, where its version
	// has such.
	Creators []matrix.UserID
	Profile  Profile // of the user, for the membership
}

// Upgrade makes a room that replaces another, and ends that one. Both happen in
// one commit: there is never a tombstone that leads nowhere, nor a replacement
// that nobody is told of. Who may not send the tombstone gets 403 M_FORBIDDEN,
// for a version that is not known it is 400 M_UNSUPPORTED_ROOM_VERSION.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
func (s *Server) Upgrade(ctx context.Context, req UpgradeRequest) (matrix.RoomID, error) {
	rules, err := req.Version.Rules()
	if err != nil {
		return "", err
	}
	if len(req.Creators) > maxCreators {
		return "", matrix.InvalidParam("a room has at most %d additional creators", maxCreators)
	}
	var aliases []matrix.RoomAlias
	var published bool
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		room, err := s.joined(ctx, r, req.User, req.Room)
		if err != nil {
			return err
		}
		published = room.Published
		if err := s.checkRoom(ctx, r, policy.ActionUpgradeRoom, req.User, room); err != nil {
			return err
		}
		aliases, err = rooms.AliasesOf(ctx, r, req.Room)
		return err
	}); err != nil {
		return "", err
	}
	for later := range int64(maxAttempts) {
		u := upgrade{UpgradeRequest: req, s: s, rules: rules, later: later, aliases: aliases, published: published}
		id, err := u.try(ctx)
		if !errors.Is(err, storage.ErrConflict) {
			return id, err
		}
	}
	return "", fmt.Errorf("upgrade %s: %w", req.Room, storage.ErrConflict)
}

// upgrade is one attempt.
type upgrade struct {
	UpgradeRequest
	s         *Server
	rules     *matrix.VersionRules // of the new room
	later     int64                // ms by which the new room is dated later than it is, so that its ID is new
	aliases   []matrix.RoomAlias   // of this server for the room
	published bool

	old, next *draft
	create    *event.Event // of the new room
}

// try holds the locks of both rooms: that of the new one, whose ID nobody knows
// yet, is taken last.
func (u *upgrade) try(ctx context.Context) (matrix.RoomID, error) {
	rm, err := u.s.lock(ctx, u.Room)
	if err != nil {
		return "", err
	}
	u.old = u.s.draft(ctx, rm)
	defer u.old.release()
	if u.old.membership(u.User) != "join" {
		return "", notIn(u.User)
	}
	state, err := u.transferable()
	if err != nil {
		return "", err
	}
	if err := u.bury(ctx); err != nil {
		return "", err
	}
	next := u.s.cached(u.create.RoomID())
	next.mu.Lock()
	if next.loaded || next.inflight > 0 {
		next.mu.Unlock()
		return "", storage.ErrConflict
	}
	next.begin(u.rules, newAudience(u.s.hearing.position()))
	u.next = u.s.draft(ctx, next)
	u.next.moved = true
	defer u.next.release()
	if err := u.fill(ctx, state); err != nil {
		return "", err
	}
	if err := u.close(ctx); err != nil {
		return "", err
	}
	u.next.also(u.moveNames)
	return u.create.RoomID(), u.s.submit(ctx, u.old, u.next)
}

// bury builds the create event of the new room and the tombstone of the old
// one, which name each other as far as they can: from version 12 on the ID of
// the new room is a hash of what it says of the old one.
func (u *upgrade) bury(ctx context.Context) (err error) {
	last := u.old.rm.tips[len(u.old.rm.tips)-1]
	if u.rules.RoomIDIsCreateHash {
		if u.create, err = u.createEvent("", last); err != nil {
			return err
		}
		_, err = u.tombstone(ctx, u.create.RoomID())
		return err
	}
	id := matrix.RoomID("!" + rand.Text() + ":" + string(u.s.self))
	if last, err = u.tombstone(ctx, id); err != nil {
		return err
	}
	u.create, err = u.createEvent(id, last)
	return err
}

func (u *upgrade) tombstone(ctx context.Context, next matrix.RoomID) (matrix.EventID, error) {
	raw, err := json.Marshal(map[string]string{"body": "This room has been replaced", "replacement_room": string(next)})
	if err != nil {
		return "", err
	}
	e, err := u.s.build(ctx, u.old, event.Proto{Sender: u.User, Type: typeTombstone, StateKey: new(string), Content: raw}, false)
	if err != nil {
		return "", err
	}
	return e.ID(), nil
}

// createEvent builds the create event of the new room: what that of the old
// one says, but for what is of its version and its past.
func (u *upgrade) createEvent(id matrix.RoomID, last matrix.EventID) (*event.Event, error) {
	was := u.old.cur.createEvent()
	if was == nil {
		return nil, matrix.NewError(http.StatusBadRequest, "M_INVALID_ROOM_STATE", "the room has no create event")
	}
	content := make(map[string]any)
	var had map[string]json.RawMessage
	if err := json.Unmarshal(was.Content(), &had); err != nil {
		return nil, err
	}
	for key, value := range had {
		content[key] = value
	}
	for _, key := range []string{"creator", "additional_creators"} {
		delete(content, key)
	}
	content["room_version"] = u.rules.Version
	content["predecessor"] = map[string]string{"room_id": string(u.Room), "event_id": string(last)}
	if u.rules.CreatorInContent {
		content["creator"] = u.User
	}
	if u.rules.PrivilegedCreators && len(u.Creators) > 0 {
		content["additional_creators"] = u.Creators
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	p := event.Proto{Sender: u.User, Type: "m.room.create", StateKey: new(string), Content: raw, Depth: 1,
		RoomID: id, OriginServerTS: u.s.nowMS() + u.later}
	return p.Build(u.rules, u.s.key)
}

// fill adds the events of the new room. The power levels come last: until then
// the creator has the power that setting the rest needs, and afterwards what
// the old room gave them.
func (u *upgrade) fill(ctx context.Context, state []policy.StateEvent) error {
	if err := u.s.judge(ctx, u.next, u.create, policy.SourceClient, true); err != nil {
		return err
	}
	u.next.place(u.create)
	c := content{Membership: "join", Profile: u.Profile}
	state = slices.Insert(state, 0, policy.StateEvent{Type: "m.room.member", StateKey: string(u.User), Content: marshal(c)})
	levels, err := u.levels()
	if err != nil {
		return err
	}
	if levels != nil {
		state = append(state, policy.StateEvent{Type: "m.room.power_levels", Content: levels})
	}
	for _, st := range state {
		if err := u.s.buildState(ctx, u.next, u.User, st.Type, st.StateKey, st.Content); err != nil {
			return err
		}
	}
	return u.next.cur.err
}

// marshal writes what always marshals: strings, numbers and what was JSON.
func marshal(v any) json.RawMessage {
	raw, _ := json.Marshal(v)
	return raw
}

// close takes the aliases out of the old room and makes it hard to go on there,
// as far as the user may.
func (u *upgrade) close(ctx context.Context) error {
	if now := u.old.cur.Event(typeCanonicalAlias, ""); now != nil && len(canonicalAliases(now.Content())) > 0 {
		if err := u.attempt(ctx, typeCanonicalAlias, json.RawMessage("{}")); err != nil {
			return err
		}
	}
	if content, changed := u.quietLevels(); changed {
		return u.attempt(ctx, "m.room.power_levels", content)
	}
	return u.old.cur.err
}

// attempt writes a state event into the old room, unless the user may not.
func (u *upgrade) attempt(ctx context.Context, typ string, content json.RawMessage) error {
	p := event.Proto{Sender: u.User, Type: typ, StateKey: new(string), Content: content}
	e, err := u.s.prepare(ctx, u.old, p, false)
	switch {
	case u.old.cur.err != nil:
		return u.old.cur.err
	case err == nil:
		u.old.place(e)
	case matrix.Answer(err).Status >= http.StatusInternalServerError:
		return err
	}
	return nil
}

// moveNames moves the aliases of this server and the place in the directory to
// the new room, in the commit that makes it.
func (u *upgrade) moveNames(ctx context.Context, tx *storage.Tx) error {
	if err := rooms.MoveAliases(ctx, tx, u.Room, u.create.RoomID()); err != nil || !u.published {
		return err
	}
	if err := rooms.SetPublished(ctx, tx, u.old.rm.nid, false); err != nil {
		return err
	}
	return rooms.SetPublished(ctx, tx, u.next.rm.nid, true)
}

// Predecessor returns the room that a room which this server is in replaces,
// as its create event says, or "".
//
// https://spec.matrix.org/v1.19/client-server-api/#mroomcreate
func (s *Server) Predecessor(ctx context.Context, id matrix.RoomID) (matrix.RoomID, error) {
	rm, err := s.lock(ctx, id)
	if err != nil {
		return "", err
	}
	v := s.current(ctx, rm)
	create := v.createEvent()
	rm.mu.Unlock()
	if create == nil {
		return "", v.err
	}
	return predecessorOf(create), nil
}
