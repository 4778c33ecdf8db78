package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/pushrules"
	"beffroi/roomserver"
)

type upgradeRequest struct {
	NewVersion matrix.RoomVersion `json:"new_version"`
	Creators   []string           `json:"additional_creators"`
}

type upgradeResponse struct {
	Replacement matrix.RoomID `json:"replacement_room"`
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade
func (s *Server) upgrade(ctx context.Context, who *caller, r *http.Request, req upgradeRequest) (upgradeResponse, error) {
	room, err := roomID(r)
	if err != nil {
		return upgradeResponse{}, err
	}
	if req.NewVersion == "" {
		return upgradeResponse{}, matrix.MissingParam("new_version is missing")
	}
	ask := roomserver.UpgradeRequest{User: who.User, Room: room, Version: req.NewVersion}
	for _, name := range req.Creators {
		user, err := matrix.ParseUserID(name)
		if err != nil {
			return upgradeResponse{}, err
		}
		if user != who.User && !slices.Contains(ask.Creators, user) {
			ask.Creators = append(ask.Creators, user)
		}
	}
	if ask.Profile, err = s.membershipProfile(ctx, who.User); err != nil {
		return upgradeResponse{}, err
	}
	next, err := s.Rooms.Upgrade(ctx, ask)
	if err != nil {
		return upgradeResponse{}, err
	}
	return upgradeResponse{next}, s.inherit(ctx, who.User, room, next)
}

// inherit gives a user in a room what they had set for the one that it
// replaces: tags, push rules, and that it is a conversation of two.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
func (s *Server) inherit(ctx context.Context, user matrix.UserID, old, next matrix.RoomID) error {
	if old == "" || old == next {
		return nil
	}
	for _, fn := range []func(ctx context.Context, user matrix.UserID, old, next matrix.RoomID) error{
		s.inheritTags, s.inheritDirect, s.inheritRules,
	} {
		err := fn(ctx, user, old, next)
		if err != nil && matrix.Answer(err).Status >= http.StatusInternalServerError {
			return err
		} // what an account has no space for stays behind: the user is in the room all the same
	}
	return nil
}

// inheritTags copies the tags of a room, unless the new one has some.
func (s *Server) inheritTags(ctx context.Context, user matrix.UserID, old, next matrix.RoomID) error {
	defer s.edits.lock(user)()
	had, err := s.Accounts.AccountData(ctx, user, old, typeTag)
	if err != nil {
		return unlessNone(err)
	}
	if _, err := s.Accounts.AccountData(ctx, user, next, typeTag); !matrix.IsCode(err, "M_NOT_FOUND") {
		return err
	}
	return s.Accounts.SetAccountData(ctx, user, next, typeTag, had)
}

func unlessNone(err error) error {
	if matrix.IsCode(err, "M_NOT_FOUND") {
		return nil
	}
	return err
}

const typeDirect = "m.direct"

// inheritDirect adds the new room to the conversations with the people with
// whom the old one is listed.
func (s *Server) inheritDirect(ctx context.Context, user matrix.UserID, old, next matrix.RoomID) error {
	defer s.edits.lock(user)()
	raw, err := s.Accounts.AccountData(ctx, user, "", typeDirect)
	if err != nil {
		return unlessNone(err)
	}
	var direct map[string]json.RawMessage
	if json.Unmarshal(raw, &direct) != nil {
		return nil // a client wrote something else there
	}
	changed := false
	for with, list := range direct {
		var rooms []matrix.RoomID
		if json.Unmarshal(list, &rooms) != nil || !slices.Contains(rooms, old) || slices.Contains(rooms, next) {
			continue
		}
		if direct[with], err = json.Marshal(append(rooms, next)); err != nil {
			return err
		}
		changed = true
	}
	if !changed {
		return nil
	}
	if raw, err = json.Marshal(direct); err != nil {
		return err
	}
	return s.Accounts.SetAccountData(ctx, user, "", typeDirect, raw)
}

// inheritRules copies the push rules of a room: that of its ID, and those that
// clients make to silence it, with a condition on the ID.
func (s *Server) inheritRules(ctx context.Context, user matrix.UserID, old, next matrix.RoomID) error {
	rules, err := s.readPushRules(ctx, user)
	if err != nil {
		return err
	}
	kinds := map[pushrules.Kind]pushrules.Rule{}
	for _, kind := range []pushrules.Kind{pushrules.Room, pushrules.Override, pushrules.Underride} {
		rule, err := rules.Global.Rule(kind, string(old))
		if _, none := rules.Global.Rule(kind, string(next)); err == nil && none != nil {
			kinds[kind] = rule
		}
	}
	if len(kinds) == 0 {
		return nil
	}
	return s.changePushRules(ctx, user, func(c *pushrules.Changes) error {
		for kind, rule := range kinds {
			rule, err := renamed(rule, old, next)
			if err != nil {
				return err
			}
			if err := c.Put(kind, string(next), pushrules.NewRule{
				Actions: rule.Actions, Conditions: rule.Conditions, Pattern: rule.Pattern}, "", ""); err != nil {
				return err
			}
			if err := c.SetEnabled(kind, string(next), rule.Enabled); err != nil {
				return err
			}
		}
		return nil
	})
}

// renamed returns a rule whose conditions on the ID of one room are on that of
// another.
func renamed(rule pushrules.Rule, old, next matrix.RoomID) (pushrules.Rule, error) {
	conditions := slices.Clone(rule.Conditions)
	for i, raw := range conditions {
		var condition map[string]any
		if err := json.Unmarshal(raw, &condition); err != nil {
			return rule, err
		}
		if condition["key"] != "room_id" {
			continue
		}
		for _, name := range []string{"pattern", "value"} {
			if condition[name] == string(old) {
				condition[name] = string(next)
			}
		}
		var err error
		if conditions[i], err = json.Marshal(condition); err != nil {
			return rule, err
		}
	}
	rule.Conditions = conditions
	return rule, nil
}
