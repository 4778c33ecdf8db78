package syncapi

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/roomserver"
	"beffroi/storage/rooms"
)

const typePresence = "m.presence"

// presented is called whenever somebody has come or gone. It shares the count
// of typing: both live in memory, and a token has one number for them.
func (n *notifier) presented(user matrix.UserID, roomNIDs []int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.typing++
	n.present[user] = n.typing
	if a := n.users[user]; a != nil {
		a.presence = n.typing
		a.wake("")
	}
	for _, nid := range roomNIDs {
		room := n.rooms[nid]
		if room == nil {
			continue
		}
		for a := range room.members {
			if a.presence != n.typing {
				a.presence = n.typing
				a.wake("")
			}
		}
	}
}

// presentSince returns who came or went since a token; nil is all who ever did.
func (n *notifier) presentSince(since *token) (list []matrix.UserID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for user, at := range n.present {
		if since == nil || at > since.typing.count() {
			list = append(list, user)
		}
	}
	return list
}

// forgetPresent drops those of whom the room server knows nothing any more. The
// lock is not held.
func (s *Server) forgetPresent() {
	n := s.notifier
	n.mu.Lock()
	users := slices.Collect(maps.Keys(n.present))
	n.mu.Unlock()
	for _, user := range users {
		if _, known := s.Rooms.PresenceOf(user); !known {
			n.mu.Lock()
			delete(n.present, user)
			n.mu.Unlock()
		}
	}
}

// readPresence says who came or went of those who share a room with the user.
//
// https://spec.matrix.org/v1.19/client-server-api/#presence
func (a *answer) readPresence(ctx context.Context) error {
	if !a.s.Rooms.PresenceOn() || !wantsType(&a.filter.Presence, typePresence) || !a.changes.all && !a.changes.presence && !a.enteredAny() {
		return nil
	}
	since := a.since
	if a.enteredAny() { // of a room that is new all is
		since = nil
	}
	list := a.s.notifier.presentSince(since)
	shared, err := rooms.ShareRoom(ctx, a.r, a.req.User, list)
	if err != nil {
		return err
	}
	slices.Sort(list)
	for _, user := range list {
		if user != a.req.User && !shared[user] || !a.filter.Presence.WantsSender(user) {
			continue
		}
		now, known := a.s.Rooms.PresenceOf(user)
		if !known || since == nil && a.since == nil && now.State == "offline" {
			continue
		}
		raw, err := presenceEvent(user, now)
		if err != nil {
			return err
		}
		a.present = append(a.present, raw)
	}
	return nil
}

func presenceEvent(user matrix.UserID, now roomserver.Presence) (json.RawMessage, error) {
	content, err := json.Marshal(now)
	if err != nil {
		return nil, err
	}
	out := append(append([]byte(`{"content":`), content...), `,"sender":`...)
	return append(canonicaljson.AppendString(out, string(user)), `,"type":"m.presence"}`...), nil
}
