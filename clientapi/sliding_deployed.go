package clientapi

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"beffroi/internal/httpx"
	"beffroi/matrix"
	"beffroi/syncapi"
)

// deployedSync is a request of sliding sync in the form for which clients were
// built before MSC4186 was accepted.
type deployedSync struct {
	slidingCommon
	TxnID         string                     `json:"txn_id"`
	Lists         map[string]*deployedList   `json:"lists"`
	Subscriptions map[string]*deployedConfig `json:"room_subscriptions"`
}

type deployedConfig struct {
	TimelineLimit *int        `json:"timeline_limit"`
	RequiredState *[][]string `json:"required_state"`
}

type deployedList struct {
	deployedConfig
	Ranges  [][]int        `json:"ranges"`
	Filters *slidingFilter `json:"filters"`
}

func (c *deployedConfig) config(user matrix.UserID) (syncapi.RoomConfig, error) {
	if c.RequiredState == nil {
		return syncapi.RoomConfig{}, matrix.MissingParam("a list or subscription needs a required_state")
	}
	for _, entry := range *c.RequiredState {
		if len(entry) != 2 {
			return syncapi.RoomConfig{}, matrix.InvalidParam("an entry of required_state is a type and a state key")
		}
	}
	return roomConfig(c.TimelineLimit, deployedWishes(user, *c.RequiredState))
}

// deployedWishes reads pairs of a type and a state key. A * stands for
// anything, $ME for the user and $LAZY for the members that the timeline needs.
// Beside ["*","*"], which is all state, other entries restrict: of their types
// only what they name.
func deployedWishes(user matrix.UserID, entries [][]string) []syncapi.StateWish {
	const anything, me, lazy, member = "*", "$ME", "$LAZY", "m.room.member"
	all := slices.ContainsFunc(entries, func(e []string) bool { return e[0] == anything && e[1] == anything })
	var named, whole syncapi.StateWish
	whole.Include = []syncapi.StatePattern{{}}
	for _, e := range entries {
		var p syncapi.StatePattern
		if e[0] != anything {
			p.Type = &e[0]
		}
		switch key := e[1]; {
		case key == lazy && e[0] == member:
			named.LazyMembers = true
			whole.Exclude = append(whole.Exclude, p)
			continue
		case key == lazy || all && e[0] == anything:
			continue
		case key == me:
			text := string(user)
			p.StateKey = &text
		case key != anything:
			p.StateKey = &key
		}
		named.Include = append(named.Include, p)
		if p.Type != nil {
			whole.Exclude = append(whole.Exclude, syncapi.StatePattern{Type: p.Type})
		}
	}
	if !all {
		return []syncapi.StateWish{named}
	}
	return []syncapi.StateWish{named, whole}
}

// https://github.com/matrix-org/matrix-spec-proposals/pull/4186
func (s *Server) slidingSyncDeployed(ctx context.Context, who *caller, r *http.Request, in deployedSync) (httpx.Raw, error) {
	req, err := in.request(who, len(in.Lists), len(in.Subscriptions))
	if err != nil {
		return nil, err
	}
	timeout, err := httpx.QueryLimit(r, "timeout", 0, int(maxSyncTimeout.Milliseconds()))
	if err != nil {
		return nil, err
	}
	req.Pos, req.TxnID = r.URL.Query().Get("pos"), in.TxnID
	if req.SetPresence, err = presence(r.URL.Query().Get("set_presence")); err != nil {
		return nil, err
	}
	req.Timeout = time.Duration(timeout) * time.Millisecond
	for _, name := range slices.Sorted(maps.Keys(in.Lists)) {
		l := in.Lists[name]
		if l == nil {
			return nil, matrix.BadJSON("a list is an object")
		}
		config, err := l.config(who.User)
		if err != nil {
			return nil, err
		}
		if req.Lists[name], err = slidingList(name, config, l.Ranges, l.Filters); err != nil {
			return nil, err
		}
	}
	for id, sub := range in.Subscriptions {
		if sub == nil {
			return nil, matrix.BadJSON("a subscription is an object")
		}
		config, err := sub.config(who.User)
		if err != nil {
			return nil, err
		}
		req.Subscriptions[matrix.RoomID(id)] = &config
	}
	out, err := s.Sync.Slide(ctx, req)
	return httpx.Raw(out), err
}
