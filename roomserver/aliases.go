package roomserver

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/matrix/event"
	"beffroi/matrix/eventauth"
	"beffroi/policy"
	"beffroi/storage"
	"beffroi/storage/rooms"
)

const (
	// maxAliases bounds the aliases of this server for one room: they are
	// listed in one answer.
	maxAliases = 100
	// maxVias bounds the servers that are named to join a room by.
	maxVias = 50
)

const typeCanonicalAlias = "m.room.canonical_alias"

// Directions says where an alias leads.
type Directions struct {
	RoomID  matrix.RoomID       `json:"room_id"`
	Servers []matrix.ServerName `json:"servers"`
}

// CreateAlias gives a room that the user has joined a name on this server. One
// that is taken is 409 M_UNKNOWN.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directoryroomroomalias
func (s *Server) CreateAlias(ctx context.Context, user matrix.UserID, alias matrix.RoomAlias, id matrix.RoomID) error {
	if alias.Server() != s.self {
		return matrix.InvalidParam("an alias of this server ends in :%s", s.self)
	}
	if alias.Localpart() == "" {
		return matrix.InvalidParam("an alias has a name")
	}
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		room, err := s.joined(ctx, r, user, id)
		if err != nil {
			return err
		}
		return s.checkRoom(ctx, r, policy.ActionAlias, user, room)
	}); err != nil {
		return err
	}
	_, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		r, err := tx.Snapshot(ctx)
		if err != nil {
			return err
		}
		have, err := rooms.AliasesOf(ctx, r, id)
		if err != nil {
			return err
		}
		if len(have) >= maxAliases {
			return matrix.InvalidParam("a room has at most %d aliases on one server", maxAliases)
		}
		return rooms.AddAlias(ctx, tx, rooms.Alias{Alias: alias, RoomID: id, Creator: user}, s.nowMS())
	})
	return err
}

// DeleteAlias takes a name of this server away. Who gave it may, and who may
// set the canonical alias of the room; the canonical alias is mended if the
// user may do that too.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3directoryroomroomalias
func (s *Server) DeleteAlias(ctx context.Context, user matrix.UserID, alias matrix.RoomAlias) error {
	var named rooms.Alias
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		if named, err = rooms.ByAlias(ctx, r, alias); err != nil || named.Creator == user {
			return err
		}
		return s.maySet(ctx, r, user, named.RoomID, typeCanonicalAlias)
	}); err != nil {
		return err
	}
	if _, err := s.db.Append(ctx, func(ctx context.Context, tx *storage.Tx) error {
		return rooms.RemoveAlias(ctx, tx, alias)
	}); err != nil {
		return err
	}
	s.mendCanonicalAlias(ctx, user, named.RoomID, alias)
	return nil
}

// maySet refuses users who have not joined a room or have not the power to set
// a type of its state.
func (s *Server) maySet(ctx context.Context, r *storage.Reader, user matrix.UserID, id matrix.RoomID, typ string) error {
	room, err := s.joined(ctx, r, user, id)
	if err != nil {
		return err
	}
	state, err := rooms.StateEventsNow(ctx, r, room.NID, []string{"m.room.create", "m.room.power_levels"})
	if err != nil {
		return err
	}
	create := state["m.room.create"]
	if create == nil {
		return matrix.Forbidden("the room has no state")
	}
	var power *event.Event
	if e := state["m.room.power_levels"]; e != nil {
		power = e.Event
	}
	levels, err := eventauth.EffectivePowerLevels(create.Event, power)
	if err != nil {
		return err
	}
	if need := levels.Event(typ, true); levels.User(user) < need {
		return matrix.Forbidden("this needs power level %d", need)
	}
	return nil
}

// mendCanonicalAlias takes an alias that is gone out of the state of its room,
// where the user may. Where not, the alias is gone all the same.
func (s *Server) mendCanonicalAlias(ctx context.Context, user matrix.UserID, room matrix.RoomID, gone matrix.RoomAlias) {
	var now *rooms.Event
	if err := s.db.View(ctx, func(r *storage.Reader) (err error) {
		now, err = rooms.StateEventIn(ctx, r, room, typeCanonicalAlias)
		return err
	}); err != nil || now == nil {
		return
	}
	had := canonicalAliases(now.Content())
	if !slices.Contains(had, gone) {
		return
	}
	var content map[string]json.RawMessage
	if err := json.Unmarshal(now.Content(), &content); err != nil {
		return
	}
	if stringField(now.Content(), "alias") == string(gone) {
		delete(content, "alias")
	}
	rest := make([]matrix.RoomAlias, 0, len(had))
	for _, alias := range altAliases(now.Content()) {
		if alias != gone {
			rest = append(rest, alias)
		}
	}
	content["alt_aliases"], _ = json.Marshal(rest) // strings always marshal
	raw, err := json.Marshal(content)
	if err != nil {
		return
	}
	req := SendRequest{Sender: user, Room: room, Type: typeCanonicalAlias, StateKey: new(string), Content: raw}
	if _, err := s.Send(ctx, req); err != nil {
		s.log.DebugContext(ctx, "canonical alias kept", "room_id", room, "error", err)
	}
}

// canonicalAliases returns every alias that the content of a canonical alias
// event names.
func canonicalAliases(content []byte) []matrix.RoomAlias {
	named := altAliases(content)
	if alias := stringField(content, "alias"); alias != "" {
		named = append(named, matrix.RoomAlias(alias))
	}
	return named
}

func altAliases(content []byte) (named []matrix.RoomAlias) {
	list := canonicaljson.Array(canonicaljson.Field(content, "alt_aliases"))
	for raw, ok := list.NextElement(); ok; raw, ok = list.NextElement() {
		if alias, ok := canonicaljson.Unquote(raw); ok {
			named = append(named, matrix.RoomAlias(alias))
		}
	}
	return named
}

// ResolveAlias returns where an alias leads: of this server by its own word,
// else by that of the other server. One that leads nowhere is 404 M_NOT_FOUND.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directoryroomroomalias
func (s *Server) ResolveAlias(ctx context.Context, alias matrix.RoomAlias) (Directions, error) {
	if alias.Server() == s.self {
		return s.LocalAlias(ctx, alias)
	}
	room, servers, err := s.remote.QueryDirectory(ctx, alias.Server(), alias)
	if err != nil {
		return Directions{}, err
	}
	if !slices.Contains(servers, alias.Server()) {
		servers = append(servers, alias.Server())
	}
	return Directions{room, servers[:min(len(servers), maxVias)]}, nil
}

// LocalAlias returns where an alias of this server leads. It is the answer to
// other servers too.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory
func (s *Server) LocalAlias(ctx context.Context, alias matrix.RoomAlias) (out Directions, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		named, err := rooms.ByAlias(ctx, r, alias)
		if err != nil {
			return err
		}
		out.RoomID = named.RoomID
		room, err := rooms.ByID(ctx, r, named.RoomID)
		if err != nil {
			return err
		}
		out.Servers, err = rooms.Servers(ctx, r, room.NID)
		return err
	})
	if at := slices.Index(out.Servers, s.self); at > 0 { // we know the room best
		out.Servers[0], out.Servers[at] = out.Servers[at], out.Servers[0]
	}
	out.Servers = out.Servers[:min(len(out.Servers), maxVias)]
	return out, err
}

// Aliases returns the names of a room on this server, to members and to those
// who may read it because it is world readable.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases
func (s *Server) Aliases(ctx context.Context, user matrix.UserID, id matrix.RoomID) (found []matrix.RoomAlias, err error) {
	err = s.db.View(ctx, func(r *storage.Reader) error {
		a, err := s.reach(ctx, r, user, id)
		if err != nil {
			return err
		}
		if a.until > 0 {
			return notIn(user)
		}
		found, err = rooms.AliasesOf(ctx, r, id)
		return err
	})
	return found, err
}

// checkAliases refuses a canonical alias event that names an alias which does
// not lead to its room, unless the one before named it too. Of every other
// event it thinks nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroomcanonical_alias
func (s *Server) checkAliases(ctx context.Context, req SendRequest) error {
	if req.Type != typeCanonicalAlias || req.StateKey == nil || *req.StateKey != "" {
		return nil
	}
	content, err := canonicaljson.Canonicalise(req.Content, canonicaljson.Lenient)
	if err != nil {
		return err
	}
	var had []matrix.RoomAlias
	if err := s.db.View(ctx, func(r *storage.Reader) error {
		now, err := rooms.StateEventIn(ctx, r, req.Room, typeCanonicalAlias)
		if now != nil {
			had = canonicalAliases(now.Content())
		}
		return err
	}); err != nil {
		return err
	}
	named := canonicalAliases(content)
	if len(named) > maxAliases {
		return matrix.InvalidParam("a room has at most %d canonical aliases", maxAliases)
	}
	for _, name := range named {
		if slices.Contains(had, name) {
			continue
		}
		alias, err := matrix.ParseRoomAlias(string(name))
		if err != nil {
			return err
		}
		if to, err := s.ResolveAlias(ctx, alias); err != nil || to.RoomID != req.Room {
			return matrix.NewError(http.StatusBadRequest, "M_BAD_ALIAS", "%s does not lead to this room", alias)
		}
	}
	return nil
}
